//! The custom resources of eci-operator: what users write and what they read back.
//!
//! This crate does no IO. Third parties may use it to build or read our objects; it chooses no
//! Kubernetes version (see the k8s-openapi documentation on features in libraries).
#![warn(missing_docs)]

pub mod annotations;
pub mod condition;
pub mod data_cache;
pub mod eci_profile;
pub mod eip;
pub mod image_cache;
pub mod image_reference;
pub mod quantity;
mod rules;
pub mod spot_sizes;

/// The API group of every kind.
///
/// It is our own: the vendor's virtual node component owns `eci.alibabacloud.com` and `eci.aliyun.com` and
/// would reconcile the same objects.
pub const GROUP: &str = "eci-operator.io";

/// The finalizer of every kind that owns a cloud resource.
pub const FINALIZER: &str = "eci-operator.io/cloud-resource";

/// Annotation that asks for a new try: any change of its value starts the count of failed builds again.
pub const REQUESTED_AT: &str = "eci-operator.io/requested-at";

/// Annotation of an object that owns a cloud resource: with the value `true` the resource is deleted with its object even
/// while pods would start from it.
pub const FORCE_DELETE: &str = "eci-operator.io/force-delete";
