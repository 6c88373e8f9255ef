//! One scenario with one contender.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::measure;
use super::busy;
use super::contender::{Contender, Peerage};
use super::proxy::Proxy;
use super::reaction::{Pause, reactions};
use super::scenario::{Pace, Scenario, Trouble};
use super::stage::{Bed, DOOMED_NODE, NAMESPACE, Stage};
use super::words::Words;
use crate::eventually::eventually;
use crate::observer::audit::{self, Request, Tally};
use crate::observer::{Figures, Observer};
use crate::testbed::wall_clock;
use crate::vendor::{Behaviour, Notice, PodRef, Vendor};

/// How often is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a scenario lasts in which nothing can be evicted.
const NOTHING_LIMIT: Duration = Duration::from_secs(30);
/// How long the API server may take to write its log.
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) name: String,
    pub(super) contender: String,
    /// Requests per second of a controller of the control plane.
    pub(super) controller_qps: u32,
    /// The best that could be reached, seconds and pods.
    pub(super) bound_seconds: f64,
    pub(super) bound_pods: u32,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Evicted with all of their grace before their instance went.
    pub(super) graceful: usize,
    /// When the last pod that could be was evicted, over the bound; None when it was not within the limit.
    pub(super) ratio: Option<f64>,
    /// All of the contender's requests but watches.
    pub(super) requests: usize,
    /// The same by verb and resource.
    pub(super) requests_by_kind: BTreeMap<String, usize>,
    /// Answers to evictions, by status.
    pub(super) answers: BTreeMap<u16, usize>,
    /// How long answers to evictions took: median, 99th percentile, longest, milliseconds.
    pub(super) latency_ms: Option<[f64; 3]>,
    /// From a budget's opening to an accepted eviction: median, 99th percentile, longest, milliseconds.
    pub(super) reaction_ms: Option<[f64; 3]>,
    /// How many of these there were.
    pub(super) reactions: usize,
    /// Openings that are not among them: nobody led, or the API server had asked to wait.
    #[serde(default)]
    pub(super) paused: usize,
    /// From the death of the operator until the next process led, seconds.
    #[serde(default)]
    pub(super) leaderless_seconds: Option<f64>,
    /// Requests of controllers of the control plane until the last eviction, by controller and kind.
    #[serde(default)]
    pub(super) controllers: BTreeMap<String, BTreeMap<String, usize>>,
    /// Of all requests that its pace allowed it until then, what the busiest of them made, percent.
    #[serde(default)]
    pub(super) controller_busy_percent: Option<f64>,
    /// When each pod was evicted, seconds.
    pub(super) evicted_at: Vec<f64>,
    /// When it could be read what stands in the way of a pod, seconds; of the operator alone.
    pub(super) why_seconds: Option<f64>,
    /// The same since the first budget had nothing left, if that was later than the notices.
    #[serde(default)]
    pub(super) why_since_blocked_seconds: Option<f64>,
    /// By how much of the pods the forecast of 5 s after the notices was off, percent; of the operator alone.
    pub(super) forecast_off_percent: Option<f64>,
    /// Most resident memory of the operator, MiB.
    pub(super) peak_rss_mib: Option<f64>,
    /// What was done to evictions on their way, by fault.
    pub(super) faults: BTreeMap<String, usize>,
    /// Of the machine when it began, over the last minute.
    pub(super) load: Option<f64>,
}

impl Row {
    /// Requests but those that renew the Lease, which are made whether or not anything is evicted.
    pub(super) fn requests_for_pods(&self) -> usize {
        let of_lease = |kind: &&String| kind.ends_with(" leases");
        let leases: usize =
            self.requests_by_kind.iter().filter(|(kind, _)| of_lease(kind)).map(|(_, n)| n).sum();
        self.requests - leases
    }

    /// What must not be, whatever the times are.
    pub(super) fn broken(&self) -> Vec<String> {
        let who = format!("{} {} at {} QPS", self.scenario, self.contender, self.controller_qps);
        let mut broken = Vec::new();
        if self.figures.wrong > 0 {
            broken.push(format!("{who}: {} pods were evicted that were not announced", self.figures.wrong));
        }
        if self.figures.below_floor > 0 {
            broken.push(format!("{who}: {} pods were evicted below a floor", self.figures.below_floor));
        }
        broken
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
/// Runs it; instances are released `limit` seconds after their notice.
pub(super) async fn run(
    scenario: &Scenario,
    contender: Contender,
    pace: Pace,
    limit: u32,
    release: bool,
) -> Result<Row> {
    let Stage { mut bed, client, doomed } = Stage::set(scenario, contender, pace, release).await?;
    // The server refuses connections of a client that is gone, but an idle one costs nothing.
    drop(client);
    let lead = Duration::from_secs(u64::from(limit));
    let observer = Observer::start(bed.plane(), Some(NAMESPACE)).await?;
    let mut vendor = Vendor::start(bed.plane(), Behaviour::QUIET).await?;
    let mut words = Words::start(bed.plane(), NAMESPACE).await?;
    let mut peer = if contender == Contender::Ours {
        None
    } else {
        let server = bed.proxy().map(Proxy::url);
        Some(Peerage::prepare(contender, bed.plane(), server, (DOOMED_NODE, NAMESPACE), lead).await?)
    };
    let busy = load();
    let log = bed.plane().audit_log_path();
    let mark = audit::mark(&log)?;
    let pods: Vec<PodRef> = doomed.iter().map(|(pod, _)| pod.clone()).collect();
    let size = pods.len().div_ceil(usize::try_from(scenario.waves)?);
    let waves: Vec<&[PodRef]> = pods.chunks(size).collect();
    let bound = scenario.bound(pace, limit);
    let apart = Duration::from_secs(u64::from(scenario.apart_seconds));

    observer.begin();
    words.begin();
    let begun = observer.elapsed();
    if let Some(peer) = &mut peer {
        peer.go().await?;
    }
    let (mut announced, mut released) = (0, 0);
    let mut killed = None;
    let mut trouble = match scenario.trouble {
        Trouble::None | Trouble::Faults => None,
        Trouble::Restart(seconds) => Some(Duration::from_secs(u64::from(seconds))),
    };
    loop {
        let now = observer.elapsed().saturating_sub(begun);
        if contender == Contender::Ours
            && let Some(wave) = waves.get(announced)
            && now >= wave_at(announced, apart)
        {
            vendor.announce(wave, Notice::Both).await?;
            announced += 1;
        }
        if trouble.take_if(|at| now >= *at).is_some() {
            if let Bed::WithOperator(stack, _) = &mut bed {
                stack.kill_operator().await?;
                killed = Some(wall_clock());
                stack.launch_operator().await?;
            }
            if let Some(peer) = &mut peer {
                peer.restart().await?;
            }
        }
        // A drain knows no notices: its pods go at the deadline of the first.
        let due = if contender == Contender::Ours { wave_at(released, apart) + lead } else { lead };
        if released < waves.len() && now >= due {
            vendor.release(waves[released]).await?;
            released += 1;
        }
        let verdict = observer.verdict(&pods);
        let enough = match usize::try_from(bound.pods)? {
            0 => now >= NOTHING_LIMIT,
            some => verdict.evicted.len() >= some,
        };
        if enough || released == waves.len() {
            break;
        }
        bed.plane().check_alive()?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if let Some(peer) = peer {
        peer.stop().await?;
    }
    let verdict = observer.verdict(&pods);
    let ledger = observer.ledger();
    let graceful = doomed.iter().enumerate().filter(|(n, (pod, grace))| {
        let wave = if contender == Contender::Ours { n / size } else { 0 };
        let deadline = wave_at(wave, apart) + lead;
        let grace = Duration::from_secs(u64::try_from(*grace).unwrap_or_default());
        let evicted = ledger.seen(&pod.uid).and_then(|seen| seen.terminating_at);
        evicted.is_some_and(|at| at.saturating_sub(begun) + grace <= deadline)
    });
    let graceful = graceful.count();
    let (requests, tally) = tally(&log, mark, &contender.user(), verdict.evicted.len()).await?;
    let leaderless = killed.and_then(|killed| leaderless(&requests, killed));
    let pauses: Vec<Pause> = bed.proxy().map(Proxy::pauses).into_iter().flatten().chain(leaderless).collect();
    let reactions = reactions(&ledger, &audit::budget_writes_since(&log, mark)?, &requests, &pauses);
    let until = requests.iter().filter(|request| is_eviction(request)).map(|request| request.received).max();
    let controllers = match until {
        Some(until) => busy::controllers(&log, mark, until)?,
        None => BTreeMap::new(),
    };
    let last = usize::try_from(bound.pods)?.checked_sub(1).and_then(|last| verdict.evicted.get(last));
    let ours = contender == Contender::Ours;
    // It is over when no more can go in time: what came is known.
    let forecast = words.forecast(doomed.len()).filter(|_| ours);
    let percent = |told: usize| 100.0 * told.abs_diff(verdict.evicted.len()) as f64 / doomed.len() as f64;
    let peak_rss_mib = match &bed {
        Bed::WithOperator(stack, _) => Some(measure::memory(stack)?.1 as f64 / 1_024.0),
        Bed::Alone(..) => None,
    };
    let faults = bed.proxy().map(Proxy::faults).unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Row {
        scenario: scenario.id.to_owned(),
        name: scenario.name.to_owned(),
        contender: contender.id().to_owned(),
        controller_qps: pace.qps,
        bound_seconds: bound.seconds,
        bound_pods: bound.pods,
        figures: verdict.figures(),
        graceful,
        // Where the bound is no time at all there is no ratio.
        ratio: last.map(|last| last.as_secs_f64() / bound.seconds).filter(|ratio| ratio.is_finite()),
        requests: tally.requests,
        requests_by_kind: tally.by_kind,
        latency_ms: tally.latency.map(|times| times.map(ms)),
        reaction_ms: reactions.map(|all| [all.median, all.p99, all.longest].map(ms)),
        reactions: reactions.map_or(0, |all| all.count),
        paused: reactions.map_or(0, |all| all.paused),
        leaderless_seconds: leaderless.map(|pause| pause.to.duration_since(pause.from).as_secs_f64()),
        controller_busy_percent: last.and_then(|last| busy::share(&controllers, pace, *last)),
        controllers,
        answers: tally.evictions,
        why_seconds: words.why().filter(|_| ours).map(|time| time.as_secs_f64()),
        why_since_blocked_seconds: words.why_since_blocked().filter(|_| ours).map(|time| time.as_secs_f64()),
        forecast_off_percent: forecast.map(percent),
        peak_rss_mib,
        faults,
        evicted_at: verdict.evicted.iter().map(Duration::as_secs_f64).collect(),
        load: busy,
    })
}

fn is_eviction(request: &Request) -> bool {
    request.verb == "create" && request.resource == "pods/eviction"
}

/// From the operator's death until the next process wrote its name into the Lease.
fn leaderless(requests: &[Request], killed: Timestamp) -> Option<Pause> {
    let writes = requests.iter().filter(|request| {
        request.resource == "leases" && request.verb != "get" && (200..300).contains(&request.code)
    });
    let next = writes.map(|request| request.received).filter(|at| *at > killed).min()?;
    Some(Pause { from: killed, to: next })
}

fn wave_at(wave: usize, apart: Duration) -> Duration {
    apart * u32::try_from(wave).unwrap_or(u32::MAX)
}

/// What the log says, once it has all evictions that were seen.
async fn tally(
    log: &std::path::Path,
    mark: u64,
    user: &str,
    evicted: usize,
) -> Result<(Vec<Request>, Tally)> {
    let mut last = Vec::new();
    let complete = eventually("the audit log is complete", LOG_LIMIT, || {
        let answer = match audit::requests_since(log, mark, user) {
            Ok(requests) => {
                let enough = Tally::of(&requests).accepted() >= evicted;
                last = requests;
                if enough { Ok(()) } else { Err("evictions are missing".to_owned()) }
            }
            Err(error) => Err(error.to_string()),
        };
        std::future::ready(answer)
    })
    .await;
    // Somebody else deleted some: the log is right.
    drop(complete);
    let tally = Tally::of(&last);
    Ok((last, tally))
}

/// Of the machine, over the last minute.
fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
