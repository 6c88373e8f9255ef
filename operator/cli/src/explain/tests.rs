use serde_json::{Value, json};

use eci_core::profile::decide::Winner;

use super::*;

fn profile(name: &str, spec: &Value) -> Profile {
    let mut whole = json!({ "selector": { "podSelector": { "matchLabels": { "app": "web" } } } });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Profile { name: name.to_owned(), generation: 3, spec: Arc::new(serde_json::from_value(whole).unwrap()) }
}

fn pod(of: &Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": "web-1", "namespace": "shop", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "main", "image": "web:1" }] },
    });
    json_patch::merge(&mut pod, of);
    serde_json::from_value(pod).unwrap()
}

fn known(profiles: Vec<Profile>) -> Known {
    Known {
        profiles,
        changed: BTreeMap::new(),
        operator_namespace: "eci-operator".to_owned(),
        nodes: VirtualNodes::default(),
        caches: Caches::new(),
        data_caches: DataCaches::new(),
        networkings: Vec::new(),
        claims: Claims::new(),
    }
}

#[test]
fn a_pod_networking_wins_over_profiles_and_is_named() {
    let network = json!({ "network": { "vSwitchIDs": ["vsw-a"] }, "placement": { "policy": "Fair" } });
    let mut known = known(vec![profile("base", &network)]);
    let winner = |known: &Known| {
        let winners = judged(known, &pod(&json!({}))).decision.winners;
        winners.into_iter().find(|(field, _)| field.to_string().contains("vSwitch")).map(|(_, winner)| winner)
    };
    assert_eq!(winner(&known), Some(Winner::Profile("base".to_owned())));
    let document = "{kind: PodNetworking, apiVersion: network.alibabacloud.com/v1beta1, metadata: {name: zone-b}, \
                    spec: {selector: {podSelector: {matchLabels: {app: web}}}, vSwitchOptions: [vsw-b]}, status: {status: Ready}}";
    let documents = manifest::parse("f", document).unwrap();
    known.networkings = documents.iter().filter_map(networkings::of_file).collect();
    assert_eq!(winner(&known), Some(Winner::PodNetworking("zone-b".to_owned())));
}

fn judged(known: &Known, pod: &Pod) -> Explained {
    judge(known, "shop", Labels::new(), pod).unwrap()
}

/// The pod as it is after admission, scheduled.
fn admitted(known: &Known, pod: &Pod) -> Pod {
    let labels: Labels = [(NAME_LABEL.to_owned(), "shop".to_owned())].into();
    let profiles = Profiles::new(known.profiles.iter().cloned(), "eci-operator");
    let of = Namespace { name: "shop", labels: &labels };
    let changes = decide(&profiles, &World::default(), of, pod, Moment::Creation).changes;
    let mut made = origin::apply(pod, &changes).unwrap();
    if let Some(spec) = made.spec.as_mut() {
        spec.node_name = Some("virtual-1".to_owned());
    }
    made
}

fn kinds() -> Vec<Profile> {
    vec![
        profile("fair", &json!({ "placement": { "policy": "Fair" } })),
        profile(
            "only",
            &json!({ "placement": { "policy": "VirtualNodesOnly" }, "spot": { "strategy": "SpotAsPriceGo", "protectionHours": 0 } }),
        ),
        profile("never", &json!({ "placement": { "policy": "RegularNodesOnly" } })),
        profile(
            "prefer",
            &json!({ "placement": { "policy": "PreferRegularNodes" }, "storage": { "extraEphemeral": "50Gi" } }),
        ),
        profile(
            "base",
            &json!({ "network": { "vSwitchIDs": ["vsw-a"], "securityGroupIDs": ["sg-a"] }, "effects": { "annotations": { "example.com/a": "1" }, "labels": { "tier": "x" } } }),
        ),
    ]
}

#[test]
fn what_profiles_added_to_a_pod_is_told_from_its_own_words() {
    let own = [
        json!({}),
        json!({ "metadata": { "annotations": { "k8s.aliyun.com/eci-spot-strategy": "SpotAsPriceGo", "example.com/b": "2" } } }),
        json!({ "metadata": { "annotations": { "k8s.aliyun.com/eci-vswitch": "vsw-own" } } }),
        json!({ "spec": { "tolerations": [{ "key": "other", "operator": "Exists" }] } }),
        json!({ "spec": { "tolerations": [{ "key": "virtual-kubelet.io/provider", "operator": "Exists" }] } }),
        json!({ "spec": { "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] } ] } } } } }),
    ];
    for profile in kinds() {
        let known = known(vec![profile.clone()]);
        for own in &own {
            let before = pod(own);
            let after = judged(&known, &admitted(&known, &before));
            let told = (&profile.name, own);
            assert!(after.exact, "{told:?}");
            let expected = judged(&known, &before).decision;
            assert_eq!(after.decision.winners, expected.winners, "{told:?}");
            assert_eq!(after.decision.changes, expected.changes, "{told:?}");
        }
    }
}

#[test]
fn a_pod_that_spilled_is_known_again() {
    let known = known(kinds().into_iter().filter(|profile| profile.name == "prefer").collect());
    let labels: Labels = [(NAME_LABEL.to_owned(), "shop".to_owned())].into();
    let profiles = Profiles::new(known.profiles.iter().cloned(), "eci-operator");
    let of = Namespace { name: "shop", labels: &labels };
    let mut created = admitted(&known, &pod(&json!({})));
    created.spec.as_mut().unwrap().node_name = None;
    let more = decide(&profiles, &World::default(), of, &created, Moment::Spill).changes;
    assert!(!more.is_empty());
    let explained = judged(&known, &origin::apply(&created, &more).unwrap());
    assert!(explained.exact && explained.decision.deferred);
    assert!(show::table(&explained).contains("profile prefer"), "{}", show::table(&explained));
    assert!(show::table(&explained).contains("50Gi"), "{}", show::table(&explained));
}

#[test]
fn a_pod_of_an_older_generation_is_told_from_one_of_this() {
    let old = known(vec![profile("base", &json!({ "storage": { "extraEphemeral": "50Gi" } }))]);
    let new = known(vec![profile("base", &json!({ "storage": { "extraEphemeral": "60Gi" } }))]);
    let made = admitted(&old, &pod(&json!({})));
    assert!(judged(&old, &made).exact);
    let explained = judged(&new, &made);
    // It could have said 50Gi itself, so the profile may be as it was; another image of it may not.
    assert_eq!(explained.made_with.as_deref(), Some("base@3"));
    let more =
        known(vec![profile("base", &json!({ "effects": { "annotations": { "example.com/new": "1" } } }))]);
    assert!(!judged(&more, &made).exact);
}

#[test]
fn the_table_says_who_decided_and_why_the_others_did_not() {
    let mut other =
        profile("other", &json!({ "selector": { "podSelector": { "matchLabels": { "app": "db" } } } }));
    other.generation = 0;
    let known = known(vec![
        profile("spot", &json!({ "priority": 10, "spot": { "strategy": "SpotAsPriceGo" } })),
        other,
        profile("later", &json!({ "mode": "Audit", "storage": { "extraEphemeral": "50Gi" } })),
    ]);
    let explained = judged(
        &known,
        &pod(&json!({ "metadata": { "annotations": { "k8s.aliyun.com/eci-spot-stratgy": "x" } } })),
    );
    assert_eq!(
        show::table(&explained),
        "Pod shop/web-1\n\
         \n\
         PROFILE   PRIORITY   MODE      APPLIES   WHY NOT\n\
         spot@3    10         Enforce   yes       -\n\
         later@3   0          Audit     yes       -\n\
         other     0          Enforce   no        spec.selector.podSelector: the pod's label app must be \"db\", but is \"web\"\n\
         \n\
         FIELD       DECIDED BY\n\
         spec.spot   profile spot\n\
         \n\
         CHANGE                                                   VALUE\n\
         metadata.annotations[k8s.aliyun.com/eci-spot-strategy]   SpotAsPriceGo\n\
         metadata.annotations[eci-operator.io/profiles]           spot@3\n\
         \n\
         Profile later is in mode Audit. In mode Enforce it would change this too:\n\
         \n\
         CHANGE                                                             VALUE\n\
         metadata.annotations[k8s.aliyun.com/eci-extra-ephemeral-storage]   50Gi\n\
         \n\
         Warning: annotation k8s.aliyun.com/eci-spot-stratgy is not known, and the virtual node ignores what it does not know: is k8s.aliyun.com/eci-spot-strategy meant?\n"
    );
    let json = show::json(&explained);
    assert_eq!(json["profiles"][2]["applies"], false);
    assert_eq!(json["fields"][0], json!({ "field": "spec.spot", "decidedBy": "Profile", "profile": "spot" }));
    assert_eq!(json["audits"][0]["profile"], "later");
    assert_eq!(json["warnings"][0]["severity"], "Warning");
}

#[test]
fn a_pod_that_was_missed_says_so_and_what_to_do() {
    let mut known = known(vec![
        profile("base", &json!({ "placement": { "policy": "Fair" } })),
        profile("spot", &json!({ "spot": { "strategy": "SpotAsPriceGo" } })),
        profile("audit", &json!({ "mode": "Audit", "spot": { "strategy": "SpotAsPriceGo" } })),
    ]);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    for name in ["base", "audit"] {
        known.changed.insert(name.to_owned(), at("2026-01-01T00:00:00Z"));
    }
    known.changed.insert("spot".to_owned(), at("2026-01-03T00:00:00Z"));
    let made = json!({ "metadata": { "creationTimestamp": "2026-01-02T00:00:00Z" } });
    let explained = judged(&known, &pod(&made));
    assert_eq!(explained.missed, ["base"], "spot is newer, and audit changes nothing");
    let text = show::table(&explained);
    assert!(
        text.contains("It was made without base, which was there before it")
            && text.contains("delete the pod"),
        "{text}"
    );
    let mut marked = made.clone();
    marked["metadata"]["annotations"] = json!({ "eci-operator.io/profiles": "base@3" });
    assert!(judged(&known, &pod(&marked)).missed.is_empty());
    let mut daemon = made;
    daemon["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true }]);
    assert!(judged(&known, &pod(&daemon)).missed.is_empty());
}

#[test]
fn virtual_nodes_are_where_they_are_said_to_be() {
    let mut known = known(vec![profile("only", &json!({ "placement": { "policy": "VirtualNodesOnly" } }))]);
    let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    known.nodes = VirtualNodes::of(&pair("kind", "virtual"), &pair("virtual", "yes")).unwrap();
    let text = show::table(&judged(&known, &pod(&json!({}))));
    assert!(text.contains(r#""key":"virtual""#) && !text.contains("virtual-kubelet"), "{text}");
}

#[test]
fn the_namespace_of_a_file_gives_its_labels() {
    let documents = manifest::parse(
        "f",
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: web}}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: bad, labels: {team: 3}}}",
    )
    .unwrap();
    assert_eq!(labels_in(&documents, "shop").unwrap()["team"], "web");
    assert!(labels_in(&documents, "none").unwrap().is_empty());
    assert!(labels_in(&documents, "bad").unwrap_err().to_string().contains("Namespace bad: metadata.labels"));
}
