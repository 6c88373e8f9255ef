//! The charts: what they render, what their values may be, and what the operator may then do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use eci_e2e::testbed::{ControlPlane, StartOptions};
use serde_json::Value;
use tokio::sync::OnceCell;

/// The namespace of the release, with the strictest Pod Security level.
const NAMESPACE: &str = "eci-system";
/// What the chart is rendered for.
const KUBERNETES: &str = "v1.36.3";
/// The least that an installation sets.
const DEFAULTS: [&str; 2] = ["--set", "region=cn-hangzhou"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chart(name: &str) -> String {
    repository().join("charts").join(name).to_string_lossy().into_owned()
}

fn values(name: &str) -> [String; 2] {
    ["--values".to_owned(), format!("{}/ci/{name}-values.yaml", chart("eci-operator"))]
}

/// One control plane for all tests of this binary, with the namespaces that the charts' test values name.
async fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_try_init(|| async {
            let plane = ControlPlane::start(StartOptions::api_only()).await?;
            for namespace in [NAMESPACE, "team-a", "team-b"] {
                plane.kubectl(["create", "namespace", namespace]).await?.ok()?;
            }
            let levels =
                ["enforce", "warn", "audit"].map(|l| format!("pod-security.kubernetes.io/{l}=restricted"));
            let label = ["label", "namespace", NAMESPACE].map(str::to_owned);
            plane.kubectl(label.into_iter().chain(levels)).await?.ok()?;
            Ok(plane)
        })
        .await
}

/// Renders the operator's chart.
async fn render<A: AsRef<str>>(plane: &ControlPlane, args: &[A]) -> Result<String> {
    let fixed =
        ["template", "eci-operator", &chart("eci-operator"), "-n", NAMESPACE, "--kube-version", KUBERNETES]
            .map(str::to_owned);
    let args = args.iter().map(|arg| arg.as_ref().to_owned());
    Ok(plane.helm(fixed.into_iter().chain(args)).await?.ok()?)
}

/// The API server takes every object of a rendered chart, and has nothing to warn of.
async fn taken_by_the_server(plane: &ControlPlane, manifests: &str) -> Result<()> {
    let args = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let output = plane.kubectl_stdin(args, manifests).await?;
    ensure!(!output.stderr.contains("Warning"), "{}", output.stderr);
    output.ok()?;
    Ok(())
}

#[tokio::test]
async fn the_charts_pass_strict_lint() -> Result<()> {
    let plane = plane().await?;
    let lint = |chart: String| ["lint".to_owned(), "--strict".to_owned(), chart];
    plane.helm(lint(chart("eci-operator-crds"))).await?.ok()?;
    for values in [DEFAULTS.map(str::to_owned), values("everything"), values("namespaced")] {
        plane.helm(lint(chart("eci-operator")).into_iter().chain(values)).await?.ok()?;
    }
    Ok(())
}

#[tokio::test]
async fn the_defaults_render_as_reviewed_and_the_server_takes_them() -> Result<()> {
    let plane = plane().await?;
    let manifests = render(plane, &DEFAULTS).await?;
    taken_by_the_server(plane, &manifests).await?;
    insta::assert_snapshot!("defaults", manifests);
    Ok(())
}

#[tokio::test]
async fn everything_on_renders_as_reviewed_and_the_server_takes_it() -> Result<()> {
    let plane = plane().await?;
    let manifests = render(plane, &values("everything")).await?;
    taken_by_the_server(plane, &manifests).await?;
    insta::assert_snapshot!("everything", manifests);
    Ok(())
}

#[tokio::test]
async fn named_namespaces_render_roles_and_nothing_for_the_whole_cluster() -> Result<()> {
    let plane = plane().await?;
    let manifests = render(plane, &values("namespaced")).await?;
    taken_by_the_server(plane, &manifests).await?;
    assert!(!manifests.contains("kind: ClusterRole"), "{manifests}");
    insta::assert_snapshot!("namespaced", manifests);
    Ok(())
}

#[tokio::test]
async fn only_who_chooses_the_nodes_role_may_reach_the_metadata_service() -> Result<()> {
    let plane = plane().await?;
    for (source, reaches) in [("auto", false), ("oidc", false), ("ecs", true)] {
        let set = format!("credentials.source={source}");
        let manifests = render(plane, &[&DEFAULTS[..], &["--set", &set]].concat()).await?;
        assert_eq!(manifests.contains("cidr: 100.100.100.200/32"), reaches, "{source}");
        assert!(manifests.contains(&format!("- --credentials={source}\n")), "{manifests}");
        taken_by_the_server(plane, &manifests).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dry_run_may_write_nothing() -> Result<()> {
    let plane = plane().await?;
    for values in [DEFAULTS.map(str::to_owned), values("namespaced")] {
        let args: Vec<String> = values.into_iter().chain(["--set".into(), "dryRun=true".into()]).collect();
        let manifests = render(plane, &args).await?;
        taken_by_the_server(plane, &manifests).await?;
        assert!(manifests.contains("- --dry-run\n"), "{manifests}");
        let verbs: Vec<&str> = manifests.lines().filter_map(|l| l.trim().strip_prefix("verbs: ")).collect();
        let reads = |verbs: &&str| ["[get]", "[list]", "[list, watch]", "[get, list, watch]"].contains(verbs);
        assert!(!verbs.is_empty() && verbs.iter().all(reads), "{verbs:?}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_values_are_refused_by_name() -> Result<()> {
    let plane = plane().await?;
    let table: &[(&str, &str)] = &[
        ("replicaCount=-1", "replicaCount"),
        ("leaderElection.enabled=maybe", "enabled"),
        ("podDisruptionBudget.maxUnavailable=one", "maxUnavailable"),
        ("replicas=1", "replicas"),
        ("image.repository=", "repository"),
        ("image.digest=sha256:1234", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("region=Hangzhou", "region"),
        ("clusterID=a b", "clusterID"),
        ("endpoint=https://eci.example.com/path", "endpoint"),
        ("controllers={dns}", "controllers"),
        ("dryRun=maybe", "dryRun"),
        ("cloudWritesPerSecond=0", "cloudWritesPerSecond"),
        ("namespaces={Team_A}", "namespaces"),
        ("network.vSwitchIDs={subnet-1}", "vSwitchIDs"),
        ("network.vSwitchIds={vsw-1}", "vSwitchIds"),
        ("network.securityGroupID=default", "securityGroupID"),
        ("credentials.existingSecret=A_B", "existingSecret"),
        ("credentials.accessKeySecret=x", "accessKeySecret"),
        ("credentials.source=rrsa", "source"),
        ("credentials.rrsa.roleARN=eci-operator", "roleARN"),
        ("logging.level=loud", "level"),
        ("logging.format=xml", "format"),
        ("timing.resolveWindow=5", "resolveWindow"),
        ("timing.requestTimeout=1 minute", "requestTimeout"),
        ("eviction.perSecond=0", "perSecond"),
        ("eviction.noticeLength=3", "noticeLength"),
        ("eviction.deletePod=true", "deletePod"),
        ("virtualNodeLabels.type=1", "virtualNodeLabels"),
        ("webhook.port=443", "port"),
        ("webhook.url=http://127.0.0.1:9443", "url"),
        ("webhook.url=https://127.0.0.1:9443/pods", "url"),
        ("webhook.caLifetime=1y", "caLifetime"),
        ("webhook.rules.host-path=refuse", "host-path"),
        ("metrics.port=80", "port"),
        ("metrics.service.enabled=maybe", "enabled"),
        ("privilegedFields.policy=maybe", "policy"),
        ("networkPolicy.egressPorts={https}", "egressPorts"),
        ("podLabels.example=1", "podLabels"),
        ("extraEnv[0].value=x", "extraEnv"),
    ];
    for (values, name) in [
        ("credentials.source=ecs,credentials.existingSecret=key", "credentials.source is ecs"),
        ("credentials.source=file", "set credentials.existingSecret"),
        ("credentials.source=oidc,credentials.rrsa.roleARN=acs:ram::1:role/a", "oidcProviderARN"),
    ] {
        let Err(error) = render(plane, &[&DEFAULTS[..], &["--set", values]].concat()).await else {
            panic!("{values} was accepted");
        };
        assert!(error.to_string().contains(name), "{values}: {error}");
    }
    for (value, name) in table {
        let Err(error) = render(plane, &[&DEFAULTS[..], &["--set", value]].concat()).await else {
            panic!("{value} was accepted");
        };
        let message = error.to_string();
        assert!(message.contains("values don't meet the specifications of the schema"), "{value}: {message}");
        assert!(message.contains(name), "{value}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn an_installation_without_a_region_or_an_election_or_on_an_unsupported_cluster_says_why() -> Result<()>
{
    let plane = plane().await?;
    let message = |result: Result<String>| result.err().map(|error| error.to_string()).unwrap_or_default();
    let no_region = message(render::<&str>(plane, &[]).await);
    assert!(no_region.contains("region is not set: add --set region="), "{no_region}");
    render(plane, &["--set", "extraEnv[0].name=ECI_REGION,extraEnv[0].value=cn-hangzhou"]).await?;

    let alone = ["--set", "leaderElection.enabled=false"];
    let two = message(render(plane, &[&DEFAULTS[..], &alone, &["--set", "replicaCount=2"]].concat()).await);
    assert!(two.contains("replicaCount is 2 and leaderElection.enabled is false"), "{two}");
    let two = render(plane, &[&DEFAULTS[..], &["--set", "replicaCount=2"]].concat()).await?;
    assert!(two.contains("type: RollingUpdate"), "{two}");

    let mut args = DEFAULTS.to_vec();
    args.extend(["--kube-version", ""]);
    // Vendors append a suffix to the version, which must count as the release and not as something before it.
    for version in ["v1.33.0", "v1.33.4-aliyun.1", "v1.37.2"] {
        args[3] = version;
        render(plane, &args).await.with_context(|| version)?;
    }
    for version in ["v1.32.9", "v1.38.0"] {
        args[3] = version;
        let refused = message(render(plane, &args).await);
        assert!(refused.contains("chart requires kubeVersion: >=1.33.0-0 <1.38.0-0"), "{version}: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn every_value_of_the_schema_is_documented_in_the_values_file() -> Result<()> {
    fn missing(path: &str, schema: &Value, values: &Value, found: &mut Vec<String>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match values.get(name) {
                None if name != "global" => found.push(path),
                None => {}
                Some(values) => missing(&path, below, values, found),
            }
        }
    }
    for name in ["eci-operator", "eci-operator-crds"] {
        let folder = repository().join("charts").join(name);
        let schema: Value = serde_json::from_str(&fs::read_to_string(folder.join("values.schema.json"))?)?;
        let values: Value = serde_saphyr::from_str(&fs::read_to_string(folder.join("values.yaml"))?)?;
        let mut found = Vec::new();
        missing("", &schema, &values, &mut found);
        assert!(found.is_empty(), "{name}: not in values.yaml: {found:?}");
    }
    Ok(())
}

/// Asks the API server what the operator's ServiceAccount may do.
async fn may(plane: &ControlPlane, question: &str) -> Result<bool> {
    let who = format!("--as=system:serviceaccount:{NAMESPACE}:eci-operator");
    let args = ["auth", "can-i"].into_iter().chain(question.split(' ')).chain([who.as_str()]);
    let output = plane.kubectl(args).await?;
    match output.stdout.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => anyhow::bail!("{question}: {other}{}", output.stderr),
    }
}

#[tokio::test]
async fn the_installed_operator_may_do_its_work_and_nothing_else() -> Result<()> {
    let plane = plane().await?;
    let crds = chart("eci-operator-crds");
    plane.helm(["install", "eci-operator-crds", &crds, "-n", NAMESPACE]).await?.ok()?;
    let operator = chart("eci-operator");
    let install = ["install", "eci-operator", &operator, "-n", NAMESPACE, "--set", "replicaCount=0"];
    let notes = plane.helm(install.into_iter().chain(DEFAULTS)).await?.ok()?;
    assert!(notes.contains("WARNING: no cloud credentials are configured"), "{notes}");

    for question in [
        "list imagecaches.eci-operator.io -n team-a",
        "watch imagecaches.eci-operator.io --all-namespaces",
        "patch imagecaches.eci-operator.io -n team-a",
        "patch imagecaches.eci-operator.io --subresource=status -n team-a",
        "list datacaches.eci-operator.io -n team-a",
        "watch datacaches.eci-operator.io --all-namespaces",
        "patch datacaches.eci-operator.io -n team-a",
        "patch datacaches.eci-operator.io --subresource=status -n team-a",
        "get secrets -n team-a",
        "create events.events.k8s.io -n team-a",
        "patch events.events.k8s.io -n team-a",
        "get namespaces/kube-system",
        "get namespaces/team-a",
        "create configmaps -n eci-system",
        "get configmaps/eci-operator-cluster-id -n eci-system",
        "create leases.coordination.k8s.io -n eci-system",
        "get leases.coordination.k8s.io/eci-operator -n eci-system",
        "patch leases.coordination.k8s.io/eci-operator -n eci-system",
        "list nodes",
        "watch namespaces",
        "watch pods --all-namespaces",
        "patch pods -n team-a",
        "watch events --all-namespaces",
        "watch poddisruptionbudgets.policy --all-namespaces",
        "create pods --subresource=eviction -n team-a",
        "patch pods --subresource=status -n team-a",
        "watch eciprofiles.eci-operator.io",
        "patch eciprofiles.eci-operator.io --subresource=status",
        "watch datacaches.eci-operator.io --all-namespaces",
        "get namespaces",
        "create secrets -n eci-system",
        "update secrets/eci-operator-webhook -n eci-system",
        "watch secrets/eci-operator-webhook -n eci-system",
        "create mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "update mutatingwebhookconfigurations.admissionregistration.k8s.io/eci-operator-eci-system",
        "watch validatingwebhookconfigurations.admissionregistration.k8s.io/eci-operator-eci-system",
        "get clusterroles.rbac.authorization.k8s.io/eci-operator",
    ] {
        assert!(may(plane, question).await?, "the operator must be allowed to {question}");
    }
    for question in [
        "create imagecaches.eci-operator.io -n team-a",
        "update imagecaches.eci-operator.io -n team-a",
        "delete imagecaches.eci-operator.io -n team-a",
        "update imagecaches.eci-operator.io --subresource=status -n team-a",
        "create datacaches.eci-operator.io -n team-a",
        "delete datacaches.eci-operator.io -n team-a",
        "list secrets -n team-a",
        "watch secrets -n team-a",
        "create secrets -n team-a",
        "update secrets/other -n eci-system",
        "delete secrets/eci-operator-webhook -n eci-system",
        "update mutatingwebhookconfigurations.admissionregistration.k8s.io/vk-webhook",
        "delete mutatingwebhookconfigurations.admissionregistration.k8s.io/eci-operator-eci-system",
        "get clusterroles.rbac.authorization.k8s.io/cluster-admin",
        "create configmaps -n team-a",
        "update configmaps -n eci-system",
        "get configmaps/other -n eci-system",
        "patch leases.coordination.k8s.io/kube-scheduler -n eci-system",
        "create leases.coordination.k8s.io -n kube-system",
        "delete leases.coordination.k8s.io/eci-operator -n eci-system",
        "get pods -n team-a",
        "delete pods -n team-a",
        "update pods -n team-a",
        "get nodes",
        "patch nodes",
        "patch poddisruptionbudgets.policy -n team-a",
        "patch eciprofiles.eci-operator.io",
        "create pods -n eci-system",
        "create serviceaccounts/default --subresource=token -n eci-system",
    ] {
        assert!(!may(plane, question).await?, "the operator must not be allowed to {question}");
    }

    // The CRD, and with it every object, survives the chart.
    plane.helm(["uninstall", "eci-operator-crds", "-n", NAMESPACE]).await?.ok()?;
    plane.kubectl(["get", "crd", "imagecaches.eci-operator.io"]).await?.ok()?;
    Ok(())
}
