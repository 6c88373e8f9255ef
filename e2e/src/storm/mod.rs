//! Reclaims as a script: who is announced when, and released how long after.

use std::time::Duration;

use anyhow::Result;

use crate::vendor::{Notice, PodRef, Vendor};

/// Pods that are announced together.
#[derive(Clone, Debug)]
pub struct Wave {
    /// Since the begin of the script.
    pub at: Duration,
    /// Which.
    pub pods: Vec<PodRef>,
    /// By which signs.
    pub notice: Notice,
}

/// A storm.
#[derive(Clone, Debug)]
pub struct Script {
    /// In any order.
    pub waves: Vec<Wave>,
    /// From a notice to the release: 3 minutes at the vendor, less in a hurry.
    pub lead: Duration,
}

/// What a script does at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Announce(usize),
    Release(usize),
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Pods that were gone before they were announced.
    pub gone_before: usize,
    /// Pods that still ran when their instance was released.
    pub released: Vec<PodRef>,
}

impl Script {
    /// All pods at once.
    pub fn at_once(pods: Vec<PodRef>, lead: Duration) -> Self {
        Self { waves: vec![Wave { at: Duration::ZERO, pods, notice: Notice::Both }], lead }
    }

    /// The pods in `groups` equal parts, in their order, one part every `every`: the vendor looks at prices every 5
    /// minutes, but not all pools tick together.
    pub fn staggered(pods: &[PodRef], groups: usize, every: Duration, lead: Duration) -> Self {
        let size = pods.len().div_ceil(groups.max(1)).max(1);
        let waves = pods.chunks(size).zip(0u32..).map(|(pods, n)| Wave {
            at: every * n,
            pods: pods.to_vec(),
            notice: Notice::Both,
        });
        Self { waves: waves.collect(), lead }
    }

    /// With other signs in all waves.
    #[must_use]
    pub fn noticed_by(mut self, notice: Notice) -> Self {
        for wave in &mut self.waves {
            wave.notice = notice;
        }
        self
    }

    /// Everything that is to be done, in order.
    fn acts(&self) -> Vec<(Duration, Act)> {
        let announce = self.waves.iter().enumerate().map(|(n, wave)| (wave.at, Act::Announce(n)));
        let release = self.waves.iter().enumerate().map(|(n, wave)| (wave.at + self.lead, Act::Release(n)));
        let mut acts: Vec<_> = announce.chain(release).collect();
        acts.sort_by_key(|(at, _)| *at);
        acts
    }

    /// Plays it to its last release.
    pub async fn play(&self, vendor: &mut Vendor) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let start = tokio::time::Instant::now();
        for (at, act) in self.acts() {
            tokio::time::sleep_until(start + at).await;
            match act {
                Act::Announce(n) => {
                    let wave = &self.waves[n];
                    outcome.gone_before += vendor.announce(&wave.pods, wave.notice).await?;
                }
                Act::Release(n) => outcome.released.extend(vendor.release(&self.waves[n].pods).await?),
            }
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(count: usize) -> Vec<PodRef> {
        let pod = |n: usize| PodRef { namespace: "a".into(), name: format!("p{n}"), uid: format!("u{n}") };
        (0..count).map(pod).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_staggered_storm_announces_every_pod_once_and_releases_each_after_its_lead() {
        let all = pods(10);
        let script = Script::staggered(&all, 3, 5 * SECOND, 8 * SECOND);
        let sizes: Vec<usize> = script.waves.iter().map(|wave| wave.pods.len()).collect();
        assert_eq!(sizes, [4, 4, 2]);
        let together: Vec<PodRef> = script.waves.iter().flat_map(|wave| wave.pods.clone()).collect();
        assert_eq!(together, all);
        let acts = script.acts();
        let expected = [
            (0, Act::Announce(0)),
            (5, Act::Announce(1)),
            (8, Act::Release(0)),
            (10, Act::Announce(2)),
            (13, Act::Release(1)),
            (18, Act::Release(2)),
        ];
        assert_eq!(acts, expected.map(|(at, act)| (at * SECOND, act)));
    }

    #[test]
    fn more_groups_than_pods_and_none_at_all_are_no_trouble() {
        assert_eq!(Script::staggered(&pods(2), 5, SECOND, SECOND).waves.len(), 2);
        assert_eq!(Script::staggered(&pods(3), 0, SECOND, SECOND).waves.len(), 1);
        assert!(Script::staggered(&[], 3, SECOND, SECOND).acts().is_empty());
    }
}
