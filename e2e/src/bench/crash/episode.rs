//! One episode: a script carried out on a real API server with the operator as a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eci_operator::lease::NAME as LEASE;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::objects::{Objects, name, spec};
use super::script::{Act, Death, EARLY, LATEST_EFFECT_MS, Round, Script};
use super::verdict::{Count, Facts};
use crate::eventually::eventually;
use crate::stack::{NAMESPACE, Stack, StackOptions, leads};
use crate::testbed::{Process, Stopwatch};

/// How long the call that a death waits for may take to come; the death comes in any case.
const CALL_LIMIT: Duration = Duration::from_secs(6);
/// How long it may take until an operator leads, or one that lost the lease ends.
const LEASE_LIMIT: Duration = Duration::from_mins(1);
/// How long the first objects may take.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long everything may take to come to rest. A window of looking is 12 s, a second resource that nobody owns is
/// deleted after half a minute, and what was lost is made again after a minute.
const REST_LIMIT: Duration = Duration::from_mins(5);

/// What an episode did.
#[derive(Debug)]
pub struct Episode {
    /// Processes that were killed with signal 9.
    pub kills: u32,
    /// Those that were frozen for longer than their lease instead.
    pub frozen: u32,
    /// Kills that came while a call was under way.
    pub during_calls: u32,
    /// Objects that there ever were.
    pub objects: usize,
    /// Caches that the cloud made.
    pub made: usize,
    /// Seconds from the end of the faults until everything was as it must be.
    pub rest_seconds: f64,
    /// What happened when, for people.
    pub story: String,
}

/// Carries out the script of a seed and judges what the cloud recorded. An error tells the story.
pub async fn episode(seed: u64, deaths: u32) -> Result<Episode> {
    let script = Script::of(seed, deaths);
    let options = StackOptions {
        sim_seed: seed,
        // What is killed here is the part that owns cloud resources.
        values: json!({ "controllers": ["imagecache", "datacache"], "cloudWritesPerSecond": 20 }),
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await?;
    let namespace = stack.namespace("fire").await?;
    let mut stage = Stage {
        objects: Objects::new(&namespace.client(), namespace.namespace()),
        stack,
        clock: Stopwatch::start(),
        story: format!("seed {seed}, the cloud: {}\n", script.settings),
        backups: BTreeMap::new(),
        overwritten: BTreeSet::new(),
        done: Episode {
            kills: 0,
            frozen: 0,
            during_calls: 0,
            objects: 0,
            made: 0,
            rest_seconds: 0.0,
            story: String::new(),
        },
    };
    match Box::pin(stage.play(&script)).await {
        Ok(()) => Ok(Episode { story: stage.story, ..stage.done }),
        Err(error) => bail!(
            "{error:#}\n{}replay: cargo xtask bench crash --seeds 0 --kills {deaths} --seed {seed}\nlast lines of the operator:\n{}",
            stage.story,
            stage.stack.operator().map(|operator| operator.log_tail(40)).unwrap_or_default()
        ),
    }
}

struct Stage {
    stack: Stack,
    objects: Objects,
    clock: Stopwatch,
    story: String,
    /// Statuses as they once were, by number of the object.
    backups: BTreeMap<u64, Vec<Value>>,
    overwritten: BTreeSet<String>,
    done: Episode,
}

impl Stage {
    fn tell(&mut self, what: impl std::fmt::Display) {
        let _ = writeln!(self.story, "{:>7.2} s  {what}", self.clock.elapsed().as_secs_f64());
    }

    async fn play(&mut self, script: &Script) -> Result<()> {
        self.stack.cloud().settings(script.settings.clone()).await?;
        for object in 0..EARLY {
            Box::pin(self.act(Act::Version(object, 0))).await?;
        }
        let this = &*self;
        eventually("the first objects are Ready", START_LIMIT, || async move {
            let facts = this.facts().await.map_err(|error| format!("{error:#}"))?;
            let missing = facts.unsettled();
            if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
        })
        .await?;
        self.tell("the first objects are Ready");
        for round in &script.rounds {
            Box::pin(self.round(round)).await?;
        }
        self.rest().await?;
        let facts = self.facts().await?;
        let broken = facts.broken();
        ensure!(broken.is_empty(), "invariants are broken: {broken:#?}");
        let forbidden = self.stack.forbidden()?;
        ensure!(forbidden.is_empty(), "the API server refused with 403: {forbidden:?}");
        let Count { objects, made, .. } = facts.count();
        (self.done.objects, self.done.made) = (objects, made);
        Ok(())
    }

    /// The life of one process, from its start to its death.
    async fn round(&mut self, round: &Round) -> Result<()> {
        let silent = self.silent(&round.death).await?;
        self.stack.cloud().clear_faults().await?;
        for fault in &round.faults {
            self.tell(format_args!("fault {}", json!(fault)));
            self.stack.cloud().add_fault(fault).await?;
        }
        if self.stack.operator().is_none() {
            self.stack.launch_operator().await?;
            self.tell("the operator starts");
        }
        if round.death == Death::Frozen {
            // One that never led would only wait when it wakes up.
            leading(self.stack.health()).await?;
        }
        for (pause, act) in &round.acts {
            tokio::time::sleep(*pause).await;
            let said = Box::pin(self.act(*act)).await.with_context(|| format!("{act:?}"))?;
            self.tell(format_args!("{act:?}: {said}"));
        }
        match round.death {
            Death::After(time) => tokio::time::sleep(time).await,
            Death::During(..) => {
                let stack = &self.stack;
                let death = round.death;
                let under_way = eventually("the call comes", CALL_LIMIT, || async move {
                    match silence(stack, &death).await {
                        Ok(now) if now > silent => Ok(()),
                        Ok(_) => Err("it has not come".to_owned()),
                        Err(error) => Err(error.to_string()),
                    }
                });
                if under_way.await.is_ok() {
                    self.done.during_calls += 1;
                } else {
                    self.tell("the call did not come");
                }
            }
            Death::Frozen => return self.freeze().await,
        }
        self.alive()?;
        self.stack.kill_operator().await?;
        self.done.kills += 1;
        self.tell(round.death);
        // Nobody holds it any more, and to wait for ten seconds each time would only make the story longer.
        let leases: Api<Lease> = Api::namespaced(self.stack.client()?, NAMESPACE);
        let _ = leases.delete(LEASE, &DeleteParams::default()).await;
        Ok(())
    }

    /// How many calls of the death's action were left without an answer.
    async fn silent(&self, death: &Death) -> Result<u64> {
        silence(&self.stack, death).await
    }

    /// The operator has not ended by itself.
    fn alive(&self) -> Result<()> {
        let operator = self.stack.operator().context("the operator runs")?;
        operator.check_alive().context("the operator ended by itself")
    }

    async fn freeze(&mut self) -> Result<()> {
        self.alive()?;
        signal(self.stack.operator().context("the operator runs")?, Signal::STOP)?;
        self.tell(Death::Frozen);
        let replica = self.stack.start_replica(&format!("eci-operator-{}", self.done.frozen + 1)).await?;
        leading(replica.health()).await?;
        self.tell("another one leads, the frozen one wakes up");
        let old = self.stack.operator().context("the frozen operator")?;
        signal(old, Signal::CONT)?;
        eventually("the one that was frozen ends", LEASE_LIMIT, || async {
            old.exit_status().map(drop).ok_or("it runs")
        })
        .await?;
        self.stack.replace_operator(replica);
        self.done.frozen += 1;
        self.tell("it has ended");
        Ok(())
    }

    /// Does it if it can be done, and says what was done.
    async fn act(&mut self, act: Act) -> Result<String> {
        let (Act::Version(object, _)
        | Act::Retention(object, _)
        | Act::Delete(object)
        | Act::Wipe(object)
        | Act::Restore(object)) = act;
        let name = name(object);
        let api = self.objects.api(object);
        let Some(found) = api.get_opt(&name).await? else {
            let (Act::Version(_, version) | Act::Retention(_, version)) = act else {
                return Ok("there is none".into());
            };
            let made = self.objects.create(object, spec(object, version)).await?;
            return Ok(format!("created {}", made.uid().unwrap_or_default()));
        };
        let status = found.data.get("status").cloned().unwrap_or_default();
        if status.is_object() {
            self.backups.entry(object).or_default().push(status);
        }
        if found.metadata.deletion_timestamp.is_some() {
            return Ok("it is being deleted".into());
        }
        let patch = match act {
            Act::Version(_, version) => json!({ "spec": spec(object, version) }),
            Act::Retention(_, days) => json!({ "spec": { "retentionDays": days } }),
            Act::Delete(_) => {
                let deleted = api.delete(&name, &DeleteParams::default()).await;
                return forgiven(deleted.map(|_| "done".to_owned()));
            }
            Act::Wipe(_) => return self.overwrite(object, found, None).await,
            Act::Restore(_) => {
                let old = self.backups.get(&object).and_then(|all| all.first()).cloned();
                return self.overwrite(object, found, old).await;
            }
        };
        let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        forgiven(patched.map(|_| "done".to_owned()))
    }

    /// The status is lost or an old one comes back, whatever is under way.
    async fn overwrite(
        &mut self,
        number: u64,
        mut found: DynamicObject,
        status: Option<Value>,
    ) -> Result<String> {
        let (name, api) = (found.name_any(), self.objects.api(number));
        let uid = found.uid().unwrap_or_default();
        let result = match status {
            // The version is a precondition in both.
            None => {
                let version = found.resource_version();
                let patch = json!({ "metadata": { "resourceVersion": version }, "status": Value::Null });
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
            Some(status) => {
                found.data["status"] = status;
                api.replace_status(&name, &PostParams::default(), &found).await
            }
        };
        if result.is_ok() {
            self.overwritten.insert(uid);
        }
        forgiven(result.map(|_| "done".to_owned()))
    }

    /// Faults end, an operator runs, and everything becomes as it must be.
    async fn rest(&mut self) -> Result<()> {
        self.stack.cloud().clear_faults().await?;
        let none = json!({ "minMs": 0, "maxMs": 0 });
        self.stack.cloud().settings(json!({ "listLag": none, "lookupLag": none })).await?;
        if self.stack.operator().is_none() {
            self.stack.launch_operator().await?;
        }
        self.tell("the faults end");
        let begun = self.clock.elapsed();
        // What is under way has come by then.
        tokio::time::sleep(Duration::from_millis(LATEST_EFFECT_MS)).await;
        let this = &*self;
        let settled = eventually("everything comes to rest", REST_LIMIT, || async move {
            let facts = this.facts().await.map_err(|error| format!("{error:#}"))?;
            let missing = facts.unsettled();
            if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
        });
        settled.await?;
        self.alive()?;
        self.done.rest_seconds = self.clock.elapsed().saturating_sub(begun).as_secs_f64();
        self.tell("everything is at rest");
        Ok(())
    }

    async fn facts(&self) -> Result<Facts> {
        let cloud = self.stack.cloud();
        // The objects last: a cache of an object that is just going away would count as a leak.
        let (images, data, ledger) =
            (cloud.caches().await?, cloud.data_caches().await?, cloud.ledger().await?);
        let objects = self.objects.all().await?;
        let images = images.into_iter().map(Into::into);
        Ok(Facts {
            objects,
            living: images.chain(data.into_iter().map(Into::into)).collect(),
            ledger,
            gone: self.objects.gone(),
            overwritten: self.overwritten.clone(),
        })
    }
}

/// Calls of the death's action that were left without an answer.
async fn silence(stack: &Stack, death: &Death) -> Result<u64> {
    let Death::During(action, _) = death else { return Ok(0) };
    let calls = stack.cloud().calls().await?;
    Ok(calls.counts.get(*action).and_then(|answers| answers.get("silence")).copied().unwrap_or(0))
}

/// Somebody else may have changed the object since it was read.
fn forgiven(result: kube::Result<String>) -> Result<String> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            Ok("it changed meanwhile".into())
        }
        other => Ok(other?),
    }
}

async fn leading(health: &str) -> Result<()> {
    eventually("the operator leads", LEASE_LIMIT, || async {
        match leads(health).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("it stands by".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

fn signal(process: &Process, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(process.pid()).context("a process number")?, signal)?)
}
