//! The demo: the operator, the simulated cloud and a real API server on this machine, with checks that can fail.

mod reclaim;
mod screen;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use eci_api::image_cache::ImageCache;
use eci_sim::faults::{Effect, Fault, Seen};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::runtime::watcher::watch_object;
use serde_json::json;

use crate::eventually::eventually;
use crate::stack::{Caches, DataCaches, Programs, Stack, StackOptions, condition};
use crate::testbed::beds::{self, Claim};
use crate::testbed::{Binaries, Tool};
use screen::Screen;

/// How long the simulated cloud takes for a build.
const BUILD: Duration = Duration::from_secs(4);
const BUILD_TEXT: &str = "4s";
/// The DataCaches of `examples/`.
const DATA: [&str; 2] = ["qwen", "private-weights"];
/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_mins(1);

/// Runs the demo on a bed of this name; whether all its checks passed.
pub async fn run(name: &str, keep: bool) -> Result<bool> {
    let mut screen = Screen::new();
    screen.title(
        "eci-operator: an ImageCache and DataCaches from nothing to Ready to deleted, and a reclaim, without an Alibaba Cloud account",
    );
    let (bed, mut stack) = start(&mut screen, name).await?;
    let caches = Caches::new(stack.client()?, "default");
    let told = async {
        examples(&mut screen, &stack, &caches).await?;
        killed(&mut screen, &mut stack, &caches).await?;
        deleted(&mut screen, &stack, &caches, keep).await?;
        reclaim::reclaimed(&mut screen, &stack, keep).await?;
        permissions(&mut screen, &stack)
    };
    let told = told.await;
    if let Err(error) = &told {
        screen.check(false, &format!("the demo ran to its end: {error:#}"));
        if let Some(operator) = stack.operator() {
            screen.say(&format!("the operator's log {} ends with:", operator.log_path().display()));
            screen.say(&operator.log_tail(15));
        }
    }
    let (logs, kubeconfig) = (stack.plane().log_dir(), stack.plane().kubeconfig_path());
    if keep {
        screen.title("Left running");
        screen.say(&format!("export KUBECONFIG={}", kubeconfig.display()));
        let binaries = Binaries::ensure().await?;
        screen.say(&format!("alias kubectl={}", binaries.path(Tool::Kubectl).display()));
        for hint in [
            "kubectl get imgc -A -o wide           # state, progress, cloud ID, message",
            "kubectl get datac -A -o wide          # the same for data caches",
            "kubectl describe imgc everything      # conditions and events tell the whole story",
            "kubectl explain imagecache.spec       # every field is documented",
            "kubectl get events -A --field-selector reason=Available",
        ] {
            screen.say(&format!("  {hint}"));
        }
        screen.say(&format!("  curl {}/_sim/ledger      # what the simulated cloud billed", stack.sim_url()));
        screen.say(&format!("logs: {}", logs.display()));
        screen.say(&format!("stop it with: cargo xtask down --name {name}"));
        let (plane, others) = stack.into_parts();
        bed.keep(plane, &others)?;
    } else {
        drop(stack);
        if screen.has_failed() {
            screen.say(&format!("logs, until the next demo: {}", logs.display()));
        } else {
            bed.remove().await?;
            screen.say("to look around with kubectl: cargo xtask demo --keep");
        }
    }
    Ok(screen.end())
}

/// Everything is started; how long each part took is shown.
async fn start(screen: &mut Screen, name: &str) -> Result<(beds::Owned, Stack)> {
    screen.title("Starting");
    screen.step("the test bed's programs (built from source at the first run, about 10 minutes)");
    let programs = Programs::beside_this_one()?;
    Binaries::ensure().await?;
    screen.done();
    screen.step("etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok");
    let options = StackOptions { build_time: BUILD_TEXT, log_level: "info", ..StackOptions::default() };
    let (bed, plane) = match beds::claim(name).await? {
        Claim::Mine(bed, plane) => (bed, *plane),
        Claim::Running(_) => {
            bail!("the demo runs already, or was left running by --keep: cargo xtask down --name {name}")
        }
    };
    screen.done();
    screen.step("the charts and the simulated cloud");
    let mut stack = Stack::around(plane, programs, &options).await?;
    screen.done();
    screen.step("the operator, with the arguments and the ServiceAccount of its chart");
    stack.start_operator().await?;
    bed.record(stack.plane(), &stack.others())?;
    screen.done();
    Ok((bed, stack))
}

/// `kubectl apply -f examples/`, and everything becomes Ready.
async fn examples(screen: &mut Screen, stack: &Stack, caches: &Caches) -> Result<()> {
    screen.title("kubectl apply -f examples/");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").display().to_string();
    stack.plane().kubectl(["apply", "-f", &examples]).await?.ok()?;
    let ready = follow(screen, caches, "web").await?;
    let made = stack.billed("default", "web").await?.first().context("the cloud billed nothing for web")?.at;
    let late = ready.duration_since(made + BUILD).as_millis();
    screen.say(&format!(
        "from the cloud's Ready to the object's: {late} ms (the cloud is asked every 2 s while it builds)"
    ));
    let names: Vec<String> = caches
        .api()
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .into_iter()
        .filter_map(|c| c.metadata.name)
        .collect();
    for name in &names {
        let ready = caches.says(name, "True", "Available", SOON).await;
        screen.check(ready.is_ok(), &format!("ImageCache {name} is Ready"));
        let billed = stack.billed("default", name).await?;
        screen.check(billed.len() == 1, &format!("the cloud made exactly one cache for {name}"));
    }
    screen.command(stack, &["get", "imgc", "-o", "wide"]).await?;
    let data = DataCaches::beside(caches);
    for name in DATA {
        let ready = data.says(name, "True", "Available", SOON).await;
        screen.check(
            ready.is_ok(),
            &format!("DataCache {name} is Ready: pods can mount it by bucket and path"),
        );
    }
    let made = stack.cloud().data_caches().await?.len();
    screen.check(made == DATA.len(), &format!("the cloud has {made} data caches, one for each object"));
    screen.command(stack, &["get", "datac", "-o", "wide"]).await
}

/// Shows how an object changes until it is ready; when that was seen.
async fn follow(screen: &mut Screen, caches: &Caches, name: &str) -> Result<Timestamp> {
    let mut last = String::new();
    let shown = async {
        let mut changes = Box::pin(watch_object(caches.api().clone(), name));
        while let Some(cache) = changes.try_next().await? {
            let Some(cache) = cache else { continue };
            let (line, ready) = in_words(&cache);
            if last != line {
                screen.progress(&line, cache.status.as_ref().and_then(|s| s.progress_percent));
                last = line;
            }
            if ready {
                return Ok(clock());
            }
        }
        bail!("the watch ended")
    };
    let ended = tokio::time::timeout(SOON, shown).await;
    screen.progress_done();
    ended.map_err(|_| anyhow!("ImageCache {name} is not Ready after {SOON:?}; last seen: {last}"))?
}

fn in_words(cache: &ImageCache) -> (String, bool) {
    let (status, reason) = condition(cache, "Ready").unwrap_or_else(|| ("-".into(), "not seen yet".into()));
    let seen = cache.status.clone().unwrap_or_default();
    let name = cache.metadata.name.clone().unwrap_or_default();
    let cloud = seen.cloud_status.map(|word| format!(", cloud: {word}")).unwrap_or_default();
    let progress = seen.progress_percent.map(|p| format!(" {p}%")).unwrap_or_default();
    let id = seen.image_cache_id.map(|id| format!(" ({id})")).unwrap_or_default();
    (format!("{name}: Ready={status} {reason}{cloud}{progress}{id}"), status == "True")
}

/// The operator dies while its create call is under way.
async fn killed(screen: &mut Screen, stack: &mut Stack, caches: &Caches) -> Result<()> {
    screen.title("kill -9 in the middle of a create call");
    let unanswered = Fault { effect: Some(Effect::Now), answer: Seen::Silence(60_000), ..Fault::default() };
    stack.cloud().add_fault(&unanswered.on("CreateImageCache").times(1)).await?;
    screen.say("the cloud will carry out the next create call and not answer it");
    let applied = clock();
    caches.create("survivor", json!({ "images": ["registry.example.com/shop/survivor:1"] })).await?;
    {
        let stack = &*stack;
        eventually("the create call reaches the cloud", SOON, || async move {
            match stack.billed("default", "survivor").await {
                Ok(billed) if !billed.is_empty() => Ok(()),
                Ok(_) => Err("not yet".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
    }
    let made = stack.billed("default", "survivor").await?.first().context("the cloud billed nothing")?.at;
    let took = made.duration_since(applied).as_millis();
    screen.say(&format!("from the object's creation to the create call at the cloud: {took} ms"));
    screen.say("the cache is made and billed; the operator does not know its ID");
    stack.kill_operator().await?;
    screen.say("operator killed (SIGKILL)");
    let recorded = caches.get("survivor").await?.status.and_then(|s| s.operation);
    screen.check(recorded.is_some(), "the call was recorded in the status before it was sent");
    stack.start_operator().await?;
    screen.say("operator started again; when the lease of the killed one is over (10 s), it finds the cache by its tags");
    follow(screen, caches, "survivor").await?;
    let billed = stack.billed("default", "survivor").await?;
    screen.check(billed.len() == 1, &format!("{} cache billed for survivor, not a second one", billed.len()));
    let id = caches.get("survivor").await?.status.and_then(|s| s.image_cache_id);
    screen.check(
        billed.first().is_some_and(|b| Some(&b.id) == id.as_ref()),
        "the object names the cache that was made",
    );
    Ok(())
}

/// Objects are deleted and the cloud resources with them, unless they are to be kept.
async fn deleted(screen: &mut Screen, stack: &Stack, caches: &Caches, keep: bool) -> Result<()> {
    screen.title("kubectl delete");
    for name in ["web", "survivor"] {
        caches.delete(name).await?;
        caches.is_gone(name, SOON).await?;
        let left = stack.living("default", name).await?.len();
        screen.check(left == 0, &format!("{name} is deleted, and nothing of it is left in the cloud"));
    }
    if keep {
        return Ok(());
    }
    let data = DataCaches::beside(caches);
    for name in DATA {
        data.delete(name).await?;
        data.is_gone(name, SOON).await?;
    }
    let left = stack.cloud().data_caches().await?.len();
    screen.check(left == 0, "the DataCaches are deleted, and nothing of them is left in the cloud");
    let everything = caches.get("everything").await?;
    caches.delete("everything").await?;
    caches.is_gone("everything", SOON).await?;
    let kept = stack.living("default", "everything").await?;
    let uid = everything.metadata.uid.unwrap_or_default();
    let released = kept.first().is_some_and(|view| !view.tags.values().any(|value| *value == uid));
    screen.check(
        kept.len() == 1 && released,
        "everything is deleted, its cache is kept without our tags (deletionPolicy: Retain)",
    );
    Ok(())
}

fn permissions(screen: &mut Screen, stack: &Stack) -> Result<()> {
    let forbidden = stack.forbidden()?;
    screen.check(
        forbidden.is_empty(),
        &format!("{} requests of the operator were forbidden (audit log)", forbidden.len()),
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the demo shows real time")]
fn clock() -> Timestamp {
    Timestamp::now()
}
