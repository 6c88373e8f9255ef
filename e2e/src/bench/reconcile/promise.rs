//! What must be true of the figures, on any machine.

use std::collections::BTreeMap;

use eci_core::cloud::PAGE_SIZE;

use super::{Report, Size};
use crate::bench::measure::{Phase, writes};

/// Most lists of a kind that begin in a minute at rest: the default interval is 30 s, moved by a tenth at most.
const LISTS: u64 = 3;
/// What a list reads in addition to full pages: a page that is empty, or objects that shift while pages are read.
const EXTRA_PAGES: u64 = 1;
/// Most memory of the operator as it is shipped, KiB.
const MEMORY: u64 = 64 * 1_024;
/// For so many objects at most.
const MEMORY_FOR: Size = Size { images: 1_000, data: 200 };

/// The phases in which nothing had to be done, and what there was.
pub(super) fn at_rest(report: &Report) -> impl Iterator<Item = (&Phase, Size)> {
    let rests = report.rests.iter();
    rests.filter_map(|(name, size)| Some((report.phases.iter().find(|phase| phase.name == *name)?, *size)))
}

/// Pages of a list.
pub(super) fn pages(caches: usize) -> u64 {
    u64::try_from(caches.div_ceil(PAGE_SIZE)).unwrap_or(u64::MAX).max(1)
}

/// What is not.
pub(super) fn broken(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    for (kind, creates, all, replaced) in [
        ("ImageCache", &report.creates.images, report.size.images, report.replaced.images),
        ("DataCache", &report.creates.data, report.size.data, report.replaced.data),
    ] {
        let mut expected = BTreeMap::from([(1, all - replaced), (2, replaced)]);
        expected.retain(|_, objects| *objects > 0);
        if *creates != expected {
            broken.push(format!(
                "{kind}: the cloud made as many caches for as many objects: {creates:?}, and not {expected:?}"
            ));
        }
    }
    for (phase, size) in at_rest(report) {
        for (action, count) in &phase.cloud_calls {
            let pages = match action.as_str() {
                "DescribeImageCaches" => pages(size.images),
                "DescribeDataCaches" => pages(size.data),
                _ => {
                    broken.push(format!("{}: {count} {action}", phase.name));
                    continue;
                }
            };
            let most = LISTS * (pages + EXTRA_PAGES);
            if *count > most {
                broken.push(format!("{}: {count} {action}, more than {most}: not only pages", phase.name));
            }
        }
        let count = writes(&phase.kubernetes_writes);
        if count > 0 {
            broken.push(format!("{}: {count} Kubernetes writes: {:?}", phase.name, phase.kubernetes_writes));
        }
    }
    let peak = report.phases.iter().map(|phase| phase.peak_rss_kib).max().unwrap_or_default();
    let size = report.size;
    let promised = size.images <= MEMORY_FOR.images && size.data <= MEMORY_FOR.data;
    if report.release_build && promised && peak > MEMORY {
        broken.push(format!("the operator needed {} MiB", peak / 1_024));
    }
    if !report.forbidden.is_empty() {
        broken.push(format!("the API server refused with 403: {:?}", report.forbidden));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::Creates;
    use super::*;
    use crate::bench::measure::Counts;

    fn counts(of: &[(&str, u64)]) -> Counts {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn report(calls: &[(&str, u64)], written: &[(&str, u64)]) -> Report {
        let phase = |name: &str, calls: &[(&str, u64)], writes: &[(&str, u64)]| Phase {
            name: name.to_owned(),
            seconds: 60.0,
            cloud_calls: counts(calls),
            kubernetes_writes: counts(writes),
            rss_kib: 0,
            peak_rss_kib: MEMORY,
        };
        let work = [("CreateImageCache", 1_000), ("ListUsage", 9)];
        Report {
            size: Size { images: 1_000, data: 200 },
            replaced: Size { images: 100, data: 20 },
            cloud_writes_per_second: 2,
            release_build: true,
            phases: vec![
                phase("apply 1000+200", &work, &[("imagecaches/status patch", 4)]),
                phase("rest 1000+200", calls, written),
            ],
            rests: vec![("rest 1000+200".to_owned(), Size { images: 1_000, data: 200 })],
            creates: Creates {
                images: BTreeMap::from([(1, 900), (2, 100)]),
                data: BTreeMap::from([(1, 180), (2, 20)]),
            },
            forbidden: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// What is wrong with it, and it is one thing.
    fn one(report: &Report) -> String {
        let found = broken(report);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    #[test]
    fn work_may_write_and_rest_may_only_read_pages_and_hold_the_lease() {
        let lease = [("leases patch", 30)];
        let lists = [("DescribeImageCaches", 3 * 51), ("DescribeDataCaches", 3 * 11)];
        assert_eq!(broken(&report(&lists, &lease)), Vec::<String>::new());
        let found = one(&report(&lists, &[("leases patch", 30), ("datacaches/status patch", 1)]));
        assert!(found.starts_with("rest 1000+200: 1 Kubernetes writes"), "{found}");
        let found = one(&report(&[("DescribeDataCaches", 200)], &lease));
        assert!(found.contains("200 DescribeDataCaches, more than 33"), "{found}");
        let found = one(&report(&[("ListUsage", 1)], &lease));
        assert!(found.contains("1 ListUsage"), "{found}");
    }

    #[test]
    fn only_what_was_replaced_may_be_made_twice() {
        let mut report = report(&[], &[]);
        report.creates.data = BTreeMap::from([(1, 179), (2, 21)]);
        assert!(one(&report).starts_with("DataCache"), "{:?}", broken(&report));
        report.creates.data = BTreeMap::from([(1, 180)]);
        assert!(one(&report).starts_with("DataCache"), "one object has no cache: {:?}", broken(&report));
    }

    #[test]
    fn a_forbidden_request_and_more_memory_than_promised_break_it() {
        let mut report = report(&[], &[]);
        report.forbidden.push("\"list\" /api/v1/secrets".to_owned());
        assert!(one(&report).contains("secrets"));
        report.forbidden.clear();
        report.phases[1].peak_rss_kib = MEMORY + 1_024;
        assert!(one(&report).contains("needed 65 MiB"));
        report.size.images = 5_000;
        report.creates.images = BTreeMap::from([(1, 4_900), (2, 100)]);
        assert_eq!(broken(&report), Vec::<String>::new(), "nothing is promised of so many");
    }
}
