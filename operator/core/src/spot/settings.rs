//! The spot settings of a pod: a profile's block and the pod's own annotations, judged together.
//!
//! The block of a profile is a unit: a pod that carries any spot annotation of its own keeps its own values, and the
//! profile's block does not count at all. So a pod that only adds a price limit to a profile's strategy is no spot pod
//! any more, and nobody would say so: the vendor's component ignores what does nothing.

use std::collections::BTreeMap;

use eci_api::annotations::{self, Severity};
use eci_api::eci_profile::{Spot, SpotDeadline, SpotFallback, SpotRelease, SpotStrategy};

use super::price::Price;
use crate::profile::unit::{RELEASE, RELEASE_EVICT};

/// At which price.
pub const STRATEGY: &str = "k8s.aliyun.com/eci-spot-strategy";
/// The most to pay for an hour.
pub const PRICE_LIMIT: &str = "k8s.aliyun.com/eci-spot-price-limit";
/// Hours of protection.
pub const DURATION: &str = "k8s.aliyun.com/eci-spot-duration";
/// Whether a regular instance is taken when there is no spot stock.
pub const FALLBACK: &str = "k8s.aliyun.com/eci-spot-fallback";
/// Whether the vendor's virtual node evicts the pod at the notice.
pub const VENDOR_RELEASE: &str = "k8s.aliyun.com/eci-spot-release-strategy";

/// The value of [`RELEASE`] that forbids this operator to evict the pod.
const RELEASE_NONE: &str = "none";
/// How the vendor's spot annotations begin: what begins so and is not known is a typing error.
const FAMILY: &str = "k8s.aliyun.com/eci-spot";
/// Hours of protection when nothing is said (vendor's documentation).
const USUAL_PROTECTION: i32 = 1;
/// Longest foreign value in a finding, in characters.
const QUOTE: usize = 80;

/// Where the settings of a pod come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From its own annotations.
    Pod,
    /// From the profile.
    Profile,
    /// There are none: it is no spot pod.
    Nobody,
}

/// Who evicts the pod at the notice of a reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// This operator.
    Operator,
    /// The vendor's virtual node.
    Vendor,
    /// Nobody: it ends with its instance.
    Nobody,
}

/// What a spot pod gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At which price.
    pub strategy: SpotStrategy,
    /// The most to pay for an hour; there if and only if the strategy is SpotWithPriceLimit.
    pub price_limit: Option<Price>,
    /// Hours in which it is not taken back, 0 or 1.
    pub protection_hours: i32,
    /// Whether a regular instance is taken when there is no spot stock.
    pub fallback: bool,
    /// Who evicts it.
    pub release: Release,
}

/// Something that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// An annotation of the pod by itself, or beside another one.
    #[error(transparent)]
    Annotation(annotations::Finding),
    /// The annotation of this operator has a value that it does not know.
    #[error("annotation {RELEASE} must be {RELEASE_EVICT:?} or {RELEASE_NONE:?}, not {found:?}")]
    Release {
        /// The value, cut to 80 characters.
        found: String,
    },
    /// A field of the profile cannot work.
    #[error("{field} {problem}")]
    Field {
        /// Its path.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The profile's block does not count.
    #[error(
        "the pod carries {annotation}, so spec.spot of the profile does not count for it: give the pod all of its spot annotations, or none"
    )]
    ProfileSkipped {
        /// The first spot annotation of the pod.
        annotation: &'static str,
    },
    /// The profile would have made it a spot pod, and its own annotations do not.
    #[error(
        "the pod carries {annotation} but not {STRATEGY}, so it runs on a regular instance at the regular price"
    )]
    NoSpot {
        /// The first spot annotation of the pod.
        annotation: &'static str,
    },
    /// Two would evict the pod.
    #[error(
        "{VENDOR_RELEASE} and {RELEASE} together make the virtual node and the operator evict the same pod: keep one of them"
    )]
    TwoEvictors,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Annotation(finding) => finding.severity,
            Self::ProfileSkipped { .. } | Self::TwoEvictors => Severity::Warning,
            Self::Release { .. } | Self::Field { .. } | Self::NoSpot { .. } => Severity::Error,
        }
    }
}

/// A pod's settings and what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combined {
    /// Where they come from.
    pub source: Source,
    /// The settings; `None` for a pod that is no spot pod, or whose settings cannot work.
    pub settings: Option<Settings>,
    /// What is wrong, what is worst first.
    pub findings: Vec<Finding>,
}

/// Judges the spot block that profiles give a pod together with the pod's annotations. Any input is safe.
pub fn combine(profile: Option<&Spot>, pod: &BTreeMap<String, String>) -> Combined {
    let own = [STRATEGY, PRICE_LIMIT, DURATION, FALLBACK, VENDOR_RELEASE, RELEASE];
    let carried = own.into_iter().find(|name| pod.contains_key(*name));
    let mut findings = of_pod(pod);
    let source = match (carried, profile) {
        (Some(_), _) => Source::Pod,
        (None, Some(_)) => Source::Profile,
        (None, None) => Source::Nobody,
    };
    if let (Some(annotation), Some(_)) = (carried, profile) {
        findings.push(Finding::ProfileSkipped { annotation });
        if !pod.contains_key(STRATEGY) {
            findings.push(Finding::NoSpot { annotation });
        }
    }
    if let (Source::Profile, Some(spot)) = (source, profile) {
        findings.extend(of_profile(spot));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    let works = !findings.iter().any(|finding| finding.severity() == Severity::Error);
    let settings = match (source, profile) {
        (Source::Pod, _) => pod_settings(pod),
        (Source::Profile, Some(spot)) => Some(profile_settings(spot)),
        _ => None,
    };
    Combined { source, settings: settings.filter(|_| works), findings }
}

/// What is wrong with the spot block of a profile. The API server refuses all of it; a block may also come from where no
/// API server has looked: from a file, or from before a rule.
pub fn of_profile(spot: &Spot) -> Vec<Finding> {
    const LIMIT: &str = "spec.spot.priceLimit";
    let mut findings = Vec::new();
    let mut say = |field, problem| findings.push(Finding::Field { field, problem });
    match (spot.strategy, spot.price_limit.as_deref()) {
        (SpotStrategy::SpotWithPriceLimit, None) => say(LIMIT, "is needed by SpotWithPriceLimit"),
        (SpotStrategy::SpotAsPriceGo, Some(_)) => {
            say(LIMIT, "does nothing without spec.spot.strategy: SpotWithPriceLimit");
        }
        (SpotStrategy::SpotWithPriceLimit, Some(text)) if price_limit(text).is_none() => {
            say(LIMIT, "must be a price per hour above 0 with at most three decimals, such as \"0.5\"");
        }
        _ => {}
    }
    if spot.protection_hours.is_some_and(|hours| !(0..=1).contains(&hours)) {
        say("spec.spot.protectionHours", "must be 0 or 1");
    }
    if spot.on_deadline == Some(SpotDeadline::Delete) && spot.release != Some(SpotRelease::Evict) {
        say("spec.spot.onDeadline", "needs spec.spot.release: Evict");
    }
    findings
}

/// A price limit as the cloud takes it: above 0, at most three decimals.
pub fn price_limit(text: &str) -> Option<Price> {
    Price::parse(text).filter(|price| {
        price.micros() > 0 && text.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 3)
    })
}

fn of_pod(pod: &BTreeMap<String, String>) -> Vec<Finding> {
    let vendors: BTreeMap<String, String> = pod
        .iter()
        .filter(|(name, _)| name.starts_with(FAMILY))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut findings: Vec<_> = annotations::check(&vendors).into_iter().map(Finding::Annotation).collect();
    match pod.get(RELEASE).map(String::as_str) {
        Some(RELEASE_EVICT) if pod.contains_key(VENDOR_RELEASE) => findings.push(Finding::TwoEvictors),
        Some(RELEASE_EVICT | RELEASE_NONE) | None => {}
        Some(found) => findings.push(Finding::Release { found: found.chars().take(QUOTE).collect() }),
    }
    findings
}

fn pod_settings(pod: &BTreeMap<String, String>) -> Option<Settings> {
    let text = |name: &str| pod.get(name).map(String::as_str);
    let strategy = match text(STRATEGY)? {
        "SpotAsPriceGo" => SpotStrategy::SpotAsPriceGo,
        "SpotWithPriceLimit" => SpotStrategy::SpotWithPriceLimit,
        _ => return None,
    };
    let price_limit = text(PRICE_LIMIT)
        .filter(|_| strategy == SpotStrategy::SpotWithPriceLimit)
        .map(|text| price_limit(text).ok_or(()))
        .transpose()
        .ok()?;
    Some(Settings {
        strategy,
        price_limit,
        protection_hours: text(DURATION).and_then(|text| text.parse().ok()).unwrap_or(USUAL_PROTECTION),
        fallback: text(FALLBACK) == Some("true"),
        release: match (text(RELEASE), text(VENDOR_RELEASE)) {
            (Some(RELEASE_EVICT), _) => Release::Operator,
            (_, Some("api-evict")) => Release::Vendor,
            _ => Release::Nobody,
        },
    })
}

fn profile_settings(spot: &Spot) -> Settings {
    Settings {
        strategy: spot.strategy,
        price_limit: spot.price_limit.as_deref().and_then(price_limit),
        protection_hours: spot.protection_hours.unwrap_or(USUAL_PROTECTION),
        fallback: spot.fallback == Some(SpotFallback::PayAsYouGo),
        release: match spot.release {
            Some(SpotRelease::Evict) => Release::Operator,
            Some(SpotRelease::None) | None => Release::Nobody,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(strategy: SpotStrategy, limit: Option<&str>) -> Spot {
        Spot {
            strategy,
            price_limit: limit.map(str::to_owned),
            protection_hours: None,
            fallback: None,
            release: None,
            on_deadline: None,
            failed_pod_ttl: None,
        }
    }

    fn pod(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn said(combined: &Combined) -> Vec<String> {
        combined.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_profile_alone_gives_its_block() {
        let spot = Spot {
            protection_hours: Some(0),
            fallback: Some(SpotFallback::PayAsYouGo),
            release: Some(SpotRelease::Evict),
            ..block(SpotStrategy::SpotWithPriceLimit, Some("0.5"))
        };
        let combined = combine(Some(&spot), &pod(&[("k8s.aliyun.com/eci-ram-role-name", "r")]));
        let expected = Settings {
            strategy: SpotStrategy::SpotWithPriceLimit,
            price_limit: Price::parse("0.5"),
            protection_hours: 0,
            fallback: true,
            release: Release::Operator,
        };
        assert_eq!((combined.source, combined.settings), (Source::Profile, Some(expected)));
        assert!(combined.findings.is_empty());
        let nobody = combine(None, &pod(&[]));
        assert_eq!((nobody.source, nobody.settings, nobody.findings.len()), (Source::Nobody, None, 0));
    }

    #[test]
    fn a_pod_alone_gives_its_annotations_with_the_vendors_usual_values() {
        let combined = combine(None, &pod(&[(STRATEGY, "SpotAsPriceGo"), (VENDOR_RELEASE, "api-evict")]));
        let expected = Settings {
            strategy: SpotStrategy::SpotAsPriceGo,
            price_limit: None,
            protection_hours: 1,
            fallback: false,
            release: Release::Vendor,
        };
        assert_eq!((combined.source, combined.settings), (Source::Pod, Some(expected)));
        assert!(combined.findings.is_empty());
    }

    #[test]
    fn a_pod_with_a_whole_set_of_its_own_wins_and_the_profile_is_said_not_to_count() {
        let spot = block(SpotStrategy::SpotAsPriceGo, None);
        let own = pod(&[(STRATEGY, "SpotWithPriceLimit"), (PRICE_LIMIT, "0.25")]);
        let combined = combine(Some(&spot), &own);
        assert_eq!(combined.source, Source::Pod);
        assert_eq!(combined.settings.as_ref().and_then(|s| s.price_limit), Price::parse("0.25"));
        assert_eq!(
            said(&combined),
            [
                "the pod carries k8s.aliyun.com/eci-spot-strategy, so spec.spot of the profile does not count for it: give the pod all of its spot annotations, or none"
            ]
        );
    }

    #[test]
    fn a_pod_that_only_adds_to_a_profile_is_told_that_it_is_no_spot_pod() {
        let spot = block(SpotStrategy::SpotWithPriceLimit, Some("0.5"));
        for (name, value) in [
            (PRICE_LIMIT, "0.9"),
            (DURATION, "0"),
            (FALLBACK, "true"),
            (VENDOR_RELEASE, "api-evict"),
            (RELEASE, "evict"),
        ] {
            let combined = combine(Some(&spot), &pod(&[(name, value)]));
            assert_eq!((combined.source, &combined.settings), (Source::Pod, &None), "{name}");
            assert_eq!(
                said(&combined)[0],
                format!(
                    "the pod carries {name} but not k8s.aliyun.com/eci-spot-strategy, so it runs on a regular instance at the regular price"
                )
            );
        }
    }

    #[test]
    fn what_cannot_work_gives_no_settings_and_says_why() {
        for (own, words) in [
            (
                &[(STRATEGY, "SpotWithPriceLimit")][..],
                "eci-spot-strategy needs k8s.aliyun.com/eci-spot-price-limit",
            ),
            (&[(STRATEGY, "SpotWithPriceLimit"), (PRICE_LIMIT, "0.1234")], "at most three decimals"),
            (&[(STRATEGY, "SpotWithPriceLimit"), (PRICE_LIMIT, "0")], "above 0"),
            (&[(STRATEGY, "SpotWithPriceLimit"), (PRICE_LIMIT, "-1")], "above 0"),
            (&[(STRATEGY, "spot")], "must be one of SpotAsPriceGo, SpotWithPriceLimit"),
            (&[(STRATEGY, "SpotAsPriceGo"), (DURATION, "2")], "must be one of 0, 1"),
            (&[(STRATEGY, "SpotAsPriceGo"), (FALLBACK, "yes")], "\"true\" or \"false\""),
            (&[(STRATEGY, "SpotAsPriceGo"), (VENDOR_RELEASE, "evict")], "api-evict"),
            (
                &[(STRATEGY, "SpotAsPriceGo"), (RELEASE, "Evict")],
                "must be \"evict\" or \"none\", not \"Evict\"",
            ),
        ] {
            let combined = combine(None, &pod(own));
            assert_eq!(combined.settings, None, "{own:?}");
            assert!(said(&combined)[0].contains(words), "{:?}", said(&combined));
            assert_eq!(combined.findings[0].severity(), Severity::Error);
        }
    }

    #[test]
    fn what_works_but_not_as_it_was_meant_is_a_warning() {
        for (own, words) in [
            (
                &[(STRATEGY, "SpotAsPriceGo"), (PRICE_LIMIT, "0.5")][..],
                "needs k8s.aliyun.com/eci-spot-strategy: \"SpotWithPriceLimit\"",
            ),
            (
                &[(STRATEGY, "SpotAsPriceGo"), (VENDOR_RELEASE, "api-evict"), (RELEASE, "evict")],
                "keep one of them",
            ),
            (
                &[(STRATEGY, "SpotAsPriceGo"), ("k8s.aliyun.com/eci-spot-fallbck", "true")],
                "is k8s.aliyun.com/eci-spot-fallback meant?",
            ),
        ] {
            let combined = combine(None, &pod(own));
            let settings = combined.settings.as_ref().unwrap();
            assert_eq!((settings.strategy, settings.price_limit), (SpotStrategy::SpotAsPriceGo, None));
            assert!(said(&combined)[0].contains(words), "{:?}", said(&combined));
            assert_eq!(combined.findings[0].severity(), Severity::Warning);
        }
    }

    #[test]
    fn who_evicts_is_read_as_the_operator_and_the_vendor_read_it() {
        for (own, release) in [
            (&[][..], Release::Nobody),
            (&[(RELEASE, "none")], Release::Nobody),
            (&[(RELEASE, "evict")], Release::Operator),
            (&[(RELEASE, "none"), (VENDOR_RELEASE, "api-evict")], Release::Vendor),
            (&[(VENDOR_RELEASE, "api-evict")], Release::Vendor),
        ] {
            let own: Vec<_> = own.iter().copied().chain([(STRATEGY, "SpotAsPriceGo")]).collect();
            let combined = combine(None, &pod(&own));
            assert_eq!(combined.settings.map(|settings| settings.release), Some(release), "{own:?}");
            assert!(combined.findings.is_empty(), "{:?}", combined.findings);
        }
    }

    #[test]
    fn a_block_that_no_api_server_has_seen_is_checked_as_it_would() {
        let limited = |limit| block(SpotStrategy::SpotWithPriceLimit, limit);
        for (spot, field) in [
            (limited(None), "spec.spot.priceLimit"),
            (limited(Some("0.0001")), "spec.spot.priceLimit"),
            (limited(Some("0.000")), "spec.spot.priceLimit"),
            (block(SpotStrategy::SpotAsPriceGo, Some("1")), "spec.spot.priceLimit"),
            (Spot { protection_hours: Some(2), ..limited(Some("1")) }, "spec.spot.protectionHours"),
            (Spot { on_deadline: Some(SpotDeadline::Delete), ..limited(Some("1")) }, "spec.spot.onDeadline"),
        ] {
            let combined = combine(Some(&spot), &pod(&[]));
            assert_eq!(combined.settings, None);
            assert!(matches!(combined.findings[..], [Finding::Field { field: found, .. }] if found == field));
        }
    }

    proptest! {
        #[test]
        fn settings_are_whole_whatever_a_pod_carries(
            own in prop::collection::btree_map(
                prop::sample::select(vec![STRATEGY, PRICE_LIMIT, DURATION, FALLBACK, VENDOR_RELEASE, RELEASE]),
                prop_oneof![
                    prop::sample::select(vec!["SpotAsPriceGo", "SpotWithPriceLimit", "0.5", "0", "1", "true", "evict", "api-evict"])
                        .prop_map(str::to_owned),
                    any::<String>(),
                ],
                0..6,
            ),
            limit in prop::option::of("[0-9.]{1,6}"),
            limited in any::<bool>(),
        ) {
            let own: BTreeMap<String, String> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let strategy = if limited { SpotStrategy::SpotWithPriceLimit } else { SpotStrategy::SpotAsPriceGo };
            for profile in [None, Some(block(strategy, limit.as_deref()))] {
                let combined = combine(profile.as_ref(), &own);
                let has_error = combined.findings.iter().any(|finding| finding.severity() == Severity::Error);
                if let Some(settings) = combined.settings {
                    prop_assert!(!has_error);
                    let limited = settings.strategy == SpotStrategy::SpotWithPriceLimit;
                    prop_assert_eq!(settings.price_limit.is_some(), limited);
                    prop_assert!((0..=1).contains(&settings.protection_hours));
                } else {
                    prop_assert!(has_error || profile.is_none() && !own.contains_key(STRATEGY));
                }
            }
        }
    }
}
