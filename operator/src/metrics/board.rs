//! Where objects stand, counted at the scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use eci_api::condition::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::kind::Key;
use crate::report::headline;

/// What stands for a reason that is none of ours: another program wrote the status.
const OTHER: &str = "Other";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct PlaceLabels {
    kind: &'static str,
    ready: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct WaitLabels {
    kind: &'static str,
    waits_for: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    ready: &'static str,
    reason: &'static str,
    waits_for: Option<&'static str>,
}

/// The objects of all kinds, with few words for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Arc<Mutex<BTreeMap<&'static str, BTreeMap<Key, Place>>>>);

impl Board {
    /// An object has these conditions.
    pub(super) fn stands(&self, kind: &'static str, key: &Key, conditions: &[Condition]) {
        let (line, _) = headline(conditions);
        let ready = match line.ready {
            "True" => "True",
            "False" => "False",
            _ => "Unknown",
        };
        let known = |word: &str| Reason::ALL.iter().map(|r| r.as_str()).find(|known| *known == word);
        let reason = if line.reason.is_empty() {
            Reason::Pending.as_str()
        } else {
            known(line.reason).unwrap_or(OTHER)
        };
        let mut all = self.lock();
        let places = all.entry(kind).or_default();
        let waits_for = places.get(key).and_then(|place| place.waits_for);
        places.insert(key.clone(), Place { ready, reason, waits_for });
    }

    /// What the next step of an object that is on the board waits for.
    pub(super) fn waits(&self, kind: &'static str, key: &Key, waits_for: Option<&'static str>) {
        if let Some(place) = self.lock().get_mut(kind).and_then(|places| places.get_mut(key)) {
            place.waits_for = waits_for;
        }
    }

    pub(super) fn forget(&self, kind: &'static str, key: &Key) {
        if let Some(places) = self.lock().get_mut(kind) {
            places.remove(key);
        }
    }

    pub(super) fn retain(&self, kind: &'static str, exists: impl Fn(&Key) -> bool) {
        if let Some(places) = self.lock().get_mut(kind) {
            places.retain(|key, _| exists(key));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, BTreeMap<Key, Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut places: BTreeMap<PlaceLabels, i64> = BTreeMap::new();
        let mut waits: BTreeMap<WaitLabels, i64> = BTreeMap::new();
        for (kind, objects) in self.lock().iter() {
            for place in objects.values() {
                let Place { ready, reason, waits_for } = *place;
                *places.entry(PlaceLabels { kind, ready, reason }).or_default() += 1;
                if let Some(waits_for) = waits_for {
                    *waits.entry(WaitLabels { kind, waits_for }).or_default() += 1;
                }
            }
        }
        gauges(
            &mut encoder,
            "objects",
            "Objects by kind, status of Ready, and reason; by the leader only",
            &places,
        )?;
        let help =
            "Objects whose next step waits: for a turn among the calls, a list, another pass, or a retry";
        gauges(&mut encoder, "objects_waiting", help, &waits)
    }
}

/// A family of gauges; nothing when it has no member.
pub(super) fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &BTreeMap<L, i64>,
) -> Result<(), std::fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
