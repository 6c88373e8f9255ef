//! `kubectl eci status`: every object of ours, with its state, and below what is wrong with those that are not well;
//! what profiles select; virtual nodes and the pods on them.

use eci_api::data_cache::DataCache;
use eci_api::eci_profile::{EciProfile, ProfileCounts};
use eci_api::image_cache::ImageCache;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use crate::args::{Output, StatusArgs};
use crate::error::Error;
use crate::kubernetes::{Kubernetes, allowed, list, of_kind};
use crate::table;

mod pods;

/// What is not known.
const UNKNOWN: &str = "-";

/// An object, as far as it is shown.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    kind: &'static str,
    namespace: Option<String>,
    name: String,
    conditions: Vec<Condition>,
    cloud: Option<String>,
    progress: Option<i32>,
    counts: Option<ProfileCounts>,
}

impl Row {
    fn new(kind: &'static str, meta: ObjectMeta, conditions: Vec<Condition>) -> Self {
        let name = meta.name.unwrap_or_default();
        Self { kind, namespace: meta.namespace, name, conditions, cloud: None, progress: None, counts: None }
    }

    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }

    fn is(&self, kind: &str, status: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == status)
    }

    /// In one word: what a person has to know first.
    fn state(&self) -> &'static str {
        match self.condition("Ready").map(|ready| ready.status.as_str()) {
            _ if self.is("Stalled", "True") => "Stalled",
            _ if self.is("Paused", "True") => "Paused",
            Some("True") if self.is("Updating", "True") => "Updating",
            Some("True") => "Ready",
            Some("False") if self.is("Reconciling", "True") => "Reconciling",
            Some("False") => "NotReady",
            Some(_) => "Unknown",
            None => "NotSeen",
        }
    }

    /// What needs a sentence: everything that is not simply well.
    fn trouble(&self) -> Vec<&Condition> {
        let told = match self.state() {
            "Ready" => None,
            "Stalled" => self.condition("Stalled"),
            _ => self.condition("Ready"),
        };
        let others = ["Conflicted", "EvictionReady", "PriceLimitSufficient", "Accepted"].into_iter();
        let bad = others.filter_map(|kind| self.condition(kind)).filter(|condition| {
            condition.status == if condition.type_ == "Conflicted" { "True" } else { "False" }
        });
        told.into_iter().chain(bad).collect()
    }

    fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

pub(crate) async fn status(args: &StatusArgs) -> Result<String, Error> {
    let kinds = args.nodes.virtual_nodes()?;
    let cluster = Kubernetes::connect(&args.kube).await?;
    let mut rows = Vec::new();
    for cache in of_kind::<ImageCache>(&cluster.api()).await? {
        let status = cache.status.unwrap_or_default();
        let row = Row::new("ImageCache", cache.metadata, status.conditions);
        rows.push(Row { cloud: status.cloud_status, progress: status.progress_percent, ..row });
    }
    for cache in of_kind::<DataCache>(&cluster.api()).await? {
        let status = cache.status.unwrap_or_default();
        let row = Row::new("DataCache", cache.metadata, status.conditions);
        rows.push(Row { cloud: status.cloud_status, progress: status.progress_percent, ..row });
    }
    for profile in of_kind::<EciProfile>(&Api::all(cluster.client.clone())).await? {
        let status = profile.status.unwrap_or_default();
        let row = Row::new("EciProfile", profile.metadata, status.conditions);
        rows.push(Row { counts: status.counts, ..row });
    }
    let nodes = allowed(list(&Api::<Node>::all(cluster.client.clone()), None).await)?;
    let all_pods = allowed(list(&cluster.api::<Pod>(), None).await)?;
    let (nodes, all_pods, missing) = match (nodes, all_pods) {
        (Ok(nodes), Ok(pods)) => (nodes, pods, None),
        (Err(why), _) | (_, Err(why)) => (Vec::new(), Vec::new(), Some(why)),
    };
    let node_rows = pods::nodes(&kinds, &nodes, &all_pods);
    let pod_rows = pods::pods(&node_rows, &all_pods);
    match args.output {
        Output::Table => {
            let parts = [
                table_of(&rows, cluster.namespace.as_deref()),
                counts_of(&rows),
                pods::table_of(&node_rows, &pod_rows),
                missing.map(|why| format!("Virtual nodes are not shown: {why}\n")).unwrap_or_default(),
            ];
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            Ok(parts.join("\n"))
        }
        Output::Json => {
            let all: Vec<Value> = rows.iter().map(json_of).collect();
            let (nodes, pods) = pods::json_of(&node_rows, &pod_rows);
            let all = json!({ "objects": all, "virtualNodes": nodes, "pods": pods, "notShown": missing });
            Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
    }
}

/// How many pods each profile selects, of those profiles that the operator has counted.
fn counts_of(rows: &[Row]) -> String {
    let counted = rows.iter().filter_map(|row| Some((row, row.counts.as_ref()?)));
    let cells: Vec<_> = counted
        .map(|(row, counts)| {
            let conflicted = if row.is("Conflicted", "True") { "yes" } else { "no" };
            let numbers = [
                counts.pods,
                counts.virtual_node_pods,
                counts.spot_pods,
                counts.lost_pods,
                counts.degraded_pods,
            ];
            let [pods, on_virtual, spot, lost, degraded] = numbers.map(|number| number.to_string());
            [row.name.clone(), conflicted.to_owned(), pods, on_virtual, spot, lost, degraded]
        })
        .collect();
    if cells.is_empty() {
        return String::new();
    }
    table::table(["PROFILE", "CONFLICTED", "PODS", "VIRTUAL", "SPOT", "LOST", "DEGRADED"], &cells)
}

fn table_of(rows: &[Row], namespace: Option<&str>) -> String {
    if rows.is_empty() {
        let place = namespace.map_or_else(|| "the cluster".to_owned(), |name| format!("namespace {name}"));
        return format!("No ImageCache and no DataCache in {place}, and no EciProfile.\n");
    }
    let cells = rows.iter().map(|row| {
        let reason = row.trouble().first().or(row.condition("Ready").as_ref()).map(|c| c.reason.clone());
        let cloud = row.cloud.clone().map(|word| match row.progress {
            Some(percent) if percent < 100 => format!("{word} {percent}%"),
            _ => word,
        });
        let unknown = || UNKNOWN.to_owned();
        [
            row.kind.to_owned(),
            row.namespace.clone().unwrap_or_else(unknown),
            row.name.clone(),
            row.state().to_owned(),
            reason.unwrap_or_else(unknown),
            cloud.unwrap_or_else(unknown),
        ]
    });
    let cells: Vec<_> = cells.collect();
    let mut text = table::table(["KIND", "NAMESPACE", "NAME", "STATE", "REASON", "CLOUD"], &cells);
    for row in rows {
        for condition in row.trouble() {
            text.extend(["\n", &row.path(), ": ", &condition.message, " (", &condition.reason, ")\n"]);
        }
    }
    text
}

fn json_of(row: &Row) -> Value {
    let conditions: Vec<Value> = row
        .conditions
        .iter()
        .map(|c| json!({ "type": c.type_, "status": c.status, "reason": c.reason, "message": c.message }))
        .collect();
    json!({
        "kind": row.kind,
        "namespace": row.namespace,
        "name": row.name,
        "state": row.state(),
        "cloudStatus": row.cloud,
        "progressPercent": row.progress,
        "conditions": conditions,
        "counts": row.counts,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn row(conditions: &[(&str, &str)]) -> Row {
        let condition = |(kind, status): &(&str, &str)| Condition {
            type_: (*kind).to_owned(),
            status: (*status).to_owned(),
            reason: format!("Because{kind}"),
            message: format!("about {kind}"),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        };
        let meta =
            ObjectMeta { name: Some("web".into()), namespace: Some("shop".into()), ..ObjectMeta::default() };
        Row::new("ImageCache", meta, conditions.iter().map(condition).collect())
    }

    #[test]
    fn the_state_is_what_a_person_has_to_know_first() {
        for (conditions, state, told) in [
            (&[][..], "NotSeen", None),
            (&[("Ready", "True")], "Ready", None),
            (&[("Ready", "True"), ("Updating", "True")], "Updating", Some("Ready")),
            (&[("Ready", "False"), ("Reconciling", "True")], "Reconciling", Some("Ready")),
            (&[("Ready", "False")], "NotReady", Some("Ready")),
            (&[("Ready", "Unknown")], "Unknown", Some("Ready")),
            (&[("Ready", "True"), ("Stalled", "True")], "Stalled", Some("Stalled")),
            (&[("Ready", "True"), ("Paused", "True")], "Paused", Some("Ready")),
            (&[("Ready", "True"), ("EvictionReady", "False")], "Ready", Some("EvictionReady")),
            (&[("Ready", "True"), ("EvictionReady", "True"), ("Conflicted", "False")], "Ready", None),
            (&[("Ready", "True"), ("Conflicted", "True")], "Ready", Some("Conflicted")),
        ] {
            let row = row(conditions);
            let first = row.trouble().first().map(|condition| condition.type_.clone());
            assert_eq!((row.state(), first.as_deref()), (state, told), "{conditions:?}");
        }
    }

    #[test]
    fn what_is_wrong_stands_below_the_table() {
        let rows = [
            Row { cloud: Some("Creating".into()), progress: Some(40), ..row(&[("Ready", "False")]) },
            row(&[("Ready", "True")]),
        ];
        assert_eq!(
            table_of(&rows, None),
            "KIND         NAMESPACE   NAME   STATE      REASON         CLOUD\n\
             ImageCache   shop        web    NotReady   BecauseReady   Creating 40%\n\
             ImageCache   shop        web    Ready      BecauseReady   -\n\
             \n\
             ImageCache shop/web: about Ready (BecauseReady)\n"
        );
        assert_eq!(
            table_of(&[], Some("shop")),
            "No ImageCache and no DataCache in namespace shop, and no EciProfile.\n"
        );
    }
}
