//! The annotations themselves.

use super::{Annotation, Scope, Source, Value, Writer};

const fn user(name: &'static str, value: Value) -> Annotation {
    Annotation {
        name,
        value,
        scope: Scope::Template,
        writer: Writer::User,
        profile_field: None,
        source: Source::AnnotationPage,
    }
}

const fn written_by(writer: Writer, name: &'static str) -> Annotation {
    Annotation { writer, ..user(name, Value::Text) }
}

const fn system(name: &'static str) -> Annotation {
    written_by(Writer::System, name)
}

const fn legacy(name: &'static str) -> Annotation {
    Annotation { source: Source::Secondary, ..written_by(Writer::Legacy, name) }
}

impl Annotation {
    /// A field of EciProfile writes it.
    const fn by(self, field: &'static str) -> Self {
        Self { profile_field: Some(field), ..self }
    }

    /// Its value can be right for one pod only.
    const fn one_pod(self) -> Self {
        Self { scope: Scope::OnePod, ..self }
    }

    const fn sourced(self, source: Source) -> Self {
        Self { source, ..self }
    }
}

const PLACEMENT: &str = "spec.network";
const SPOT: &str = "spec.spot";
const IMAGE: &str = "spec.imageCache";
const ACR: &str = "spec.acrInstances";
const REGISTRIES: &str = "spec.registries";

/// Every annotation, in groups as the vendor documents them. Sorting is not needed: names are looked up in a scan of
/// this list, which is shorter than a page.
pub const CATALOGUE: &[Annotation] = &[
    // Placement and size.
    user("k8s.aliyun.com/eci-vswitch", Value::Ids { prefix: "vsw-", most: None }).by(PLACEMENT),
    user("k8s.aliyun.com/eci-schedule-strategy", Value::Word(&["VSwitchOrdered", "VSwitchRandom"])),
    user("k8s.aliyun.com/eci-use-specs", Value::Sizes).by("spec.instance"),
    user("k8s.aliyun.com/eci-instance-family", Value::List),
    user("k8s.aliyun.com/eci-instance-generation", Value::Integers),
    user("k8s.aliyun.com/eci-compute-category", Value::Words(&["economy", "general"])),
    user("k8s.aliyun.com/eci-gpu-driver-version", Value::Version),
    user("k8s.aliyun.com/eci-privatepool-matchcriteria", Value::Word(&["Open", "Target"])),
    user("k8s.aliyun.com/eci-privatepool-id", Value::Id("eap-")),
    user("k8s.aliyun.com/eci-fail-strategy", Value::Word(&["fail-back", "fail-over", "fail-fast"])),
    user("k8s.aliyun.com/eci-max-pending-minute", Value::Integer { min: 10, max: 1440 }),
    // Spot.
    user("k8s.aliyun.com/eci-spot-strategy", Value::Word(&["SpotAsPriceGo", "SpotWithPriceLimit"])).by(SPOT),
    user("k8s.aliyun.com/eci-spot-price-limit", Value::Price).by(SPOT),
    user("k8s.aliyun.com/eci-spot-duration", Value::Word(&["0", "1"])).by(SPOT),
    user("k8s.aliyun.com/eci-spot-fallback", Value::Bool).by(SPOT),
    user("k8s.aliyun.com/eci-spot-release-strategy", Value::Word(&["api-evict"]))
        .by(SPOT)
        .sourced(Source::SpotGuide),
    // Image caches and pulls.
    user("k8s.aliyun.com/eci-auto-imc", Value::Bool).by(IMAGE),
    user("k8s.aliyun.com/imc-perfect-match", Value::Bool),
    user("k8s.aliyun.com/imc-match-count-request", Value::Integer { min: 1, max: 100 }),
    user("k8s.aliyun.com/eci-imc-id", Value::Id("imc-")).by(IMAGE),
    user("k8s.aliyun.com/acr-instance-ids", Value::AcrInstances).by(ACR),
    user("k8s.aliyun.com/acr-service-arns", Value::List).by(ACR),
    user("k8s.aliyun.com/acr-user-arns", Value::List).by(ACR),
    user("k8s.aliyun.com/plain-http-registry", Value::List).by(REGISTRIES),
    user("k8s.aliyun.com/insecure-registry", Value::List).by(REGISTRIES),
    // Data caches.
    user("k8s.aliyun.com/eci-data-cache-bucket", Value::Text).by("spec.dataCaches"),
    user("k8s.aliyun.com/eci-data-cache-pl", Value::Word(&["PL0", "PL1", "PL2", "PL3"]))
        .sourced(Source::Secondary),
    user("k8s.aliyun.com/eci-data-cache-provisionedIops", Value::Integer { min: 0, max: 50_000 }),
    user("k8s.aliyun.com/eci-data-cache-burstingEnabled", Value::Bool),
    // Network.
    user("k8s.aliyun.com/eci-security-group", Value::Ids { prefix: "sg-", most: Some(5) }).by(PLACEMENT),
    user("k8s.aliyun.com/eci-with-eip", Value::Bool).by(PLACEMENT),
    user("k8s.aliyun.com/eci-eip-instanceid", Value::Id("eip-")).one_pod(),
    user("k8s.aliyun.com/eip-bandwidth", Value::Integer { min: 1, max: 1000 }).by(PLACEMENT),
    user("k8s.aliyun.com/eip-common-bandwidth-package-id", Value::Id("cbwp-")).by(PLACEMENT),
    user("k8s.aliyun.com/eip-isp", Value::Word(&["BGP", "BGP_PRO"])).by(PLACEMENT),
    user("k8s.aliyun.com/eip-internet-charge-type", Value::Word(&["PayByBandwidth", "PayByTraffic"]))
        .by(PLACEMENT),
    user("k8s.aliyun.com/eip-public-ip-address-pool-id", Value::Id("pippool-")).by(PLACEMENT),
    user("k8s.aliyun.com/eci-enable-ipv6", Value::Bool).by(PLACEMENT),
    user("k8s.aliyun.com/eci-ipv6-bandwidth-enable", Value::Bool).by(PLACEMENT),
    user("k8s.aliyun.com/eci-ipv6-bandwidth", Value::Bandwidth).by(PLACEMENT),
    user("k8s.aliyun.com/eci-private-ip-address", Value::Address).one_pod(),
    user("k8s.aliyun.com/eci-fixed-ip", Value::Bool),
    user("k8s.aliyun.com/eci-fixed-ip-retain-hour", Value::Integer { min: 1, max: 1_000_000 }),
    user("k8s.aliyun.com/eci-custom-dnsconfig", Value::Text),
    user("k8s.aliyun.com/eci-custom-hosts", Value::Hosts),
    user("kubernetes.io/ingress-bandwidth", Value::Bandwidth),
    user("kubernetes.io/egress-bandwidth", Value::Bandwidth),
    // Other.
    user("k8s.aliyun.com/eci-ram-role-name", Value::Text),
    user("k8s.aliyun.com/eci-custom-tags", Value::Tags(3)),
    user("k8s.aliyun.com/eci-extra-ephemeral-storage", Value::Storage).by("spec.storage"),
    user("k8s.aliyun.com/eci-ephemeral-storage-options", Value::Json),
    user("k8s.aliyun.com/eci-eviction-enable", Value::Bool).sourced(Source::Secondary),
    user("k8s.aliyun.com/eci-ntp-server", Value::List),
    user("k8s.aliyun.com/eci-sls-enable", Value::Bool),
    user("k8s.aliyun.com/eci-core-pattern", Value::Path),
    // Names of the past.
    legacy("k8s.aliyun.com/eci-image-cache"),
    legacy("k8s.aliyun.com/eci-image-snapshot-id"),
    legacy("k8s.aliyun.com/acr-instance-id"),
    legacy("k8s.aliyun.com/eci-reschedule-enable"),
    legacy("k8s.aliyun.com/pod-fail-on-create-err"),
    legacy("k8s.aliyun.com/eci-instance-type"),
    legacy("k8s.aliyun.com/eci-gpu-type"),
    legacy("k8s.aliyun.com/eci-cpu-option-core"),
    legacy("k8s.aliyun.com/eci-cpu-option-ht"),
    // Written by the virtual node.
    system("k8s.aliyun.com/eci-instance-id"),
    system("k8s.aliyun.com/eci-request-id"),
    system("k8s.aliyun.com/eci-instance-spec"),
    system("k8s.aliyun.com/eci-instance-compute-category"),
    system("k8s.aliyun.com/eci-matched-image-cache"),
    system("k8s.aliyun.com/eci-created-by-template"),
    system("k8s.aliyun.com/eci-vpc"),
    system("k8s.aliyun.com/eni-instance-id"),
    system("k8s.aliyun.com/allocated-eipInstanceId"),
    system("k8s.aliyun.com/allocated-eipAddress"),
    system("k8s.aliyun.com/allocated-ipv6Address"),
    system("k8s.aliyun.com/eci-schedule-result"),
];
