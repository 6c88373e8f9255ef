//! Random profiles that the API server must take.

use eci_api::annotations::{CATALOGUE, Scope, Writer};
use eci_api::eci_profile::{
    AnnotationValue, Candidate, DataCacheMount, EciProfileSpec, Effects, ImageCacheMode, ImageCacheReference,
    ImageCacheUse, Instance, Ipv6, LabelExpression, LabelOperator, LabelSelection, LabelValue, Placement,
    PlacementLimits, PlacementPolicy, PodSelection, ProfileMode, ProfileNetwork, ScaleIn, Spot, SpotDeadline,
    SpotFallback, SpotRelease, SpotStrategy, Storage,
};
use eci_api::image_cache::{AcrInstance, RegistryOptions};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Text, eip, name, path, set, text};

fn label() -> impl Strategy<Value = LabelValue> {
    text("([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?").prop_map(LabelValue)
}

fn key() -> Text {
    text("([a-z0-9]([-a-z0-9.]{0,40}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,40}[A-Za-z0-9])?")
}

fn expression() -> impl Strategy<Value = LabelExpression> {
    let valued = (select(vec![LabelOperator::In, LabelOperator::NotIn]), vec(label(), 1..=5));
    let bare = (select(vec![LabelOperator::Exists, LabelOperator::DoesNotExist]), Just(Vec::new()));
    (key(), prop_oneof![valued, bare]).prop_map(|(key, (operator, values))| LabelExpression {
        key,
        operator,
        values,
    })
}

fn labels(least: usize) -> impl Strategy<Value = LabelSelection> {
    (btree_map(key(), label(), least..=5), vec(expression(), 0..=5))
        .prop_map(|(match_labels, match_expressions)| LabelSelection { match_labels, match_expressions })
}

fn selector() -> impl Strategy<Value = PodSelection> {
    prop_oneof![(of(labels(0)), labels(1).prop_map(Some)), (labels(1).prop_map(Some), of(labels(0)))]
        .prop_map(|(namespace_selector, pod_selector)| PodSelection { namespace_selector, pod_selector })
}

fn duration() -> Text {
    prop_oneof![text("[1-9]m([0-9]|[1-5][0-9])s"), text("[1-9][0-9]{0,2}s"), text("[1-5][0-9]?m")].boxed()
}

fn placement() -> impl Strategy<Value = Placement> {
    let policies = vec![
        PlacementPolicy::Fair,
        PlacementPolicy::PreferRegularNodes,
        PlacementPolicy::VirtualNodesOnly,
        PlacementPolicy::RegularNodesOnly,
    ];
    let limits = (0..=1_000_000, of(text("[0-9]{1,5}m?")), of(text("[0-9]{1,5}(Ki|Mi|Gi|M|G)")))
        .prop_map(|(pods, cpu, memory)| PlacementLimits { pods: Some(pods), cpu, memory });
    (select(policies), of(duration()), of(Just(ScaleIn::VirtualNodesFirst)), of(limits)).prop_map(
        |(policy, spill_after, scale_in, limits)| {
            let prefer = policy == PlacementPolicy::PreferRegularNodes;
            Placement {
                policy,
                spill_after: spill_after.filter(|_| prefer),
                scale_in,
                limits: limits.filter(|_| prefer || policy == PlacementPolicy::Fair),
            }
        },
    )
}

fn network() -> impl Strategy<Value = ProfileNetwork> {
    let ipv6 = of(1..=1000).prop_map(|internet_bandwidth| Ipv6 { internet_bandwidth });
    (set("vsw-[a-z0-9]{1,20}", 10), set("sg-[a-z0-9]{1,20}", 5), of(eip()), of(ipv6)).prop_map(
        |(v_switch_ids, security_group_ids, eip, ipv6)| ProfileNetwork {
            v_switch_ids,
            security_group_ids,
            eip,
            ipv6,
        },
    )
}

fn instance() -> impl Strategy<Value = Instance> {
    let type_ = text("ecs\\.[a-z0-9-]{1,10}\\.[a-z0-9-]{1,10}").prop_map(|t| (Some(t), None, None));
    let size = (text("0\\.25|0\\.5|[1-9][0-9]?"), text("(0\\.5|[1-9][0-9]{0,2})Gi"))
        .prop_map(|(cpu, memory)| (None, Some(cpu), Some(memory)));
    // A set, so that nothing is listed twice.
    btree_set(prop_oneof![type_, size], 1..=5).prop_map(|candidates| Instance {
        candidates: candidates
            .into_iter()
            .map(|(instance_type, cpu, memory)| Candidate { instance_type, cpu, memory })
            .collect(),
    })
}

fn image_cache() -> impl Strategy<Value = ImageCacheUse> {
    let modes = vec![ImageCacheMode::Auto, ImageCacheMode::Pinned, ImageCacheMode::None];
    let reference = (text("[a-z0-9]{1,20}"), name())
        .prop_map(|(namespace, name)| ImageCacheReference { namespace, name });
    (select(modes), btree_set(reference, 1..=20), of(any::<bool>()), of(duration())).prop_map(
        |(mode, refs, require_ready, ready_timeout)| {
            let pinned = mode == ImageCacheMode::Pinned;
            let require_ready = require_ready.filter(|_| pinned);
            ImageCacheUse {
                mode,
                refs: if pinned { refs.into_iter().collect() } else { Vec::new() },
                require_ready,
                ready_timeout: ready_timeout.filter(|_| require_ready == Some(true)),
            }
        },
    )
}

fn data_caches() -> impl Strategy<Value = Vec<DataCacheMount>> {
    btree_map(path(), name(), 0..=20).prop_map(|mounts| {
        mounts.into_iter().map(|(mount_path, name)| DataCacheMount { mount_path, name }).collect()
    })
}

fn spot() -> impl Strategy<Value = Spot> {
    let price = of(text("[1-9][0-9]{0,3}(\\.[0-9]{1,3})?|0\\.[0-9]{0,2}[1-9]"));
    (
        price,
        of(0..=1),
        of(select(vec![SpotFallback::None, SpotFallback::PayAsYouGo])),
        of(select(vec![SpotRelease::None, SpotRelease::Evict])),
        of(select(vec![SpotDeadline::Wait, SpotDeadline::Delete])),
        of(duration()),
    )
        .prop_map(|(price_limit, protection_hours, fallback, release, on_deadline, failed_pod_ttl)| {
            Spot {
                strategy: price_limit
                    .as_ref()
                    .map_or(SpotStrategy::SpotAsPriceGo, |_| SpotStrategy::SpotWithPriceLimit),
                price_limit,
                protection_hours,
                fallback,
                release,
                on_deadline: on_deadline.filter(|_| release == Some(SpotRelease::Evict)),
                failed_pod_ttl,
            }
        })
}

fn effects() -> impl Strategy<Value = Effects> {
    // Annotations that the catalogue gives to profiles, with a value that it accepts, and some that it does not know.
    let free = CATALOGUE
        .iter()
        .filter(|a| a.writer == Writer::User && a.profile_field.is_none() && a.scope == Scope::Template);
    let samples =
        ["true", "1", "24", "10M", "Open", "fail-fast", "PL0", "economy", "VSwitchRandom", "eap-1", "/core"];
    let known: Vec<(String, String)> = free
        .flat_map(|a| {
            samples.iter().filter(|s| a.value.accepts(s)).map(|s| (a.name.to_owned(), (*s).to_owned()))
        })
        .collect();
    assert!(known.len() > 20);
    let known = vec(select(known), 0..=10);
    let unknown = btree_map(text("example\\.com/[a-z]{1,20}"), "\\PC{0,60}", 0..=10);
    let labels = btree_map(text("example\\.com/[a-z]{1,20}"), label(), 0..=10);
    (known, unknown, labels).prop_map(|(known, unknown, labels)| Effects {
        annotations: known
            .into_iter()
            .chain(unknown)
            .map(|(key, text)| (key, AnnotationValue(text)))
            .collect(),
        labels,
    })
}

fn registries() -> impl Strategy<Value = Vec<RegistryOptions>> {
    btree_map(text("[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?(:[0-9]{1,5})?"), any::<[bool; 2]>(), 0..=5).prop_map(
        |hosts| {
            let options = |(host, [insecure, plain]): (_, [bool; 2])| RegistryOptions {
                host,
                insecure_skip_tls_verify: Some(insecure),
                plain_http: Some(plain),
            };
            hosts.into_iter().map(options).collect()
        },
    )
}

fn acr_instances() -> impl Strategy<Value = Vec<AcrInstance>> {
    let rest = (
        of(text("[a-z]{1,20}")),
        of(text("[a-z]{1,10}-[a-z]{1,10}")),
        set("[a-z]{1,10}\\.example\\.com", 10),
    );
    btree_map(text("cri-[a-z0-9]{1,20}"), rest, 0..=5).prop_map(|instances| {
        let instance = |(id, (name, region_id, domains))| AcrInstance {
            id,
            name,
            region_id,
            domains,
            service_role_arn: None,
            user_role_arn: None,
        };
        instances.into_iter().map(instance).collect()
    })
}

/// An EciProfile with any of its fields.
pub(crate) fn eci_profile() -> impl Strategy<Value = EciProfileSpec> {
    let modes = vec![ProfileMode::Enforce, ProfileMode::Audit, ProfileMode::Disabled];
    let head = (-1_000_000_000..=1_000_000_000, selector(), select(modes), of(placement()), data_caches());
    let body = (of(network()), of(instance()), of(text("[1-9][0-9]{0,3}Gi")), of(image_cache()), of(spot()));
    let tail = (registries(), acr_instances(), of(effects()));
    (head, body, tail).prop_map(|(head, body, (registries, acr_instances, effects))| {
        let (priority, selector, mode, placement, data_caches) = head;
        let (network, instance, storage, image_cache, spot) = body;
        let mountable = placement
            .as_ref()
            .is_none_or(|p| matches!(p.policy, PlacementPolicy::Fair | PlacementPolicy::VirtualNodesOnly));
        EciProfileSpec {
            priority,
            selector,
            mode,
            placement,
            network,
            instance,
            storage: storage.map(|extra_ephemeral| Storage { extra_ephemeral }),
            image_cache,
            data_caches: if mountable { data_caches } else { Vec::new() },
            spot,
            registries,
            acr_instances,
            effects,
        }
    })
}
