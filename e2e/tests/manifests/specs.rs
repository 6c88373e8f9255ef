//! Random specs that the API server must take, made from the types.

pub(crate) mod profile;

use std::collections::BTreeMap;

use eci_api::data_cache::{
    AdoptDataCache, CustomSource, DataCacheSpec, DataSource, DataSourceType, NasSource, OptionValue,
    RepositorySource, RepositoryType, SecretKeyReference, UrlSource,
};
use eci_api::eip::{ChargeType, Eip, Isp};
use eci_api::image_cache::{DeletionPolicy, Network, SecretReference, TagValue};
use proptest::collection::{btree_map, btree_set};
use proptest::option::of;
use proptest::prelude::*;

type Text = BoxedStrategy<String>;

/// Texts that match `pattern`.
fn text(pattern: &'static str) -> Text {
    pattern.boxed()
}

/// A list without doubles.
fn set(pattern: &'static str, most: usize) -> impl Strategy<Value = Vec<String>> {
    btree_set(text(pattern), 0..=most).prop_map(|texts| texts.into_iter().collect())
}

/// A clean absolute path.
fn path() -> Text {
    text("(/[a-zA-Z0-9 _…-][a-zA-Z0-9._@ -]{0,20}){1,6}")
}

fn name() -> Text {
    text("[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?")
}

fn size() -> Text {
    prop_oneof![(20..=32_768).prop_map(|n| format!("{n}Gi")), (1..=32).prop_map(|n| format!("{n}Ti"))].boxed()
}

fn tags() -> impl Strategy<Value = BTreeMap<String, TagValue>> {
    btree_map("x\\PC{0,60}", "\\PC{0,60}".prop_map(TagValue), 0..=14)
}

fn network(eip: bool) -> impl Strategy<Value = Network> {
    let eip = if eip { of(text("eip-[a-z0-9]{1,20}")).boxed() } else { Just(None).boxed() };
    (set("vsw-[a-z0-9]{1,20}", 10), of(text("sg-[a-z0-9]{1,20}")), eip).prop_map(
        |(v_switch_ids, security_group_id, eip_instance_id)| Network {
            v_switch_ids,
            security_group_id,
            eip_instance_id,
        },
    )
}

fn eip() -> impl Strategy<Value = Eip> {
    (
        of(1..=1000),
        of(prop_oneof![Just(Isp::Bgp), Just(Isp::BgpPro)]),
        of(prop_oneof![Just(ChargeType::PayByBandwidth), Just(ChargeType::PayByTraffic)]),
        of(text("cbwp-[a-z0-9]{1,20}")),
        of(text("pippool-[a-z0-9]{1,20}")),
    )
        .prop_map(|(bandwidth, isp, charge_type, common_bandwidth_package_id, address_pool_id)| Eip {
            bandwidth,
            isp,
            charge_type,
            common_bandwidth_package_id,
            address_pool_id,
        })
}

fn repository() -> impl Strategy<Value = RepositorySource> {
    (
        text("[A-Za-z0-9_][A-Za-z0-9._-]{0,60}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,60})?"),
        of(prop_oneof![Just(RepositoryType::Model), Just(RepositoryType::DataSet)]),
        of(text("[A-Za-z0-9_][A-Za-z0-9._/-]{0,40}")),
    )
        .prop_map(|(repo_id, repo_type, revision)| RepositorySource { repo_id, repo_type, revision })
}

fn source() -> impl Strategy<Value = DataSource> {
    let empty = |type_| DataSource {
        type_,
        url: None,
        hugging_face: None,
        model_scope: None,
        nas: None,
        custom: None,
        access_token_secret_ref: None,
    };
    let token = || {
        of((name(), text("[-._a-zA-Z0-9]{1,20}")).prop_map(|(name, key)| SecretKeyReference { name, key }))
    };
    let url = (text("https?://[a-z.]{1,20}(:[0-9]{1,5})?(/[!-~]{0,60})?"), token()).prop_map(
        move |(url, access_token_secret_ref)| DataSource {
            url: Some(UrlSource { url }),
            access_token_secret_ref,
            ..empty(DataSourceType::Url)
        },
    );
    let hugging_face =
        (repository(), token()).prop_map(move |(repository, access_token_secret_ref)| DataSource {
            hugging_face: Some(repository),
            access_token_secret_ref,
            ..empty(DataSourceType::HuggingFace)
        });
    let model_scope =
        (repository(), token()).prop_map(move |(repository, access_token_secret_ref)| DataSource {
            model_scope: Some(repository),
            access_token_secret_ref,
            ..empty(DataSourceType::ModelScope)
        });
    let nas = (
        text("[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?"),
        text("/[a-zA-Z0-9._/ …-]{0,60}"),
        of(text("3|4|4\\.[0-2]")),
        set("[a-z]{1,9}(=[a-z0-9.:/_-]{1,20})?", 20),
    )
        .prop_map(move |(server, path, version, mount_options)| DataSource {
            nas: Some(NasSource { server, path, version, mount_options }),
            ..empty(DataSourceType::Nas)
        });
    let custom = (
        text("[A-Z][A-Z0-9_]{0,31}"),
        btree_map("x\\PC{0,60}", "\\PC{0,200}".prop_map(OptionValue), 0..=20),
        btree_set(name(), 0..=5),
    )
        .prop_map(move |(cloud_type, options, secrets)| DataSource {
            custom: Some(CustomSource {
                cloud_type,
                options,
                options_from: secrets.into_iter().map(|name| SecretReference { name }).collect(),
            }),
            ..empty(DataSourceType::Custom)
        });
    prop_oneof![url, hugging_face, model_scope, nas, custom]
}

fn adopt() -> impl Strategy<Value = AdoptDataCache> {
    let by_id = text("edc-[a-z0-9]{1,20}").prop_map(|id| (Some(id), None));
    prop_oneof![by_id, Just((None, Some(true)))]
        .prop_map(|(data_cache_id, existing)| AdoptDataCache { data_cache_id, existing })
}

/// A DataCache with any of its fields.
pub(crate) fn data_cache() -> impl Strategy<Value = DataCacheSpec> {
    let identity = (text("[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?"), path());
    let whence = prop_oneof![(source().prop_map(Some), Just(None)), (of(source()), adopt().prop_map(Some)),];
    let way = prop_oneof![(of(network(true)), Just(None)), (of(network(false)), eip().prop_map(Some))];
    let rest = (
        of(size()),
        of(1..=65_536),
        of(text("[a-zA-Z0-9_-]{1,64}")),
        tags(),
        prop_oneof![Just(DeletionPolicy::Delete), Just(DeletionPolicy::Retain)],
        any::<bool>(),
        of(any::<bool>()),
    );
    (identity, whence, way, rest).prop_map(|((bucket, path), (source, adopt), (network, eip), rest)| {
        let (size, retention_days, resource_group_id, tags, deletion_policy, written, suspend) = rest;
        DataCacheSpec {
            bucket,
            path,
            source,
            size,
            retention_days,
            network,
            eip,
            resource_group_id,
            tags,
            deletion_policy: (written || adopt.is_some()).then_some(deletion_policy),
            adopt,
            suspend,
        }
    })
}
