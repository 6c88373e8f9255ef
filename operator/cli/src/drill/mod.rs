//! `kubectl eci drill`: what would become of spot pods if all of them had a notice now, or what becomes of them.

mod cluster;
mod facts;
pub(crate) mod plan;
mod show;
mod watch;

use std::time::Duration;

use eci_aliyun::clock::{Clock as _, SystemClock};
use eci_core::eviction::lint;
use eci_core::eviction::notice::Policy;
use jiff::SignedDuration;

use crate::args::{DrillArgs, Output};
use crate::error::Error;
use cluster::Cluster;
use plan::Group;
use watch::{Fate, Fates};

/// How long after the deadline a real drill still looks.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// A workload, forecast and, after a real drill, what became of it.
#[derive(Clone, Debug)]
struct Drilled {
    group: Group,
    report: lint::Report,
    /// Saved, late and left.
    became: Option<[usize; 3]>,
}

pub(crate) async fn drill(args: &DrillArgs) -> Result<String, Error> {
    let policy = Policy { length: Duration::from_secs(args.notice_seconds.into()), ..Policy::default() };
    let cluster = Cluster::connect(args).await?;
    let (pods, wrong) = cluster.pods().await?;
    let missing = plan::missing(&pods, &args.workloads);
    if !missing.is_empty() {
        let place =
            cluster.namespace().map_or_else(|| "the cluster".to_owned(), |ns| format!("namespace {ns}"));
        return Err(Error::NotFound(format!("no pod of a workload named {} in {place}", missing.join(", "))));
    }
    let budgets = cluster.budgets().await?;
    let mut results = Vec::new();
    for group in plan::groups(pods, &wrong, &budgets, &args.workloads, &policy) {
        let mut subject = group.subject();
        if let Some(pod) = group.eligible.first() {
            subject.dry_run = Some(cluster.dry_run(pod).await);
        }
        results.push(Drilled { report: lint::check(&subject, &policy), group, became: None });
    }
    if results.is_empty() {
        return Err(Error::NotFound("no spot pod on a virtual node is among what was chosen".to_owned()));
    }
    if args.yes {
        perform(&cluster, &mut results, &policy, args).await?;
    }
    match args.output {
        Output::Table => Ok(show::table(&results, args.yes)),
        Output::Json => Ok(format!("{}\n", serde_json::to_string_pretty(&show::json(&results, args.yes))?)),
    }
}

/// Gives the notices, looks on, and takes back those that nobody acted upon.
async fn perform(
    cluster: &Cluster,
    results: &mut [Drilled],
    policy: &Policy,
    args: &DrillArgs,
) -> Result<(), Error> {
    let pods: Vec<_> = results.iter().flat_map(|result| result.group.eligible.clone()).collect();
    if pods.len() > usize::from(args.max_pods) {
        return Err(Error::TooMany(format!(
            "pods for a real drill: {}, and --max-pods is {}; choose fewer workloads or raise it",
            pods.len(),
            args.max_pods
        )));
    }
    let now = SystemClock.now();
    let length = SignedDuration::try_from(policy.length).unwrap_or(SignedDuration::MAX);
    let deadline = now.checked_add(length).unwrap_or(now);
    let (mut given, mut noticed) = (Ok(()), Vec::new());
    for pod in &pods {
        match cluster.notice(pod, true, now).await {
            Ok(_) => noticed.push(pod),
            Err(error) => {
                given = Err(error);
                break;
            }
        }
    }
    let fates = Fates::new(pods.iter().map(|pod| pod.id.uid.to_string()), deadline);
    let followed = match given {
        Ok(()) => watch::follow(cluster, fates, policy.length + AFTERWARDS, || SystemClock.now()).await,
        Err(error) => Err(error),
    };
    // Whatever went wrong: no notice is left behind on a pod that stays.
    let mut taken_back = Ok(());
    for pod in noticed {
        let ended = followed.as_ref().is_ok_and(|fates| fates.of(&pod.id.uid) != Fate::Left);
        if !ended {
            taken_back = taken_back.and(cluster.notice(pod, false, SystemClock.now()).await.map(|_| ()));
        }
    }
    let fates = followed?;
    taken_back?;
    for result in results {
        let count = |fate| result.group.eligible.iter().filter(|pod| fates.of(&pod.id.uid) == fate).count();
        result.became = Some([Fate::Saved, Fate::Late, Fate::Left].map(count));
    }
    Ok(())
}
