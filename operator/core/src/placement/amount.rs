//! What a pod asks for, in numbers that can be added.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What pods ask for. Sums do not overflow: they stop at the greatest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Pods.
    pub pods: u64,
    /// CPU in thousandths of a core.
    pub cpu: u64,
    /// Memory in bytes.
    pub memory: u64,
}

impl Amount {
    /// What one pod asks for, as the scheduler counts it: of its containers together or of the greatest of those that run
    /// before them, whichever is more, with what runs beside and the overhead; what the pod asks for as a whole wins.
    pub fn of(spec: &PodSpec) -> Self {
        Self { pods: 1, cpu: requested(spec, "cpu", 3), memory: requested(spec, "memory", 0) }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            pods: self.pods.saturating_add(other.pods),
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }
}

fn requested(spec: &PodSpec, name: &str, digits: u32) -> u64 {
    let of_map = |map: Option<&BTreeMap<String, Quantity>>| {
        map.and_then(|map| map.get(name)).map(|q| parse(&q.0, digits))
    };
    let of = |resources: Option<&ResourceRequirements>| {
        // The API server fills in requests from limits when it creates a pod.
        resources.and_then(|r| of_map(r.requests.as_ref()).or_else(|| of_map(r.limits.as_ref())))
    };
    let overhead = of_map(spec.overhead.as_ref()).flatten().unwrap_or_default();
    if let Some(whole) = spec.resources.as_ref().and_then(|r| of_map(r.requests.as_ref())).flatten() {
        return whole.saturating_add(overhead);
    }
    let each = |container: &Container| of(container.resources.as_ref()).flatten().unwrap_or_default();
    let (mut beside, mut before) = (0_u64, 0_u64);
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            beside = beside.saturating_add(each(container));
            before = before.max(beside);
        } else {
            before = before.max(beside.saturating_add(each(container)));
        }
    }
    let together = spec.containers.iter().map(each).fold(beside, u64::saturating_add);
    together.max(before).saturating_add(overhead)
}

/// A quantity of Kubernetes in units of 10 to the minus `digits`, rounded up; `None` when it is not one or is negative.
pub fn parse(text: &str, digits: u32) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number = number.strip_prefix('+').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let both = format!("{whole}{fraction}");
    if both.is_empty() || both.len() > 30 || !both.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u128 = both.parse().ok()?;
    let (factor, ten) = scale(suffix)?;
    let exponent = ten + i32::try_from(digits).ok()? - i32::try_from(fraction.len()).ok()?;
    let value = value.saturating_mul(factor);
    let power = 10_u128.checked_pow(exponent.unsigned_abs());
    let scaled = if exponent >= 0 {
        power.map_or(if value == 0 { 0 } else { u128::MAX }, |power| value.saturating_mul(power))
    } else {
        power.map_or(u128::from(value > 0), |power| value.div_ceil(power))
    };
    Some(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// A factor and an exponent of ten.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    let of_two = |exponent: u32| Some((1_u128 << exponent, 0));
    let of_ten = |exponent: i32| Some((1, exponent));
    match suffix {
        "Ki" => of_two(10),
        "Mi" => of_two(20),
        "Gi" => of_two(30),
        "Ti" => of_two(40),
        "Pi" => of_two(50),
        "Ei" => of_two(60),
        "n" => of_ten(-9),
        "u" => of_ten(-6),
        "m" => of_ten(-3),
        "" => of_ten(0),
        "k" => of_ten(3),
        "M" => of_ten(6),
        "G" => of_ten(9),
        "T" => of_ten(12),
        "P" => of_ten(15),
        "E" => of_ten(18),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            of_ten(exponent.parse().ok().filter(|exponent| (-30..=30).contains(exponent))?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, digits, expected) in [
            ("1", 3, Some(1_000)),
            ("100m", 3, Some(100)),
            ("0.25", 3, Some(250)),
            ("1500m", 3, Some(1_500)),
            ("1n", 3, Some(1)),
            ("+2", 3, Some(2_000)),
            ("2k", 3, Some(2_000_000)),
            ("1e3", 0, Some(1_000)),
            ("1E", 0, Some(1_000_000_000_000_000_000)),
            ("1E2", 0, Some(100)),
            ("5e-1", 0, Some(1)),
            ("512Gi", 0, Some(512 << 30)),
            ("1.5Ki", 0, Some(1_536)),
            ("128974848", 0, Some(128_974_848)),
            ("129e6", 0, Some(129_000_000)),
            ("99Ei", 0, Some(u64::MAX)),
            ("0", 0, Some(0)),
            ("", 0, None),
            (".", 0, None),
            ("Gi", 0, None),
            ("-1", 0, None),
            ("1 Gi", 0, None),
            ("1e99", 0, None),
            ("1.2.3", 0, None),
        ] {
            assert_eq!(parse(text, digits), expected, "{text}");
        }
    }

    #[test]
    fn a_pod_asks_for_what_the_scheduler_counts() {
        let of = |spec: serde_json::Value| {
            let amount = Amount::of(&serde_json::from_value(spec).unwrap());
            assert_eq!(amount.pods, 1);
            (amount.cpu, amount.memory)
        };
        let container =
            |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Ki"}}});
        let side = |cpu: &str| json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        assert_eq!(of(json!({"containers": [container("1"), container("500m")]})), (1_500, 2_048));
        assert_eq!(of(json!({"containers": [{"name": "c"}]})), (0, 0));
        // What runs before counts when it is more, with what already runs beside it.
        assert_eq!(
            of(
                json!({"containers": [container("1")], "initContainers": [side("1"), container("3"), side("1")]})
            ),
            (4_000, 1_024)
        );
        assert_eq!(
            of(json!({"containers": [container("3")], "initContainers": [side("1"), container("1")]})).0,
            4_000
        );
        let limited = json!({"name": "c", "resources": {"limits": {"cpu": "2"}}});
        assert_eq!(of(json!({"containers": [limited], "overhead": {"cpu": "250m"}})).0, 2_250);
        let whole = json!({"requests": {"cpu": "8"}});
        assert_eq!(
            of(json!({"containers": [container("1")], "resources": whole, "overhead": {"cpu": "1"}})).0,
            9_000
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}", digits in 0_u32..4) {
            let _ = parse(&text, digits);
        }

        #[test]
        fn suffixes_mean_what_they_say(n in 0_u64..1_000_000) {
            prop_assert_eq!(parse(&format!("{n}m"), 3), Some(n));
            prop_assert_eq!(parse(&format!("{n}"), 3), Some(n * 1_000));
            prop_assert_eq!(parse(&format!("{n}Mi"), 0), Some(n << 20));
        }
    }
}
