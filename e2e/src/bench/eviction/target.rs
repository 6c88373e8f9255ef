//! The numbers that the operator is to reach.

use super::run::Row;
use super::scenario::{SCENARIOS, Trouble};

/// How long a Lease holds, seconds: a new leader begins after that at the latest.
const LEASE: f64 = 10.0;
/// What it may take beyond that.
const AFTER_LEASE: f64 = 2.0;
/// Requests but those that renew the Lease for each evicted pod.
const REQUESTS: f64 = 2.2;
/// From a budget's opening to an eviction, 99th percentile, milliseconds.
const REACTION_MS: f64 = 250.0;
/// Until it can be read what stands in the way, seconds.
const WHY_SECONDS: f64 = 2.0;
/// Forecasts may be off by so much of the pods, percent.
const FORECAST_PERCENT: f64 = 5.0;
/// With different start times, of the pods that an optimum saves, percent.
const OPTIMUM_PERCENT: f64 = 95.0;

/// One number against its target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) what: &'static str,
    pub(super) target: String,
    pub(super) seen: String,
    pub(super) reached: bool,
}

fn at_most(what: &'static str, seen: f64, most: f64, digits: usize) -> Judged {
    // As it is shown: 1.05 is 1.05.
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or_default());
    let reached = (seen * scale).round() <= (most * scale).round();
    Judged { what, target: format!("≤ {most:.digits$}"), seen: format!("{seen:.digits$}"), reached }
}

fn none(what: &'static str, seen: usize) -> Judged {
    Judged { what, target: "0".to_owned(), seen: seen.to_string(), reached: seen == 0 }
}

/// What has a target in a row of the operator's.
#[expect(clippy::cast_precision_loss, reason = "compared with a digit or two")]
pub(super) fn judge(row: &Row) -> Vec<Judged> {
    let mut judged = vec![
        none("evicted without a notice", row.figures.wrong),
        none("below a floor", row.figures.below_floor),
    ];
    let most = match row.scenario.as_str() {
        "B1" | "B2" | "B3" | "B6" => Some(1.05),
        "B5" => Some(1.25),
        _ => None,
    };
    if let Some(most) = most {
        // Not in time is beyond any ratio.
        judged.push(at_most("time over the bound", row.ratio.unwrap_or(f64::INFINITY), most, 2));
    }
    let scenario = SCENARIOS.iter().find(|scenario| scenario.id == row.scenario);
    if let (Some(last), Some(Trouble::Restart(_))) =
        (row.figures.last_seconds, scenario.map(|scenario| scenario.trouble))
    {
        judged.push(at_most("seconds over the bound", last - row.bound_seconds, LEASE + AFTER_LEASE, 1));
    }
    let can = f64::from(row.bound_pods);
    match row.scenario.as_str() {
        "B5" | "B7" => judged.push(Judged {
            what: "pods saved",
            target: row.bound_pods.to_string(),
            seen: row.figures.evicted.to_string(),
            reached: row.figures.evicted as f64 >= can,
        }),
        "B8" => {
            let share = 100.0 * row.graceful as f64 / can;
            judged.push(Judged {
                what: "pods saved with all of their grace, of the optimum",
                target: format!("≥ {OPTIMUM_PERCENT} %"),
                seen: format!("{share:.0} %"),
                reached: share >= OPTIMUM_PERCENT,
            });
        }
        _ => {}
    }
    if row.figures.evicted > 0 {
        let each = row.requests_for_pods() as f64 / row.figures.evicted as f64;
        judged.push(at_most("requests for each evicted pod", each, REQUESTS, 1));
    }
    if let Some([_, reaction, _]) = row.reaction_ms {
        judged.push(at_most("budget opened to eviction, p99, ms", reaction, REACTION_MS, 0));
    }
    if let Some(leaderless) = row.leaderless_seconds {
        judged.push(at_most("seconds without a leader", leaderless, LEASE + AFTER_LEASE, 1));
    }
    if let Some(why) = row.why_since_blocked_seconds.or(row.why_seconds) {
        judged.push(at_most("seconds until it can be read why", why, WHY_SECONDS, 1));
    }
    if let Some(off) = row.forecast_off_percent {
        judged.push(at_most("forecast off after 5 s, percent of pods", off, FORECAST_PERCENT, 1));
    }
    judged
}
