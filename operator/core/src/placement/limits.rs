//! The most that the pods of a profile may take on virtual nodes.

use eci_api::eci_profile::PlacementLimits;

use super::amount::{Amount, parse};

/// The most, each `None` when it is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Pods.
    pub pods: Option<u64>,
    /// CPU in thousandths of a core.
    pub cpu: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

impl Limits {
    /// Of a spec. A number that cannot be read, which the API server does not take, limits to nothing: pods then stay on
    /// regular nodes instead of costing without end.
    pub fn of(spec: &PlacementLimits) -> Self {
        let quantity =
            |text: &Option<String>, digits| text.as_ref().map(|text| parse(text, digits).unwrap_or(0));
        Self {
            pods: spec.pods.map(|pods| u64::try_from(pods).unwrap_or(0)),
            cpu: quantity(&spec.cpu, 3),
            memory: quantity(&spec.memory, 0),
        }
    }

    /// Whether so much may be on virtual nodes.
    pub fn allow(&self, amount: Amount) -> bool {
        let within = |limit: Option<u64>, taken: u64| limit.is_none_or(|limit| taken <= limit);
        within(self.pods, amount.pods) && within(self.cpu, amount.cpu) && within(self.memory, amount.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_limits_by_itself() {
        let limits = |pods, cpu: Option<&str>, memory: Option<&str>| {
            Limits::of(&PlacementLimits {
                pods,
                cpu: cpu.map(str::to_owned),
                memory: memory.map(str::to_owned),
            })
        };
        let amount = Amount { pods: 2, cpu: 1_500, memory: 1 << 30 };
        for (limits, allowed) in [
            (limits(None, None, None), true),
            (limits(Some(2), Some("1500m"), Some("1Gi")), true),
            (limits(Some(1), None, None), false),
            (limits(None, Some("1499m"), None), false),
            (limits(None, None, Some("1073741823")), false),
            (limits(Some(-1), None, None), false),
            (limits(None, Some("much"), None), false),
        ] {
            assert_eq!(limits.allow(amount), allowed, "{limits:?}");
        }
    }
}
