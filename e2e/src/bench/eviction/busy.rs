//! How busy the controllers of the control plane were, whose pace everybody who evicts depends on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::scenario::Pace;
use crate::observer::audit;

/// Those that write for each evicted pod, each with a client of its own.
const CONTROLLERS: [&str; 3] = ["disruption-controller", "replicaset-controller", "statefulset-controller"];

/// By controller and kind of request.
pub(super) type Controllers = BTreeMap<String, BTreeMap<String, usize>>;

/// What they asked for between a mark in the log and that time. Watches are no requests that a pace counts.
pub(super) fn controllers(log: &Path, mark: u64, until: Timestamp) -> Result<Controllers> {
    let mut all = Controllers::new();
    for name in CONTROLLERS {
        let user = format!("system:serviceaccount:kube-system:{name}");
        for request in audit::requests_since(log, mark, &user)? {
            if request.verb != "watch" && request.received <= until {
                let kind = format!("{} {}", request.verb, request.resource);
                *all.entry(name.to_owned()).or_default().entry(kind).or_default() += 1;
            }
        }
    }
    Ok(all)
}

/// Of what its pace allows a controller within `time`, what the busiest of them asked for, percent.
#[expect(clippy::cast_precision_loss, reason = "shown without digits")]
pub(super) fn share(controllers: &Controllers, pace: Pace, time: Duration) -> Option<f64> {
    let most = controllers.values().map(|kinds| kinds.values().sum::<usize>()).max()?;
    let allowed = f64::from(pace.burst) + f64::from(pace.qps) * time.as_secs_f64();
    Some(100.0 * most as f64 / allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_is_held_against_its_burst_and_what_was_allowed_since() {
        let of = |kinds: &[(&str, usize)]| {
            kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect::<BTreeMap<_, _>>()
        };
        let all: Controllers = [
            ("disruption-controller".to_owned(), of(&[("update poddisruptionbudgets/status", 40)])),
            (
                "replicaset-controller".to_owned(),
                of(&[("create pods", 100), ("update replicasets/status", 70)]),
            ),
        ]
        .into();
        let share = |seconds| share(&all, Pace::DEFAULT, Duration::from_secs(seconds));
        assert_eq!((share(7), share(0)), (Some(100.0), Some(17_000.0 / 30.0)));
        assert_eq!(super::share(&Controllers::new(), Pace::DEFAULT, Duration::ZERO), None);
    }
}
