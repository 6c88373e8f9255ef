//! What people are told about the placement of a pod, as events.

/// Reasons of events about pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodReason {
    /// The pod may go to virtual nodes from now on.
    VirtualNodesAllowed,
    /// The pod asks for more than its profile allows on virtual nodes altogether: it can never go there.
    LimitTooSmall,
    /// What the pod waited for is there: its scheduling gate is gone.
    GateOpened,
    /// The image cache came too late: the pod starts without it.
    ImageCacheLate,
    /// A data cache is not Available after ten minutes: the pod goes on waiting for it.
    DataCacheLate,
    /// The pod was made without what a profile says that selects it.
    ProfileMissed,
}

impl PodReason {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::VirtualNodesAllowed,
        Self::LimitTooSmall,
        Self::GateOpened,
        Self::ImageCacheLate,
        Self::DataCacheLate,
        Self::ProfileMissed,
    ];

    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualNodesAllowed => "VirtualNodesAllowed",
            Self::LimitTooSmall => "LimitTooSmall",
            Self::GateOpened => "GateOpened",
            Self::ImageCacheLate => "ImageCacheLate",
            Self::DataCacheLate => "DataCacheLate",
            Self::ProfileMissed => "ProfileMissed",
        }
    }

    /// Whether it is a cause for concern.
    pub const fn is_warning(self) -> bool {
        matches!(self, Self::LimitTooSmall | Self::ImageCacheLate | Self::DataCacheLate | Self::ProfileMissed)
    }
}
