//! All spot pods of a Deployment are reclaimed at once.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::DeleteParams;

use super::SOON;
use super::screen::Screen;
use crate::observer::Observer;
use crate::stack::Stack;
use crate::vendor::{Behaviour, Notice, PodRef, Vendor};
use crate::workload::{Keep, Workload, budget, protect};

const NAMESPACE: &str = "default";
const NAME: &str = "shop";
const PODS: i32 = 6;
/// Pods that may be missing.
const SPARE: i32 = 2;
/// How long a new pod takes to start.
const START: Duration = Duration::from_secs(2);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The vendor announces that it will release every instance, and does so once nothing more happens.
pub(super) async fn reclaimed(screen: &mut Screen, stack: &Stack, keep: bool) -> Result<()> {
    screen.title("A reclaim of all spot instances of a Deployment");
    let client = stack.client()?;
    let workload = Workload::new(NAMESPACE, NAME, PODS).starting_in(START).with_grace(2);
    let doomed: Vec<PodRef> = workload.deploy(&client, SOON).await?.iter().map(PodRef::of).collect();
    let keeps = Keep::MaxUnavailable(IntOrString::Int(SPARE));
    protect(&client, &budget(&workload, keeps)?, PODS).await?;
    screen.say(&format!(
        "{PODS} spot pods on a virtual node; the budget lets {SPARE} be missing; a new one starts in {START:?}"
    ));
    let observer = Observer::start(stack.plane(), Some(NAMESPACE)).await?;
    // The webhook would outlive the demo in a bed that is kept.
    let hostile = Behaviour { has_webhook: false, ..Behaviour::HOSTILE };
    let mut vendor = Vendor::start(stack.plane(), hostile).await?;
    screen.say("the vendor's virtual node overwrites pod status, and announces the release of all of them");
    observer.begin();
    vendor.announce(&doomed, Notice::Both).await?;
    watch(screen, &observer, &doomed).await;

    let killed = vendor.release(&doomed).await?;
    let ledger = observer.ledger();
    let lost = killed.iter().filter(|pod| ledger.seen(&pod.uid).is_none_or(|s| s.terminating_at.is_none()));
    let lost = lost.count();
    let verdict = observer.verdict(&doomed);
    let evicted = verdict.evicted.len();
    screen
        .check(evicted == doomed.len(), &format!("{evicted} of {} pods were evicted in time", doomed.len()));
    screen.check(lost == 0, &format!("{lost} pods were lost with their instance"));
    let below = verdict.breaches.len();
    screen.check(
        below == 0,
        &format!("{below} evictions broke the budget, says an observer who watched the API server"),
    );
    let least = ledger.budgets().map(|(_, floor)| floor.least).min().unwrap_or_default();
    screen.check(least >= PODS - SPARE, &format!("{least} pods were Ready when the fewest were"));
    let wrong = verdict.wrong.len();
    screen.check(wrong == 0, &format!("{wrong} pods were evicted that were not announced"));
    let whole = workload.ready(&client, SOON).await;
    screen.check(whole.is_ok(), &format!("the Deployment has its {PODS} pods, all of them new"));
    if !keep {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
        deployments.delete(NAME, &DeleteParams::default()).await?;
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(client, NAMESPACE);
        budgets.delete(NAME, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Tells what changes until every pod is on its way out, but not for longer than [`SOON`].
async fn watch(screen: &mut Screen, observer: &Observer, doomed: &[PodRef]) {
    let begun = observer.ledger().begun();
    let mut last = (usize::MAX, i32::MAX);
    let looks = SOON.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        let evicted = observer.verdict(doomed).evicted.len();
        let healthy = observer.ledger().budgets().map(|(_, floor)| floor.healthy).min().unwrap_or_default();
        if (evicted, healthy) != last {
            let at = observer.elapsed().saturating_sub(begun).as_secs_f64();
            screen.say(&format!("{at:>5.1} s  {evicted} of {} evicted, {healthy} Ready", doomed.len()));
            last = (evicted, healthy);
        }
        if evicted == doomed.len() && healthy >= PODS {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
