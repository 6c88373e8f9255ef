//! Measurements. To add one, add a variant.

use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::admission::AdmissionArgs;
use crate::crash::CrashArgs;
use crate::eviction::EvictionArgs;
use crate::memory::MemoryArgs;
use crate::reconcile::ReconcileArgs;
use crate::{cargo, e2e, now};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How many random histories exactly-once creation survives
    ///
    /// Runs the model of eci-core: up to two operators against a cloud that loses answers, lags and forgets, while
    /// people edit, rotate, restore and delete. 100,000 histories take a minute or two.
    Model {
        /// Histories to run
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
        seeds: u32,
    },

    /// The operator under fire: killed again and again, with nothing leaked and nothing made twice
    ///
    /// First the models, as in `bench model`. Then the shell as it is shipped, drivers and pollers, in virtual time against
    /// the simulated cloud and an API server in memory, stopped and killed at places that a seed chooses; a second is
    /// about a hundred seeds. Then a real API server, the operator as a process and the simulated cloud
    /// over HTTP: the operator is killed at moments that a seed chooses, many of them in the middle of a call, while
    /// the cloud loses answers, lags, throttles and fails, and objects are created, edited, deleted and restored from
    /// backups. An episode of ten deaths takes one to two minutes. At the end of each, the simulated cloud's own
    /// records must show one cache for each object and none besides. A failure prints its story, and how to replay it.
    Crash(CrashArgs),

    /// What the admission webhook costs: decisions, and pod creates with it and without
    ///
    /// Decisions in process against 10, 100 and 1,000 profiles. Then a real API server: pod creates, 200 a second and as
    /// many as can be, without a webhook, with the operator's, with one that is asked about every pod, and with the
    /// operator dead; pods of every sort compared with the decision; and certificates that are replaced under load. Prints
    /// tables, writes target/bench/admission.json, and fails when a selected pod has no mark, another one has, the API
    /// server asks twice about one, a pod comes out otherwise than decided, a question is lost, or a dead operator keeps a
    /// pod from being created; never for a time.
    Admission(AdmissionArgs),

    /// What ImageCaches and DataCaches cost: cloud calls, Kubernetes writes, memory and time
    ///
    /// A real API server, the operator as a process and the simulated cloud over HTTP. Caches of both kinds from apply
    /// to Ready, at rest for a minute each with one, some and all of them, then one change in place each, another source
    /// for every tenth, then deleted. Prints a table, writes target/bench/reconcile.json, and fails when a cache is
    /// created twice, when the operator writes at rest, when it asks the cloud for more than pages of lists at rest, when
    /// it is refused a request or, in a release build with up to 1,000 and 200 caches, when it needs more than 64 MiB;
    /// never for a time.
    Reconcile(ReconcileArgs),

    /// What the operator keeps in memory of a large cluster
    ///
    /// A real API server with pods, ImageCaches and EciProfiles, then the operator as a process with all of its parts,
    /// whose first lists find all of them. Prints the size of its file, how long it takes from start to ready with nothing
    /// in the cluster and with everything, and its memory when it is ready, when every pod is counted and when every
    /// cache is Ready; writes target/bench/memory.json, and fails when a release build needs more than 64 MiB with the
    /// default numbers, has a file of more than 20 MiB, or is refused a request. Takes three to six minutes.
    Memory(MemoryArgs),

    /// Reclaims side by side: the operator, kubectl drain and two other projects' evictors
    ///
    /// Each row is a control plane of its own: pods on one simulated virtual node, replacements on another, an observer
    /// who says what was evicted when, and the API server's audit log for the requests. Builds the peers with Go when
    /// they are not built yet. Prints tables and what of the targets was reached, writes target/bench/eviction.md,
    /// eviction.json and plots, and fails when the operator evicted a pod that was not announced or one below a floor;
    /// for a time only with --strict. A row takes one to
    /// four minutes. Figures are only worth noting from an idle machine.
    Eviction(EvictionArgs),
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Model { seeds } => model(*seeds).map(|()| ExitCode::SUCCESS),
        Bench::Crash(args) => {
            if args.seeds > 0 && !args.story {
                model(args.seeds)?;
            }
            if args.seeds + args.kills > 0 { e2e("bench", true, 2) } else { Ok(ExitCode::SUCCESS) }
        }
        Bench::Admission(args) => {
            if args.release {
                crate::run(&["cargo", "build", "--release", "--package", "eci-operator"])?;
            }
            e2e("bench", true, 2)
        }
        // Already checked: handed on as typed.
        Bench::Reconcile(args) => {
            if args.release {
                crate::run(&["cargo", "build", "--release", "--package", "eci-operator"])?;
            }
            e2e("bench", true, 2)
        }
        Bench::Memory(args) => {
            if args.release {
                crate::run(&["cargo", "build", "--release", "--package", "eci-operator"])?;
            }
            e2e("bench", true, 2)
        }
        Bench::Eviction(args) if args.release => crate::e2e_released("bench", 2),
        Bench::Eviction(_) => e2e("bench", true, 2),
    }
}

/// The dev profile: it optimizes eci-core, and a release build would build everything else as well.
fn model(seeds: u32) -> anyhow::Result<()> {
    let start = now();
    let output = cargo()
        .args(["test", "--package", "eci-core", "--test", "model", "--", "--nocapture"])
        // What survives, and not what is broken on purpose.
        .args(["one_object", "a_kind_with", "a_resource_that"])
        .env("ECI_MODEL_SEEDS", seeds.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the model failed ({}):\n{told}", output.status);
    }
    for model in ["model: ", "model of a place: ", "adoption: "] {
        let result = told.lines().find(|line| line.starts_with(model));
        let result = result.with_context(|| format!("the {model} printed no result:\n{told}"))?;
        println!("{result}");
    }
    println!("the models took {} s", start.elapsed().as_secs());
    Ok(())
}
