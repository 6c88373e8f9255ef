//! The parts of a profile that are taken whole from one source, and the annotations that they become.
//!
//! If a pod carries any annotation of a unit, its own words stand and no profile adds to them: half of a spot setting
//! from here and half from there would be neither's intention.

use eci_api::eci_profile::{Candidate, EciProfileSpec, Ipv6, Spot, SpotFallback, SpotRelease, SpotStrategy};
use eci_api::eip::{ChargeType, Eip, Isp};

/// Annotation of a pod that is to be evicted when its spot instance is about to be reclaimed.
pub const RELEASE: &str = "eci-operator.io/spot-release";
/// Its value.
pub const RELEASE_EVICT: &str = "evict";

const SPOT_STRATEGY: &str = "k8s.aliyun.com/eci-spot-strategy";
const SPOT_PRICE: &str = "k8s.aliyun.com/eci-spot-price-limit";
const SPOT_HOURS: &str = "k8s.aliyun.com/eci-spot-duration";
const SPOT_FALLBACK: &str = "k8s.aliyun.com/eci-spot-fallback";
const SPOT_VENDOR_RELEASE: &str = "k8s.aliyun.com/eci-spot-release-strategy";
const V_SWITCHES: &str = "k8s.aliyun.com/eci-vswitch";
const SECURITY_GROUPS: &str = "k8s.aliyun.com/eci-security-group";
const NEW_EIP: &str = "k8s.aliyun.com/eci-with-eip";
const EIP_ID: &str = "k8s.aliyun.com/eci-eip-instanceid";
const EIP_BANDWIDTH: &str = "k8s.aliyun.com/eip-bandwidth";
const EIP_PACKAGE: &str = "k8s.aliyun.com/eip-common-bandwidth-package-id";
const EIP_ISP: &str = "k8s.aliyun.com/eip-isp";
const EIP_CHARGE: &str = "k8s.aliyun.com/eip-internet-charge-type";
const EIP_POOL: &str = "k8s.aliyun.com/eip-public-ip-address-pool-id";
const IPV6: &str = "k8s.aliyun.com/eci-enable-ipv6";
const IPV6_INTERNET: &str = "k8s.aliyun.com/eci-ipv6-bandwidth-enable";
const IPV6_BANDWIDTH: &str = "k8s.aliyun.com/eci-ipv6-bandwidth";
const SPECS: &str = "k8s.aliyun.com/eci-use-specs";
const STORAGE: &str = "k8s.aliyun.com/eci-extra-ephemeral-storage";
const PLAIN_HTTP: &str = "k8s.aliyun.com/plain-http-registry";
const INSECURE: &str = "k8s.aliyun.com/insecure-registry";
const ACR_IDS: &str = "k8s.aliyun.com/acr-instance-ids";
const ACR_SERVICE: &str = "k8s.aliyun.com/acr-service-arns";
const ACR_USER: &str = "k8s.aliyun.com/acr-user-arns";
/// Whether the cloud searches the account's image caches by itself.
pub(super) const AUTO_CACHE: &str = "k8s.aliyun.com/eci-auto-imc";
/// The image cache that a pod starts from.
pub(super) const PINNED_CACHE: &str = "k8s.aliyun.com/eci-imc-id";

/// A part of a profile that becomes annotations and is taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// `spec.spot`.
    Spot,
    /// vSwitches and security groups of `spec.network`.
    Network,
    /// `spec.network.eip`.
    Eip,
    /// `spec.network.ipv6`.
    Ipv6,
    /// `spec.instance`.
    Instance,
    /// `spec.storage`.
    Storage,
    /// `spec.imageCache`.
    ImageCache,
    /// `spec.registries`.
    Registries,
    /// `spec.acrInstances`.
    AcrInstances,
}

/// An annotation and its value.
pub(super) type Rendered = Vec<(&'static str, String)>;

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 9] = [
        Self::Spot,
        Self::Network,
        Self::Eip,
        Self::Ipv6,
        Self::Instance,
        Self::Storage,
        Self::ImageCache,
        Self::Registries,
        Self::AcrInstances,
    ];

    /// The fields, as a path in the profile.
    pub fn field(self) -> &'static str {
        match self {
            Self::Spot => "spec.spot",
            Self::Network => "spec.network.vSwitchIDs and securityGroupIDs",
            Self::Eip => "spec.network.eip",
            Self::Ipv6 => "spec.network.ipv6",
            Self::Instance => "spec.instance",
            Self::Storage => "spec.storage",
            Self::ImageCache => "spec.imageCache",
            Self::Registries => "spec.registries",
            Self::AcrInstances => "spec.acrInstances",
        }
    }

    /// The annotations by which a pod speaks for itself.
    pub fn annotations(self) -> &'static [&'static str] {
        match self {
            Self::Spot => {
                &[SPOT_STRATEGY, SPOT_PRICE, SPOT_HOURS, SPOT_FALLBACK, SPOT_VENDOR_RELEASE, RELEASE]
            }
            Self::Network => &[V_SWITCHES, SECURITY_GROUPS],
            Self::Eip => &[NEW_EIP, EIP_ID, EIP_BANDWIDTH, EIP_PACKAGE, EIP_ISP, EIP_CHARGE, EIP_POOL],
            Self::Ipv6 => &[IPV6, IPV6_INTERNET, IPV6_BANDWIDTH],
            Self::Instance => &[SPECS],
            Self::Storage => &[STORAGE],
            Self::ImageCache => &[AUTO_CACHE, PINNED_CACHE],
            Self::Registries => &[PLAIN_HTTP, INSECURE],
            Self::AcrInstances => &[ACR_IDS, ACR_SERVICE, ACR_USER],
        }
    }

    /// Whether a profile sets it.
    pub(super) fn is_set(self, spec: &EciProfileSpec) -> bool {
        match self {
            Self::ImageCache => spec.image_cache.is_some(),
            _ => !self.render(spec).is_empty(),
        }
    }

    /// What a profile makes of it; nothing when it does not set it. Which image cache is pinned is not a matter of the
    /// profile alone: [`super::caches`] says it.
    pub(super) fn render(self, spec: &EciProfileSpec) -> Rendered {
        let network = spec.network.as_ref();
        match self {
            Self::Spot => spec.spot.as_ref().map(spot).unwrap_or_default(),
            Self::Network => network.map_or_else(Vec::new, |network| {
                let lists =
                    [(V_SWITCHES, &network.v_switch_ids), (SECURITY_GROUPS, &network.security_group_ids)];
                lists
                    .into_iter()
                    .filter(|(_, ids)| !ids.is_empty())
                    .map(|(name, ids)| (name, ids.join(",")))
                    .collect()
            }),
            Self::Eip => network.and_then(|network| network.eip.as_ref()).map(eip).unwrap_or_default(),
            Self::Ipv6 => network.and_then(|network| network.ipv6.as_ref()).map(ipv6).unwrap_or_default(),
            Self::Instance => {
                let specs =
                    spec.instance.iter().flat_map(|instance| &instance.candidates).filter_map(candidate);
                let specs: Vec<_> = specs.collect();
                if specs.is_empty() { Vec::new() } else { vec![(SPECS, specs.join(","))] }
            }
            Self::Storage => {
                spec.storage.iter().map(|storage| (STORAGE, storage.extra_ephemeral.clone())).collect()
            }
            Self::ImageCache => Vec::new(),
            Self::Registries => registries(spec),
            Self::AcrInstances => acr(spec),
        }
    }
}

fn spot(spot: &Spot) -> Rendered {
    let strategy = match spot.strategy {
        SpotStrategy::SpotAsPriceGo => "SpotAsPriceGo",
        SpotStrategy::SpotWithPriceLimit => "SpotWithPriceLimit",
    };
    let mut all = vec![(SPOT_STRATEGY, strategy.to_owned())];
    all.extend(spot.price_limit.iter().map(|limit| (SPOT_PRICE, limit.clone())));
    all.extend(spot.protection_hours.iter().map(|hours| (SPOT_HOURS, hours.to_string())));
    all.extend(
        spot.fallback
            .iter()
            .map(|fallback| (SPOT_FALLBACK, (*fallback == SpotFallback::PayAsYouGo).to_string())),
    );
    if spot.release == Some(SpotRelease::Evict) {
        // Not the vendor's annotation: its virtual node would evict beside us.
        all.push((RELEASE, RELEASE_EVICT.to_owned()));
    }
    all
}

fn eip(eip: &Eip) -> Rendered {
    let mut all = vec![(NEW_EIP, "true".to_owned())];
    all.extend(eip.bandwidth.iter().map(|mbit| (EIP_BANDWIDTH, mbit.to_string())));
    all.extend(eip.isp.iter().map(|isp| {
        let line = match isp {
            Isp::Bgp => "BGP",
            Isp::BgpPro => "BGP_PRO",
        };
        (EIP_ISP, line.to_owned())
    }));
    all.extend(eip.charge_type.iter().map(|charge| {
        let billed = match charge {
            ChargeType::PayByBandwidth => "PayByBandwidth",
            ChargeType::PayByTraffic => "PayByTraffic",
        };
        (EIP_CHARGE, billed.to_owned())
    }));
    all.extend(eip.common_bandwidth_package_id.iter().map(|id| (EIP_PACKAGE, id.clone())));
    all.extend(eip.address_pool_id.iter().map(|id| (EIP_POOL, id.clone())));
    all
}

fn ipv6(ipv6: &Ipv6) -> Rendered {
    let mut all = vec![(IPV6, "true".to_owned())];
    if let Some(mbit) = ipv6.internet_bandwidth {
        all.push((IPV6_INTERNET, "true".to_owned()));
        all.push((IPV6_BANDWIDTH, format!("{mbit}M")));
    }
    all
}

/// `2-4Gi`, or an instance type.
fn candidate(of: &Candidate) -> Option<String> {
    match (&of.instance_type, &of.cpu, &of.memory) {
        (Some(instance_type), _, _) => Some(instance_type.clone()),
        (None, Some(cpu), Some(memory)) => Some(format!("{cpu}-{memory}")),
        // The schema refuses half a size.
        _ => None,
    }
}

fn registries(spec: &EciProfileSpec) -> Rendered {
    let hosts = |wanted: fn(&eci_api::image_cache::RegistryOptions) -> Option<bool>| {
        let chosen = spec.registries.iter().filter(|registry| wanted(registry) == Some(true));
        chosen.map(|registry| registry.host.as_str()).collect::<Vec<_>>().join(",")
    };
    let lists = [(PLAIN_HTTP, hosts(|r| r.plain_http)), (INSECURE, hosts(|r| r.insecure_skip_tls_verify))];
    lists.into_iter().filter(|(_, hosts)| !hosts.is_empty()).collect()
}

fn acr(spec: &EciProfileSpec) -> Rendered {
    let list = |items: Vec<String>| items.join(",");
    let ids = spec.acr_instances.iter().map(|acr| match &acr.region_id {
        Some(region) => format!("{region}:{}", acr.id),
        None => acr.id.clone(),
    });
    let lists = [
        (ACR_IDS, list(ids.collect())),
        (
            ACR_SERVICE,
            list(spec.acr_instances.iter().filter_map(|acr| acr.service_role_arn.clone()).collect()),
        ),
        (ACR_USER, list(spec.acr_instances.iter().filter_map(|acr| acr.user_role_arn.clone()).collect())),
    ];
    lists.into_iter().filter(|(_, items)| !items.is_empty()).collect()
}
