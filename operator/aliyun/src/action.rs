//! The actions of the API that the client uses.

/// A product of the vendor's: an API with an endpoint, a version and permissions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Elastic Container Instance.
    Eci,
    /// Elastic Compute Service, which knows the prices of spot instances.
    Ecs,
    /// Virtual Private Cloud, which knows the vSwitches.
    Vpc,
}

impl Service {
    /// Its short name: in hosts, and before the names of actions in a RAM policy (`eci:CreateImageCache`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eci => "eci",
            Self::Ecs => "ecs",
            Self::Vpc => "vpc",
        }
    }

    /// Version of its API.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Eci => "2018-08-08",
            Self::Ecs => "2014-05-26",
            Self::Vpc => "2016-04-28",
        }
    }
}

/// An action of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Starts the build of an image cache.
    CreateImageCache,
    /// Lists image caches, or shows one.
    DescribeImageCaches,
    /// Changes an image cache.
    UpdateImageCache,
    /// Deletes an image cache.
    DeleteImageCache,
    /// Starts the build of a data cache.
    CreateDataCache,
    /// Lists data caches, or shows some.
    DescribeDataCaches,
    /// Changes a data cache.
    UpdateDataCache,
    /// Deletes a data cache.
    DeleteDataCache,
    /// Adds or overwrites tags.
    TagResources,
    /// Removes tags.
    UntagResources,
    /// Shows quotas and their use.
    ListUsage,
    /// Shows what spot instances cost.
    DescribeSpotPriceHistory,
    /// Shows how often spot instances are taken back.
    DescribeSpotAdvice,
    /// Lists vSwitches.
    DescribeVSwitches,
}

/// Names of the actions of ECI; [`crate::ram`] says which of them the operator needs.
pub const ACTIONS: [&str; Action::OF_ECI.len()] = names(Action::OF_ECI);

/// Names of the actions that price advice uses: what a RAM policy of its users has to allow, each as `ecs:<name>`.
pub const SPOT_ACTIONS: [&str; Action::OF_ECS.len()] = names(Action::OF_ECS);

/// Names of the actions that the check of vSwitches uses, each `vpc:<name>` in a RAM policy.
pub const NETWORK_ACTIONS: [&str; Action::OF_VPC.len()] = names(Action::OF_VPC);

const fn names<const N: usize>(actions: [Action; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = actions[at].name();
        at += 1;
    }
    names
}

impl Action {
    /// Every action, in the order of the variants.
    pub const ALL: [Self; 14] = [
        Self::CreateImageCache,
        Self::DescribeImageCaches,
        Self::UpdateImageCache,
        Self::DeleteImageCache,
        Self::CreateDataCache,
        Self::DescribeDataCaches,
        Self::UpdateDataCache,
        Self::DeleteDataCache,
        Self::TagResources,
        Self::UntagResources,
        Self::ListUsage,
        Self::DescribeSpotPriceHistory,
        Self::DescribeSpotAdvice,
        Self::DescribeVSwitches,
    ];

    const OF_ECI: [Self; 11] = [
        Self::CreateImageCache,
        Self::DescribeImageCaches,
        Self::UpdateImageCache,
        Self::DeleteImageCache,
        Self::CreateDataCache,
        Self::DescribeDataCaches,
        Self::UpdateDataCache,
        Self::DeleteDataCache,
        Self::TagResources,
        Self::UntagResources,
        Self::ListUsage,
    ];

    const OF_ECS: [Self; 2] = [Self::DescribeSpotPriceHistory, Self::DescribeSpotAdvice];

    const OF_VPC: [Self; 1] = [Self::DescribeVSwitches];

    /// Whose action it is.
    pub const fn service(self) -> Service {
        match self {
            Self::DescribeSpotPriceHistory | Self::DescribeSpotAdvice => Service::Ecs,
            Self::DescribeVSwitches => Service::Vpc,
            _ => Service::Eci,
        }
    }

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateImageCache => "CreateImageCache",
            Self::DescribeImageCaches => "DescribeImageCaches",
            Self::UpdateImageCache => "UpdateImageCache",
            Self::DeleteImageCache => "DeleteImageCache",
            Self::CreateDataCache => "CreateDataCache",
            Self::DescribeDataCaches => "DescribeDataCaches",
            Self::UpdateDataCache => "UpdateDataCache",
            Self::DeleteDataCache => "DeleteDataCache",
            Self::TagResources => "TagResources",
            Self::UntagResources => "UntagResources",
            Self::ListUsage => "ListUsage",
            Self::DescribeSpotPriceHistory => "DescribeSpotPriceHistory",
            Self::DescribeSpotAdvice => "DescribeSpotAdvice",
            Self::DescribeVSwitches => "DescribeVSwitches",
        }
    }

    /// Whether it changes nothing, and so may be repeated at will.
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::DescribeImageCaches
                | Self::DescribeDataCaches
                | Self::ListUsage
                | Self::DescribeSpotPriceHistory
                | Self::DescribeSpotAdvice
                | Self::DescribeVSwitches
        )
    }

    /// Whether it makes something new, so that no code about a missing thing can be about its own object.
    pub const fn is_create(self) -> bool {
        matches!(self, Self::CreateImageCache | Self::CreateDataCache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_stands_at_its_own_index() {
        for (index, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, index, "{action:?}");
            assert_eq!(action.name(), format!("{action:?}"));
        }
    }

    #[test]
    fn every_action_is_in_the_table_of_its_service() {
        for action in Action::ALL {
            let table: &[&str] = match action.service() {
                Service::Eci => &ACTIONS,
                Service::Ecs => &SPOT_ACTIONS,
                Service::Vpc => &NETWORK_ACTIONS,
            };
            assert!(table.contains(&action.name()), "{action:?}");
        }
    }
}
