//! What is told one by one, and what together.

use std::time::Duration;

use eci_core::eviction::remark::{
    CONCERNS_EVERY, Chorus, GATHER_CONCERNS, GATHER_SUCCESSES, GROUP_LIMIT, NAMED, Remark, SINGLY,
    SUCCESSES_EVERY, Said,
};
use eci_core::eviction::why::Why;
use eci_core::eviction::{BudgetRef, PodRef, Standing};
use eci_core::time::Mono;
use proptest::prelude::*;

use super::scene::wall;

fn remark(pod: &str, budget: Option<&str>, why: Why) -> Remark {
    let standing = Standing {
        pod: PodRef::new("shop", pod, pod),
        profile: None,
        why,
        message: String::new(),
        facts: "facts".to_owned(),
        budget: budget.map(|name| BudgetRef::new("shop", name)),
        deadline: wall(180_000),
        since: wall(0),
    };
    Remark::standing(&standing, wall(1_000))
}

fn at(time: Duration) -> Mono {
    Mono(time)
}

/// How many pods each thing said is about.
fn sizes(said: &[Said]) -> Vec<usize> {
    said.iter().map(|said| if let Said::Many { pods, .. } = said { *pods } else { 1 }).collect()
}

fn sentence(said: &Said) -> String {
    match said {
        Said::One(remark) => remark.sentence(),
        Said::Many { sentence, .. } => sentence.clone(),
    }
}

#[test]
fn a_few_are_told_one_by_one_and_more_together_with_the_names_of_some() {
    for (count, expected) in [(1, vec![1]), (SINGLY, vec![1; SINGLY]), (SINGLY + 1, vec![SINGLY + 1])] {
        let mut chorus = Chorus::default();
        for n in 0..count {
            let remark = remark(&format!("web-{n}"), Some("web"), Why::BudgetExhausted);
            assert_eq!(chorus.add(remark, at(Duration::ZERO)), None);
        }
        assert_eq!(chorus.due(at(GATHER_CONCERNS.mul_f64(0.99))), []);
        assert_eq!(chorus.wake(), Some(at(GATHER_CONCERNS)));
        assert_eq!(sizes(&chorus.due(at(GATHER_CONCERNS))), expected);
    }
    // What went well can wait for more, and is told together from two on.
    let mut chorus = Chorus::default();
    for n in 0..2 {
        assert_eq!(
            chorus.add(remark(&format!("web-{n}"), Some("web"), Why::Evicted), at(Duration::ZERO)),
            None
        );
    }
    assert_eq!(sizes(&chorus.due(at(GATHER_SUCCESSES))), [2]);
    let mut chorus = Chorus::default();
    for n in 0..28 {
        assert_eq!(
            chorus.add(remark(&format!("web-{n:02}"), Some("web"), Why::BudgetExhausted), at(Duration::ZERO)),
            None
        );
    }
    let said = chorus.due(at(GATHER_CONCERNS));
    let text = sentence(&said[0]);
    assert!(
        text.starts_with(
            "each of 28 pods cannot be evicted yet: its budget allows none until more pods are ready (facts); its instance is taken back at about"
        ) && text.ends_with(": web-00, web-01, web-02, web-03, web-04, web-05, web-06, web-07, web-08, web-09 and 18 more"),
        "{text}"
    );
    assert_eq!(NAMED, 10);
}

#[test]
fn reasons_budgets_and_namespaces_are_told_apart() {
    let mut chorus = Chorus::default();
    for n in 0..5 {
        for (budget, why) in [
            (Some("web"), Why::BudgetExhausted),
            (Some("db"), Why::BudgetExhausted),
            (Some("web"), Why::BudgetContended),
            (None, Why::NotPermitted),
        ] {
            assert_eq!(chorus.add(remark(&format!("p-{n}"), budget, why), at(Duration::ZERO)), None);
        }
    }
    assert_eq!(sizes(&chorus.due(at(GATHER_CONCERNS))), [5; 4]);
}

#[test]
fn what_follows_waits_for_more_and_after_a_pause_it_is_quick_again() {
    let mut chorus = Chorus::default();
    let mut now = Duration::ZERO;
    let add = |chorus: &mut Chorus, now, name: &str, why| {
        assert_eq!(chorus.add(remark(name, Some("web"), why), at(now)), None);
    };
    add(&mut chorus, now, "a", Why::Evicted);
    assert_eq!(chorus.due(at(GATHER_CONCERNS)), [], "nobody waits for good news");
    now += GATHER_SUCCESSES;
    assert_eq!(sizes(&chorus.due(at(now))), [1]);
    for name in ["b", "c", "d", "e"] {
        now += Duration::from_secs(5);
        add(&mut chorus, now, name, Why::Evicted);
        assert_eq!(chorus.due(at(now)), []);
    }
    assert_eq!(chorus.wake(), Some(at(GATHER_SUCCESSES + SUCCESSES_EVERY)));
    assert_eq!(sizes(&chorus.due(at(GATHER_SUCCESSES + SUCCESSES_EVERY))), [4]);
    now = GATHER_SUCCESSES + SUCCESSES_EVERY * 2;
    assert_eq!(chorus.due(at(now)), []);
    assert_eq!(chorus.wake(), None, "a group without remarks is forgotten");
    add(&mut chorus, now, "f", Why::Evicted);
    assert_eq!(sizes(&chorus.due(at(now + GATHER_SUCCESSES))), [1]);

    add(&mut chorus, now, "a", Why::BudgetExhausted);
    assert_eq!(sizes(&chorus.due(at(now + GATHER_CONCERNS))), [1]);
    add(&mut chorus, now + GATHER_CONCERNS, "b", Why::BudgetExhausted);
    assert_eq!(sizes(&chorus.due(at(now + GATHER_CONCERNS + CONCERNS_EVERY))), [1]);
}

#[test]
fn too_many_groups_are_told_at_once_and_a_process_that_ends_tells_the_rest() {
    let mut chorus = Chorus::default();
    for n in 0..GROUP_LIMIT {
        let remark = remark("a", Some(&format!("b-{n}")), Why::Evicted);
        assert_eq!(chorus.add(remark, at(Duration::ZERO)), None);
    }
    let beyond = remark("a", Some("beyond"), Why::Evicted);
    assert_eq!(chorus.add(beyond.clone(), at(Duration::ZERO)), Some(Said::One(beyond)));
    assert_eq!(chorus.add(remark("z", Some("b-0"), Why::Evicted), at(Duration::ZERO)), None);
    assert_eq!(sizes(&chorus.rest()).iter().sum::<usize>(), GROUP_LIMIT + 1);
    assert_eq!(chorus.wake(), None);
}

proptest! {
    /// Whatever comes when: every remark is told exactly once, and a sentence fits.
    #[test]
    fn nothing_is_lost_or_told_twice(
        remarks in prop::collection::vec((0_u64..40_000, 0_usize..3, any::<bool>(), 0_usize..200), 0..120),
    ) {
        let mut remarks = remarks;
        remarks.sort_unstable();
        let mut chorus = Chorus::default();
        let mut told = 0;
        let mut hear = |said: &[Said]| {
            for said in said {
                assert!(sentence(said).chars().count() <= 1_024);
            }
            told += sizes(said).iter().sum::<usize>();
        };
        for (ms, budget, good, length) in &remarks {
            let now = at(Duration::from_millis(*ms));
            hear(&chorus.due(now));
            let why = if *good { Why::Evicted } else { Why::BudgetExhausted };
            let budget = ["web", "db", ""][*budget];
            let budget = (!budget.is_empty()).then_some(budget);
            let alone = chorus.add(remark(&"p".repeat(length + 1), budget, why), now);
            hear(&alone.into_iter().collect::<Vec<_>>());
        }
        let mut turns = 0;
        while let Some(wake) = chorus.wake() {
            hear(&chorus.due(wake));
            turns += 1;
            prop_assert!(turns <= 4 * (remarks.len() + 1), "it does not come to rest");
        }
        prop_assert_eq!(told, remarks.len());
    }
}
