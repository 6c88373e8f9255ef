//! A client of the API server, as kubectl would have it.

use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, CustomResourceExt};
use serde::de::DeserializeOwned;

use crate::args::KubeArgs;
use crate::error::Error;

/// Objects on one page of a list.
const PAGE: u32 = 500;
/// Most pages of a list.
const MOST_PAGES: usize = 200;

/// A client, and where it looks.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    pub(crate) client: Client,
    /// `None`: all namespaces.
    pub(crate) namespace: Option<String>,
}

impl Kubernetes {
    pub(crate) async fn connect(args: &KubeArgs) -> Result<Self, Error> {
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &args.kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            None => Config::from_kubeconfig(&options).await?,
        };
        // The refusal of a budget is a 429, and must not be retried for minutes.
        config.default_retry = false;
        let own = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let namespace = (!args.all_namespaces).then_some(own);
        Ok(Self { client: Client::try_from(config)?, namespace })
    }

    /// The objects of a kind in the namespace, or in all of them.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// All objects, page by page.
pub(crate) async fn list<K>(api: &Api<K>, selector: Option<&str>) -> Result<Vec<K>, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut all = Vec::new();
    let mut params =
        ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() }.limit(PAGE);
    for _ in 0..MOST_PAGES {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
    Err(Error::TooMany("objects; choose a namespace or a selector".to_owned()))
}

/// Every object of a kind. A cluster that has not the kind is told from one that has none.
pub(crate) async fn of_kind<K>(api: &Api<K>) -> Result<Vec<K>, Error>
where
    K: CustomResourceExt + Clone + DeserializeOwned + std::fmt::Debug,
{
    match list(api, None).await {
        Err(Error::Kubernetes(kube::Error::Api(status))) if status.code == 404 => {
            Err(Error::NotInstalled(K::crd_name()))
        }
        other => other,
    }
}

/// What could be read, or in words why it could not be: for want of a permission. Other failures stay failures.
pub(crate) fn allowed<T>(read: Result<T, Error>) -> Result<Result<T, String>, Error> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(Error::Kubernetes(kube::Error::Api(status))) if status.code == 403 => {
            Ok(Err(status.message.clone()))
        }
        Err(error) => Err(error),
    }
}

/// The objects, none when the cluster does not know the kind.
pub(crate) fn present<K>(read: Result<Vec<K>, Error>) -> Result<Vec<K>, Error> {
    match read {
        Err(Error::Kubernetes(kube::Error::Api(status))) if status.code == 404 => Ok(Vec::new()),
        other => other,
    }
}
