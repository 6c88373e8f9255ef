//! Rules about the sizes of spot instances.

use eci_api::spot_sizes::{self, MIN_VCPU, SpotSize};

use super::pod::Facts;
use super::quote;
use crate::placement::amount::{Amount, parse};
use crate::spot::settings::STRATEGY;

/// Sizes and instance types in the order of preference.
const SPECS: &str = "k8s.aliyun.com/eci-use-specs";
const GIB: u64 = 1 << 30;

/// A size that a spot pod asks for by vCPU and memory.
struct Asked {
    /// As a person would name it.
    who: String,
    /// Thousandths of a vCPU.
    cpu: u64,
    /// Bytes.
    memory: u64,
}

/// The sizes that a spot pod asks for; none when it names instance types only, or says nothing of its size.
fn asked(of: Facts<'_>) -> Vec<Asked> {
    let strategy = of.annotations.get(STRATEGY).map(String::as_str);
    if !matches!(strategy, Some("SpotAsPriceGo" | "SpotWithPriceLimit")) {
        return Vec::new();
    }
    if let Some(specs) = of.annotations.get(SPECS) {
        let size = |item: &str| {
            let (cpu, memory) = item.split_once('-')?;
            let who = format!("annotation {SPECS} asks for {:?}", quote(item));
            Some(Asked { who, cpu: parse(cpu, 3)?, memory: parse(memory, 0)? })
        };
        return specs.split(',').filter_map(size).collect();
    }
    let Amount { cpu, memory, .. } = Amount::of(of.spec);
    if cpu == 0 && memory == 0 {
        return Vec::new();
    }
    let who = format!("the pod asks for {} vCPU and {} GiB", decimal(cpu, 1_000), decimal(memory, GIB));
    vec![Asked { who, cpu, memory }]
}

pub(super) fn size(of: Facts<'_>) -> Option<String> {
    let small = asked(of).into_iter().find(|asked| asked.cpu < u64::from(MIN_VCPU) * 1_000)?;
    let billed = told(spot_sizes::billed(small.cpu, small.memory));
    Some(format!(
        "{}, and spot instances by vCPU and memory begin at {MIN_VCPU} vCPU: it is {billed}",
        small.who
    ))
}

pub(super) fn rounding(of: Facts<'_>) -> Option<String> {
    let enough = asked(of).into_iter().filter(|asked| asked.cpu >= u64::from(MIN_VCPU) * 1_000);
    let differs = |asked: &Asked| {
        spot_sizes::billed(asked.cpu, asked.memory).is_none_or(|size| {
            u64::from(size.vcpu) * 1_000 != asked.cpu || u64::from(size.memory_gib) * GIB != asked.memory
        })
    };
    let odd = enough.into_iter().find(differs)?;
    Some(format!("{}, which is {}", odd.who, told(spot_sizes::billed(odd.cpu, odd.memory))))
}

fn told(billed: Option<SpotSize>) -> String {
    match billed {
        Some(size) => format!("billed as {} vCPU and {} GiB", size.vcpu, size.memory_gib),
        None => "more than the largest size".to_owned(),
    }
}

/// With two decimals at most.
fn decimal(amount: u64, unit: u64) -> String {
    let hundredths = u128::from(amount) * 100 / u128::from(unit.max(1));
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
