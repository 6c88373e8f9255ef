//! What the RAM identity of the operator has to be allowed, made from the actions that it calls.

use serde_json::{Value, json};

use crate::action::Action;

/// What needs an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Image caches: their life.
    ImageCaches,
    /// Data caches: their life.
    DataCaches,
    /// The tags that say whose a cache is. A group of its own, since the vendor does not document on which
    /// resources these two actions are judged.
    Tags,
    /// What room the account has, asked before something is created. Without it creates go out all the same.
    Quota,
    /// The check of vSwitches that profiles name.
    Network,
    /// The check of price limits of profiles.
    Market,
}

impl Feature {
    /// Every feature, in the order of the policy.
    pub const ALL: [Self; 6] =
        [Self::ImageCaches, Self::DataCaches, Self::Tags, Self::Quota, Self::Network, Self::Market];

    /// The resources of its actions in a region, in all accounts: the policy belongs to one anyway.
    fn resource(self, region: &str) -> String {
        match self {
            Self::ImageCaches => format!("acs:eci:{region}:*:imagecache/*"),
            Self::DataCaches => format!("acs:eci:{region}:*:datacache/*"),
            Self::Tags | Self::Quota => format!("acs:eci:{region}:*:*"),
            Self::Network => format!("acs:vpc:{region}:*:vswitch/*"),
            Self::Market => format!("acs:ecs:{region}:*:*"),
        }
    }
}

impl Action {
    /// What the operator needs the action for; `None` when it does not call it.
    pub const fn feature(self) -> Option<Feature> {
        match self {
            Self::CreateImageCache
            | Self::DescribeImageCaches
            | Self::UpdateImageCache
            | Self::DeleteImageCache => Some(Feature::ImageCaches),
            Self::CreateDataCache
            | Self::DescribeDataCaches
            | Self::UpdateDataCache
            | Self::DeleteDataCache => Some(Feature::DataCaches),
            Self::TagResources | Self::UntagResources => Some(Feature::Tags),
            Self::ListUsage => Some(Feature::Quota),
            Self::DescribeVSwitches => Some(Feature::Network),
            Self::DescribeSpotPriceHistory | Self::DescribeSpotAdvice => Some(Feature::Market),
        }
    }
}

/// The policy document that allows what the operator does in `region` (all when absent), and nothing else.
///
/// The first cache of an account also needs somebody who may create the service-linked role of ECI. That is not the
/// operator's business, and so not in its policy.
pub fn policy(region: Option<&str>) -> Value {
    let region = region.unwrap_or("*");
    let statements: Vec<Value> = Feature::ALL
        .into_iter()
        .map(|feature| {
            let actions: Vec<String> = Action::ALL
                .into_iter()
                .filter(|action| action.feature() == Some(feature))
                .map(|action| format!("{}:{}", action.service().name(), action.name()))
                .collect();
            json!({ "Effect": "Allow", "Action": actions, "Resource": feature.resource(region) })
        })
        .collect();
    json!({ "Version": "1", "Statement": statements })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_that_is_called_is_allowed_once_and_no_other() {
        let policy = policy(Some("cn-hangzhou"));
        let mut allowed: Vec<&str> = Vec::new();
        for statement in policy["Statement"].as_array().unwrap() {
            let resource = statement["Resource"].as_str().unwrap();
            let of_service = |s: &str| resource.starts_with(&format!("acs:{s}:cn-hangzhou:*:"));
            assert!(["eci", "ecs", "vpc"].into_iter().any(of_service), "{resource}");
            allowed.extend(statement["Action"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()));
        }
        let called = Action::ALL.into_iter().filter(|action| action.feature().is_some());
        let mut called: Vec<String> =
            called.map(|action| format!("{}:{}", action.service().name(), action.name())).collect();
        called.sort();
        allowed.sort_unstable();
        assert_eq!(allowed, called);
        assert!(!allowed.iter().any(|action| action.contains('*')), "{allowed:?}");
    }
}
