//! Which sizes spot instances by vCPU and memory come in, and what other sizes are billed as.
//!
//! Source: the vendor's spot guide. Sizes that are not in the table are rounded up by the service; the order of the
//! rounding is not documented, and taken here as the fewest vCPUs first, then the least memory.

/// Fewest vCPUs that a spot instance by vCPU and memory may ask for.
pub const MIN_VCPU: u32 = 2;

/// vCPUs, and the GiB of memory that go with them.
pub const TABLE: &[(u32, &[u32])] = &[
    (2, &[2, 4, 8, 16]),
    (4, &[4, 8, 16, 32]),
    (8, &[8, 16, 32, 64]),
    (12, &[12, 24, 48, 96]),
    (16, &[16, 32, 64, 128]),
    (24, &[24, 48, 96, 192]),
    (32, &[32, 64, 128, 256]),
    (52, &[96, 192, 384]),
    (64, &[128, 256, 512]),
];

const GIB: u64 = 1 << 30;

/// A size that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpotSize {
    /// vCPUs.
    pub vcpu: u32,
    /// Memory in GiB.
    pub memory_gib: u32,
}

/// The size that a pod is billed as: the first in the table that holds `cpu` (in thousandths of a vCPU) and `memory`
/// (in bytes). `None` when none does: such a pod needs an instance type.
pub fn billed(cpu: u64, memory: u64) -> Option<SpotSize> {
    TABLE.iter().filter(|(vcpu, _)| u64::from(*vcpu) * 1_000 >= cpu).find_map(|(vcpu, memories)| {
        let memory_gib = *memories.iter().find(|gib| u64::from(**gib) * GIB >= memory)?;
        Some(SpotSize { vcpu: *vcpu, memory_gib })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(cpu: u64, memory: u64) -> Option<(u32, u32)> {
        billed(cpu, memory).map(|size| (size.vcpu, size.memory_gib))
    }

    #[test]
    fn every_documented_pair_is_billed_as_itself() {
        let documented = [
            (2, vec![2, 4, 8, 16]),
            (4, vec![4, 8, 16, 32]),
            (8, vec![8, 16, 32, 64]),
            (12, vec![12, 24, 48, 96]),
            (16, vec![16, 32, 64, 128]),
            (24, vec![24, 48, 96, 192]),
            (32, vec![32, 64, 128, 256]),
            (52, vec![96, 192, 384]),
            (64, vec![128, 256, 512]),
        ];
        for (vcpu, memories) in documented {
            for gib in memories {
                assert_eq!(pair(u64::from(vcpu) * 1_000, u64::from(gib) * GIB), Some((vcpu, gib)));
            }
        }
        assert_eq!(TABLE.iter().map(|(_, memories)| memories.len()).sum::<usize>(), 34);
    }

    #[test]
    fn other_sizes_are_rounded_up() {
        assert_eq!(pair(250, GIB / 2), Some((2, 2)), "the smallest");
        assert_eq!(pair(2_001, 2 * GIB), Some((4, 4)), "one thousandth of a vCPU more");
        assert_eq!(pair(2_000, 2 * GIB + 1), Some((2, 4)), "one byte more");
        assert_eq!(pair(2_000, 20 * GIB), Some((4, 32)), "more memory than two vCPUs come with");
        assert_eq!(pair(33_000, 64 * GIB), Some((52, 96)), "the gap between 32 and 52");
        assert_eq!(pair(1_000, 400 * GIB), Some((64, 512)), "memory alone");
    }

    #[test]
    fn what_no_size_holds_has_none() {
        assert_eq!(pair(64_001, GIB), None);
        assert_eq!(pair(1_000, 512 * GIB + 1), None);
        assert_eq!(pair(u64::MAX, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn a_billed_size_holds_what_was_asked_and_is_billed_as_itself(cpu in 0..64_000_u64, memory in 0..512 * GIB) {
            let size = billed(cpu, memory).unwrap();
            let (vcpu, gib) = (u64::from(size.vcpu), u64::from(size.memory_gib));
            prop_assert!(vcpu * 1_000 >= cpu && gib * GIB >= memory);
            prop_assert_eq!(billed(vcpu * 1_000, gib * GIB), Some(size));
        }
    }
}
