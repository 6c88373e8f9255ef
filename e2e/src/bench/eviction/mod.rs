//! Reclaims side by side: the operator and what else drains a node, on the same control plane.
//!
//! Every row is a control plane of its own, on which a scenario's pods are Ready on one virtual node and another one
//! takes what replaces them. The observer says what was evicted when, the audit log who asked how often.

mod busy;
mod contender;
mod plot;
mod proxy;
mod reaction;
mod report;
mod run;
mod scenario;
mod stage;
mod target;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use contender::Contender;
use run::Row;
use scenario::{Pace, SCENARIOS, Scenario};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Identifiers of scenarios; none are all but the largest.
    pub scenarios: Vec<String>,
    /// Identifiers of contenders; none are all.
    pub contenders: Vec<String>,
    /// With kube-controller-manager's own pace.
    pub at_default: bool,
    /// With a raised one.
    pub at_raised: bool,
    /// How often each.
    pub runs: u32,
    /// From notice to release, seconds.
    pub limit: u32,
    /// With a release build of the operator.
    pub release: bool,
    /// Whether a target that is missed is a failure.
    pub strict: bool,
    /// Whether rows of earlier runs stay that are not measured anew.
    pub add: bool,
    /// How many control planes at once, at least 1.
    pub at_once: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// From notice to release, seconds.
    limit: u32,
    /// Whether the operator is a release build.
    release_build: bool,
    rows: Vec<Row>,
}

impl Report {
    /// That of earlier runs, if it is of the same kind and to be kept.
    fn read(dir: &Path, options: &Options, release_build: bool) -> Result<Self> {
        let new = Self { limit: options.limit, release_build, rows: Vec::new() };
        let file = dir.join(JSON);
        if !options.add || !file.is_file() {
            return Ok(new);
        }
        let text = fs::read_to_string(&file).context("cannot read eviction.json")?;
        let old: Self = serde_json::from_str(&text).context("cannot read the rows of eviction.json")?;
        ensure!(
            (old.limit, old.release_build) == (new.limit, new.release_build),
            "{} is of other settings: add nothing to it, or take the same --limit and --release",
            file.display()
        );
        Ok(old)
    }

    /// Makes room for a row that is about to be measured.
    fn forget(&mut self, scenario: &str, pace: Pace, contender: &str) {
        self.rows.retain(|row| {
            (row.scenario.as_str(), row.controller_qps, row.contender.as_str())
                != (scenario, pace.qps, contender)
        });
    }

    /// In the order of scenarios and contenders.
    fn sort(&mut self) {
        let scenario = |row: &Row| SCENARIOS.iter().position(|scenario| scenario.id == row.scenario);
        let contender = |row: &Row| Contender::ALL.iter().position(|one| one.id() == row.contender);
        self.rows.sort_by_key(|row| (scenario(row), row.controller_qps, contender(row)));
    }

    /// A picture for each scenario and pace.
    fn plot(&self, dir: &Path) -> Result<()> {
        let all: BTreeSet<(&str, u32)> =
            self.rows.iter().map(|row| (row.scenario.as_str(), row.controller_qps)).collect();
        for (scenario, qps) in all {
            let of_this = |row: &&Row| (row.scenario.as_str(), row.controller_qps) == (scenario, qps);
            let rows: Vec<&Row> = self.rows.iter().filter(of_this).collect();
            let file = dir.join(format!("eviction-{scenario}-{qps}.svg"));
            fs::write(&file, plot::svg(&rows, self.limit)).context("cannot write a plot")?;
        }
        Ok(())
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(dir.join(JSON), text).context("cannot write eviction.json")
    }
}

/// Where rows are kept.
const JSON: &str = "eviction.json";

/// Left out unless it is asked for: it takes many minutes to set up at 20 requests a second.
const LARGEST: &str = "B14";

/// Measures, prints tables and writes them to `target/bench/eviction.md`, with `eviction.json` and plots beside it;
/// whether no pod was evicted that was not announced, and none below a floor, by the operator, and, when that is asked
/// for, every target was reached.
pub async fn run(options: &Options) -> Result<bool> {
    let scenarios = chosen(options)?;
    let contenders = contenders(options)?;
    let paces = [(options.at_default, Pace::DEFAULT), (options.at_raised, Pace::RAISED)];
    let paces: Vec<Pace> = paces.into_iter().filter_map(|(wanted, pace)| wanted.then_some(pace)).collect();
    let release = options.release || !cfg!(debug_assertions);
    if !release {
        println!("Built without optimization: figures are not for the record.");
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    let mut report = Report::read(&dir, options, release)?;
    let mut planned = Vec::new();
    for scenario in scenarios {
        for pace in &paces {
            for contender in contenders.iter().filter(|contender| takes_part(scenario, **contender)) {
                report.forget(scenario.id, *pace, contender.id());
                planned.extend((0..options.runs).map(|_| (scenario, *pace, *contender)));
            }
        }
    }
    let runs = planned.into_iter().map(|(scenario, pace, contender)| async move {
        let row = run::run(scenario, contender, pace, options.limit, options.release).await;
        row.with_context(|| format!("{} with {}", scenario.id, contender.name()))
    });
    let mut runs = stream::iter(runs).buffer_unordered(options.at_once.max(1));
    while let Some(row) = runs.next().await {
        let row = row?;
        println!("{}", report::line(&row));
        report.rows.push(row);
        report.sort();
        report.write(&dir)?;
    }
    drop(runs);
    report.plot(&dir)?;
    let rows = &report.rows;
    let ours: Vec<&Row> = rows.iter().filter(|row| row.contender == Contender::Ours.id()).collect();
    let judged: Vec<_> = ours.iter().map(|row| (*row, target::judge(row))).collect();
    let text = [report::table(rows), report::kinds(&ours), report::targets(&judged)].join("\n");
    println!("\n{text}");
    fs::write(dir.join("eviction.md"), text).context("cannot write target/bench/eviction.md")?;
    println!("written to target/bench: eviction.md, eviction.json, and a plot for each scenario");
    let broken: Vec<String> = ours.iter().flat_map(|row| row.broken()).collect();
    for broken in &broken {
        println!("FAILED: {broken}");
    }
    let missed = judged.iter().flat_map(|(_, judged)| judged).filter(|judged| !judged.reached).count();
    println!("targets missed: {missed}");
    Ok(broken.is_empty() && !(options.strict && missed > 0))
}

/// A drain has one beginning.
fn takes_part(scenario: &Scenario, contender: Contender) -> bool {
    contender == Contender::Ours || scenario.waves == 1
}

fn chosen(options: &Options) -> Result<Vec<&'static Scenario>> {
    if options.scenarios.is_empty() {
        return Ok(SCENARIOS.iter().filter(|scenario| scenario.id != LARGEST).collect());
    }
    let find = |id: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.id.eq_ignore_ascii_case(id));
        found.with_context(|| {
            let ids: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.id).collect();
            format!("there is no scenario {id:?}, only {}", ids.join(", "))
        })
    };
    options.scenarios.iter().map(find).collect()
}

fn contenders(options: &Options) -> Result<Vec<Contender>> {
    if options.contenders.is_empty() {
        return Ok(Contender::ALL.to_vec());
    }
    let find = |id: &String| {
        let found = Contender::ALL.into_iter().find(|contender| contender.id() == id);
        found.with_context(|| {
            format!("there is no contender {id:?}, only {}", Contender::ALL.map(Contender::id).join(", "))
        })
    };
    options.contenders.iter().map(find).collect()
}
