use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

use super::build::{self, Program, Recipe};
use super::error::Error;

/// A program of the test bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kubectl,
    Kwok,
    Helm,
}

impl Tool {
    /// Every tool, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Kwok,
        Self::Helm,
    ];

    /// The file name of the binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Helm => "helm",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const WITHOUT_GO: &str = "install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a directory with etcd, \
     kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok and helm";

/// A Go module of `e2e/testbed`.
struct Module {
    /// Its directory.
    name: &'static str,
    /// What is told to the linker beside `-s -w`, as the projects' own releases do. Without it kubectl and helm can't
    /// parse the server's version, and helm renders for Kubernetes 1.20 when it is not connected.
    stamp: &'static str,
    /// What is built from it.
    tools: &'static [(Tool, Program)],
}

/// A tool, its Go package, and what `go build` calls the result.
const fn built(tool: Tool, package: &'static str, built_as: &'static str) -> (Tool, Program) {
    (tool, Program { file: tool.name(), package, built_as })
}

/// Small before large, so that a broken environment shows soon.
const MODULES: [Module; 4] = [
    Module { name: "etcd", stamp: "", tools: &[built(Tool::Etcd, "go.etcd.io/etcd/server/v3", "server")] },
    Module { name: "kwok", stamp: "", tools: &[built(Tool::Kwok, "sigs.k8s.io/kwok/cmd/kwok", "kwok")] },
    Module {
        name: "helm",
        stamp: "-X helm.sh/helm/v3/internal/version.version=v3.22.0 \
                -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 \
                -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37 \
                -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 \
                -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
        tools: &[built(Tool::Helm, "helm.sh/helm/v3/cmd/helm", "helm")],
    },
    Module {
        name: "kubernetes",
        stamp: "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
                -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
        tools: &[
            built(Tool::KubeApiserver, "k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            built(
                Tool::KubeControllerManager,
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "kube-controller-manager",
            ),
            built(Tool::KubeScheduler, "k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            built(Tool::Kubectl, "k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
    },
];

/// Where every tool is.
#[derive(Clone, Debug)]
pub struct Binaries(BTreeMap<Tool, PathBuf>);

impl Binaries {
    /// Finds or builds every tool, once per process. What `$KUBEBUILDER_ASSETS` has is taken from there; the rest
    /// is built with Go from the versions pinned in `e2e/testbed` into [`cache_dir`], which takes about ten minutes
    /// on two cores the first time and nothing afterwards. Progress goes to stderr.
    pub async fn ensure() -> Result<&'static Self, Error> {
        static FOUND: OnceCell<Binaries> = OnceCell::const_new();
        FOUND.get_or_try_init(Self::find_or_build).await
    }

    async fn find_or_build() -> Result<Self, Error> {
        let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let mut found = BTreeMap::new();
        for module in &MODULES {
            let mut missing = Vec::new();
            for (tool, program) in module.tools {
                match assets.as_ref().map(|dir| dir.join(tool.name())).filter(|path| path.is_file()) {
                    Some(path) => {
                        found.insert(*tool, path);
                    }
                    None => missing.push((*tool, program)),
                }
            }
            if !missing.is_empty() {
                let dir = build::ensure(&Recipe {
                    name: module.name,
                    source: Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed").join(module.name),
                    own_code: Vec::new(),
                    stamp: module.stamp,
                    programs: missing.iter().map(|(_, program)| *program).collect(),
                    without_go: WITHOUT_GO,
                })
                .await?;
                found.extend(missing.iter().map(|(tool, program)| (*tool, dir.join(program.file))));
            }
        }
        Ok(Self(found))
    }

    /// Where a tool is.
    pub fn path(&self, tool: Tool) -> &Path {
        self.0.get(&tool).map_or(Path::new(tool.name()), PathBuf::as_path)
    }
}

/// Where the test bed keeps what outlives a run: `$ECI_TESTBED_CACHE`, else `eci-operator/testbed` in
/// `$XDG_CACHE_HOME` or `~/.cache`.
pub fn cache_dir() -> Result<PathBuf, Error> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ECI_TESTBED_CACHE")
        .or_else(|| {
            let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
            Some(caches.join("eci-operator").join("testbed"))
        })
        .ok_or(Error::NoCacheDir)
}
