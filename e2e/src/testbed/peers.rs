use std::path::{Path, PathBuf};

use super::build::{self, Program, Recipe};
use super::error::Error;

/// A driver of `e2e/peers`, whose README says how it is called and what it prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The library behind `kubectl drain`, as aws-node-termination-handler uses it.
    Drain,
    /// Karpenter's terminator and eviction queue.
    Karpenter,
}

impl Peer {
    /// Every peer.
    pub const ALL: [Self; 2] = [Self::Drain, Self::Karpenter];

    /// The name of its directory and of its binary, and what it calls itself in its result.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Karpenter => "karpenter",
        }
    }

    /// The binary. It is built with Go into [`super::cache_dir`] when the pinned versions, the compiler or the driver's
    /// code have changed since the last time, which takes minutes; progress goes to stderr.
    pub async fn ensure(self) -> Result<PathBuf, Error> {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let source = peers.join(self.name());
        let program = Program { file: self.name(), package: ".", built_as: self.name() };
        let dir = build::ensure(&Recipe {
            name: match self {
                Self::Drain => "peer-drain",
                Self::Karpenter => "peer-karpenter",
            },
            own_code: vec![source.clone(), peers.join("driver")],
            source,
            stamp: "",
            programs: vec![&program],
            without_go: "the peers are built from source: install Go 1.26.5 or newer",
        })
        .await?;
        Ok(dir.join(program.file))
    }
}
