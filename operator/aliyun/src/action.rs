//! The actions of the API that the client uses.

/// Version of the API.
pub const API_VERSION: &str = "2018-08-08";

/// An action of the API.
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
    /// Adds or overwrites tags.
    TagResources,
    /// Removes tags.
    UntagResources,
    /// Shows quotas and their use.
    ListUsage,
}

/// Names of all actions that the client uses: what a RAM policy has to allow, each as `eci:<name>`.
pub const ACTIONS: [&str; Action::ALL.len()] = {
    let mut names = [""; Action::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Action::ALL[at].name();
        at += 1;
    }
    names
};

impl Action {
    /// Every action, in the order of the variants.
    pub const ALL: [Self; 7] = [
        Self::CreateImageCache,
        Self::DescribeImageCaches,
        Self::UpdateImageCache,
        Self::DeleteImageCache,
        Self::TagResources,
        Self::UntagResources,
        Self::ListUsage,
    ];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateImageCache => "CreateImageCache",
            Self::DescribeImageCaches => "DescribeImageCaches",
            Self::UpdateImageCache => "UpdateImageCache",
            Self::DeleteImageCache => "DeleteImageCache",
            Self::TagResources => "TagResources",
            Self::UntagResources => "UntagResources",
            Self::ListUsage => "ListUsage",
        }
    }

    /// Whether it changes nothing, and so may be repeated at will.
    pub const fn is_read(self) -> bool {
        matches!(self, Self::DescribeImageCaches | Self::ListUsage)
    }

    /// Whether it makes something new, so that no code about a missing thing can be about its own object.
    pub const fn is_create(self) -> bool {
        matches!(self, Self::CreateImageCache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_stands_at_its_own_index() {
        for (index, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, index, "{action:?}");
            assert_eq!(ACTIONS[index], format!("{action:?}"));
        }
    }
}
