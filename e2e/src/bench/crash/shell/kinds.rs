//! What the world of a seed has to know of a kind.

use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use eci_core::data_cache::DataCacheKind;
use eci_core::image_cache::ImageCacheKind;
use eci_operator::kind::Managed;
use eci_sim::Sim;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::verdict::{Object, Resource};
use super::{LOGIN, TOKEN};

/// A kind that is put into the fire.
pub(super) trait Burning: Managed<Object: Serialize> {
    /// Name of the kind.
    const KIND: &'static str;
    /// Its name in paths.
    const PLURAL: &'static str;
    /// Its calls that create, change, delete and list.
    const ACTIONS: [&'static str; 4];
    /// The spec of the object with this number; another version needs another resource.
    fn spec(number: u64, version: u64) -> Value;
    /// An object, as far as it is judged.
    fn judged(object: &Self::Object) -> Object;
    /// What the cloud has of the kind.
    fn living(sim: &Sim) -> Vec<Resource>;
}

/// Objects with this number need a secret.
const WITH_SECRET: u64 = 1;

impl Burning for ImageCacheKind {
    const KIND: &'static str = "ImageCache";
    const PLURAL: &'static str = "imagecaches";
    const ACTIONS: [&'static str; 4] =
        ["CreateImageCache", "UpdateImageCache", "DeleteImageCache", "DescribeImageCaches"];

    fn spec(number: u64, version: u64) -> Value {
        if number == WITH_SECRET {
            let image = format!("private.example.com/shop/cache:{version}");
            return json!({ "images": [image], "imagePullSecrets": [{ "name": LOGIN }] });
        }
        json!({ "images": [format!("registry.example.com/shop/cache-{number}:{version}")] })
    }

    fn judged(object: &ImageCache) -> Object {
        object.into()
    }

    fn living(sim: &Sim) -> Vec<Resource> {
        sim.with_world(eci_sim::world::World::caches).into_iter().map(Into::into).collect()
    }
}

impl Burning for DataCacheKind {
    const KIND: &'static str = "DataCache";
    const PLURAL: &'static str = "datacaches";
    const ACTIONS: [&'static str; 4] =
        ["CreateDataCache", "UpdateDataCache", "DeleteDataCache", "DescribeDataCaches"];

    fn spec(number: u64, version: u64) -> Value {
        let secret = number == WITH_SECRET;
        let host = if secret { "private.example.com" } else { "files.example.com" };
        let mut source =
            json!({ "type": "URL", "url": { "url": format!("https://{host}/{number}/v{version}.tar") } });
        if secret {
            source["accessTokenSecretRef"] = json!({ "name": TOKEN, "key": "token" });
        }
        json!({ "bucket": "models", "path": format!("/fire/{number}"), "source": source })
    }

    fn judged(object: &DataCache) -> Object {
        object.into()
    }

    fn living(sim: &Sim) -> Vec<Resource> {
        sim.with_world(eci_sim::world::World::data_caches).into_iter().map(Into::into).collect()
    }
}
