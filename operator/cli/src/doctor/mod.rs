//! `kubectl eci doctor`: the known pitfalls of virtual nodes as checks, each with a remedy.

mod checks;
mod tags;
#[cfg(test)]
mod tests;

use eci_api::eci_profile::EciProfile;
use eci_core::profile::decide::World;
use eci_core::profile::rules::RULES;
use eci_core::profile::{Profile, Profiles};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;

use crate::args::DoctorArgs;
use crate::claims;
use crate::error::Error;
use crate::findings::Findings;
use crate::kubernetes::{Kubernetes, allowed, list, present};
use checks::{BUDGETS, Facts, INSECURE, METRICS, PROVIDER_ID, VENDOR};

/// Names of the rules about DaemonSets and Services, which are checks of their own.
const DAEMON_SET: &str = "daemon-set";
const NODE_PORT: &str = "node-port";
/// Of the rules nas-ownership and late-binding what PersistentVolumeClaims would tell.
const NAS_BY_CLAIM: &str = "volumes behind claims";

pub(crate) async fn doctor(args: &DoctorArgs) -> Result<(String, Result<(), Error>), Error> {
    let cluster = Kubernetes::connect(&args.kube).await?;
    let mut all = Findings::default();
    match facts(&cluster, args).await? {
        Ok(mut facts) => {
            match claims::read(&cluster.client, cluster.namespace.as_deref(), &facts.pods).await? {
                Ok(claims) => facts.world.claims = claims,
                Err(why) => all.skip(NAS_BY_CLAIM, why),
            }
            with_facts(&cluster, &facts, &mut all).await?;
        }
        Err(why) => {
            let rules = RULES.iter().map(|rule| rule.name);
            for check in rules.chain([INSECURE, METRICS, PROVIDER_ID, BUDGETS]) {
                all.skip(check, why.clone());
            }
        }
    }
    let kinds = list(&Api::<CustomResourceDefinition>::all(cluster.client.clone()), None).await;
    let webhooks = list(&Api::<MutatingWebhookConfiguration>::all(cluster.client.clone()), None).await;
    match (allowed(kinds)?, allowed(webhooks)?) {
        (Ok(kinds), Ok(webhooks)) => {
            let kinds: Vec<_> = kinds.into_iter().filter_map(|kind| kind.metadata.name).collect();
            let webhooks = webhooks.into_iter().map(|configuration| {
                let entries = configuration.webhooks.into_iter().flatten().map(|entry| entry.name);
                (configuration.metadata.name.unwrap_or_default(), entries.collect())
            });
            all.add(VENDOR, checks::vendors(&kinds, &webhooks.collect::<Vec<_>>()));
        }
        (Err(why), _) | (_, Err(why)) => all.skip(VENDOR, why),
    }
    tags::check(&cluster, args, &mut all).await?;
    let text = all.show(args.output, "None of the known pitfalls was found.")?;
    let result = match all.errors() {
        0 => Ok(()),
        some => Err(Error::Incomplete(format!("{some} findings do not work on virtual nodes"))),
    };
    Ok((text, result))
}

/// What most checks need, or why it could not be read.
async fn facts(cluster: &Kubernetes, args: &DoctorArgs) -> Result<Result<Facts, String>, Error> {
    let nodes_at = args.nodes.virtual_nodes()?;
    let client = || cluster.client.clone();
    let profiles = allowed(present(list(&Api::<EciProfile>::all(client()), None).await))?;
    let namespaces = allowed(list(&Api::<Namespace>::all(client()), None).await)?;
    let nodes = allowed(list(&Api::<Node>::all(client()), None).await)?;
    let pods = allowed(list(&cluster.api::<Pod>(), None).await)?;
    let read = (|| Ok((profiles?, namespaces?, nodes?, pods?)))();
    Ok(read.map(|(profiles, namespaces, nodes, pods)| Facts {
        profiles: Profiles::new(profiles.iter().filter_map(Profile::of), &args.operator_namespace),
        world: World { nodes: nodes_at, region: args.region.clone(), ..World::default() },
        namespaces: namespaces
            .into_iter()
            .filter_map(|namespace| {
                Some((namespace.metadata.name?, namespace.metadata.labels.unwrap_or_default()))
            })
            .collect(),
        nodes,
        pods,
    }))
}

async fn with_facts(cluster: &Kubernetes, facts: &Facts, all: &mut Findings) -> Result<(), Error> {
    for (rule, found) in checks::pods(facts) {
        all.add(rule.name, found);
    }
    match allowed(list(&cluster.api::<DaemonSet>(), None).await)? {
        Ok(sets) => all.add(DAEMON_SET, checks::daemon_sets(&sets, facts)),
        Err(why) => all.skip(DAEMON_SET, why),
    }
    match allowed(list(&cluster.api::<Service>(), None).await)? {
        Ok(services) => all.add(NODE_PORT, checks::services(&services, facts)),
        Err(why) => all.skip(NODE_PORT, why),
    }
    all.add(INSECURE, checks::registries(facts));
    match allowed(list(&Api::<Deployment>::all(cluster.client.clone()), None).await)? {
        Ok(deployments) => all.add(METRICS, checks::metrics(&deployments, facts)),
        Err(why) => all.skip(METRICS, why),
    }
    all.add(PROVIDER_ID, checks::provider_ids(facts));
    match allowed(list(&cluster.api::<PodDisruptionBudget>(), None).await)? {
        Ok(budgets) => all.add(BUDGETS, checks::budgets(&budgets, facts)),
        Err(why) => all.skip(BUDGETS, why),
    }
    Ok(())
}
