//! For which pods the API server asks: never for fewer than profiles select, and never for those that nobody may touch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;

use eci_core::admission::configuration::{Frame, Target, contains, mutating, validating};
use eci_core::admission::entries::{
    Entries, Entry, FAIL_LIMIT, Failure, IGNORE_LIMIT, Reach, entries, matches,
};
use eci_core::profile::nodes::VirtualNodes;
use eci_core::profile::{Labels, Profile, Profiles, Subject};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const OWN: &str = "eci-system";

fn profile(name: &str, spec: &Value) -> Profile {
    let spec = serde_json::from_value(spec.clone()).unwrap();
    Profile { name: name.to_owned(), generation: 1, spec: Arc::new(spec) }
}

fn profiles(specs: &[Value]) -> Profiles {
    Profiles::new(specs.iter().enumerate().map(|(i, spec)| profile(&format!("p{i:04}"), spec)), OWN)
}

fn reach() -> Reach {
    Reach { own_namespace: OWN.to_owned(), namespaces: vec![] }
}

/// The selector of pods with this label in namespaces with that one.
fn both(namespace: &str, pod: &str) -> Value {
    json!({ "selector": {
        "namespaceSelector": {"matchLabels": {"team": namespace}},
        "podSelector": {"matchLabels": {"app": pod}},
    } })
}

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn in_namespace(name: &str, more: &[(&str, &str)]) -> Labels {
    let mut all = labels(more);
    all.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    all
}

fn asks(entry: &Entry, namespace: &Labels, pod: &Labels) -> bool {
    matches(&entry.namespaces, namespace) && matches(&entry.objects, pod)
}

/// The entries of profiles and data caches. Those of virtual nodes are the same for all.
fn asked(profiles: &Profiles, reach: &Reach) -> Entries {
    let mut found = entries(profiles, &VirtualNodes::default(), reach);
    // Before those of profiles, which add what these look for.
    let of_nodes: Vec<_> = found.pods.drain(1..4).collect();
    assert_eq!(of_nodes, entries(&Profiles::default(), &VirtualNodes::default(), reach).pods[1..]);
    found
}

fn of(found: &Entries, failure: Failure) -> Vec<&Entry> {
    found.pods.iter().filter(|e| e.failure == failure && e.condition.is_none()).collect()
}

#[test]
fn an_entry_asks_for_what_its_profile_selects_and_for_nothing_that_is_nobodys() {
    let found = asked(&profiles(&[both("shop", "web")]), &reach());
    let [entry] = of(&found, Failure::Ignore)[..] else { panic!("{found:?}") };
    let pod = labels(&[("app", "web")]);
    assert!(asks(entry, &in_namespace("a", &[("team", "shop")]), &pod));
    assert!(!asks(entry, &in_namespace("a", &[("team", "other")]), &pod));
    assert!(!asks(entry, &in_namespace("a", &[("team", "shop")]), &labels(&[("app", "db")])));
    for name in ["kube-system", "kube-public", "kube-node-lease", OWN] {
        assert!(!asks(entry, &in_namespace(name, &[("team", "shop")]), &pod), "{name}");
    }
    let out = ("eci-operator.io/inject", "disabled");
    assert!(!asks(entry, &in_namespace("a", &[("team", "shop"), out]), &pod));
    assert!(!asks(entry, &in_namespace("a", &[("team", "shop")]), &labels(&[("app", "web"), out])));
}

#[test]
fn without_profiles_only_pods_that_ask_for_data_caches_are_asked_about() {
    for specs in
        [vec![], vec![json!({"mode": "Audit", "selector": {"podSelector": {"matchLabels": {"a": "b"}}}})]]
    {
        let found = asked(&profiles(&specs), &reach());
        let [only] = &found.pods[..] else { panic!("{found:?}") };
        assert_eq!(only.failure, Failure::Fail);
        let (_, expression) = only.condition.as_ref().unwrap();
        assert!(expression.starts_with("has(object.metadata.annotations) && "), "{expression}");
        assert!(!expression.contains("namespaceObject"));
    }
}

#[test]
fn the_same_selectors_are_one_entry_however_they_are_written() {
    let expressions = json!({ "selector": {
        "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop"]}]},
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]},
    }, "priority": 7 });
    let found = asked(&profiles(&[both("shop", "web"), expressions, both("shop", "db")]), &reach());
    assert_eq!(of(&found, Failure::Ignore).len(), 2);
    let wider = json!({ "selector": {"namespaceSelector": {"matchLabels": {"team": "shop"}}} });
    let found = asked(&profiles(&[both("shop", "web"), wider, both("shop", "db")]), &reach());
    assert_eq!(of(&found, Failure::Ignore).len(), 1, "what another one covers is left out");
}

#[test]
fn many_profiles_are_merged_by_namespace_and_then_by_label() {
    // 40 of one team and one of each of 20 others: only the one team gets wider.
    let mut specs: Vec<_> = (0..40).map(|i| both("big", &format!("app-{i}"))).collect();
    specs.extend((0..20).map(|i| both(&format!("team-{i}"), "web")));
    let found = asked(&profiles(&specs), &reach());
    let ignore = of(&found, Failure::Ignore);
    assert_eq!(ignore.len(), 21);
    let strange = labels(&[("app", "strange")]);
    assert!(ignore.iter().any(|e| asks(e, &in_namespace("n", &[("team", "big")]), &strange)));
    assert!(!ignore.iter().any(|e| asks(e, &in_namespace("n", &[("team", "team-3")]), &strange)));
    // One of each of 500 teams: one entry for all of these, and none for others.
    let specs: Vec<_> = (0..500).map(|i| both(&format!("team-{i}"), "web")).collect();
    let found = asked(&profiles(&specs), &reach());
    let ignore = of(&found, Failure::Ignore);
    assert_eq!(ignore.len(), 1);
    assert!(asks(ignore[0], &in_namespace("n", &[("team", "team-499")]), &strange));
    assert!(!asks(ignore[0], &in_namespace("n", &[("team", "team-500")]), &strange));
    // 10,000 that have nothing in common: all namespaces, but never those of Kubernetes.
    let each = |i| {
        json!({ "selector": {"namespaceSelector": {"matchExpressions": [
            {"key": format!("k{i}"), "operator": "DoesNotExist"}]}} })
    };
    let found = asked(&profiles(&(0..10_000).map(each).collect::<Vec<_>>()), &reach());
    let ignore = of(&found, Failure::Ignore);
    assert_eq!(ignore.len(), 1);
    assert!(asks(ignore[0], &in_namespace("n", &[]), &strange));
    assert!(!asks(ignore[0], &in_namespace("kube-system", &[]), &strange));
}

#[test]
fn profiles_with_data_caches_are_never_merged_and_those_beyond_the_limit_are_named() {
    let with_data = |i: usize| {
        let mut spec = both("shop", &format!("app-{i}"));
        spec["dataCaches"] = json!([{"mountPath": "/model", "name": "model"}]);
        spec
    };
    let found = asked(&profiles(&(0..40).map(with_data).collect::<Vec<_>>()), &reach());
    let fail = of(&found, Failure::Fail);
    assert_eq!((fail.len(), found.unguarded.len()), (FAIL_LIMIT, 8));
    assert_eq!((found.unguarded[0].as_str(), of(&found, Failure::Ignore).len()), ("p0032", 8));
    let shop = in_namespace("n", &[("team", "shop")]);
    assert!(!fail.iter().any(|e| asks(e, &shop, &labels(&[("app", "other")]))));
}

#[test]
fn a_label_that_profiles_give_does_not_keep_the_api_server_from_asking() {
    // A pod that has the label from the start gets both profiles, as one that gets it does.
    let gives = json!({ "selector": {"podSelector": {"matchLabels": {"app": "web"}}},
        "effects": {"labels": {"tier": "spot"}} });
    let without = json!({ "selector": {"podSelector": {"matchExpressions": [
        {"key": "tier", "operator": "NotIn", "values": ["spot", "gold"]},
        {"key": "app", "operator": "Exists"}]}} });
    let found = asked(&profiles(&[gives, without]), &reach());
    let ignore = of(&found, Failure::Ignore);
    let any = |pod: &[(&str, &str)]| ignore.iter().any(|e| asks(e, &in_namespace("n", &[]), &labels(pod)));
    assert!(any(&[("app", "db"), ("tier", "spot")]));
    assert!(!any(&[("app", "db"), ("tier", "gold")]));
}

#[test]
fn an_operator_for_some_namespaces_is_asked_about_no_others() {
    let reach = Reach { namespaces: vec!["team-a".into()], ..reach() };
    let found = asked(&profiles(&[both("shop", "web")]), &reach);
    for entry in &found.pods {
        assert!(!matches(&entry.namespaces, &in_namespace("team-b", &[("team", "shop")])), "{entry:?}");
    }
    assert!(matches(&found.pods[1].namespaces, &in_namespace("team-a", &[("team", "shop")])));
}

#[test]
fn configurations_say_every_field_so_that_a_change_of_one_is_seen() {
    let frame = Frame {
        name: "eci-operator-x".into(),
        owner: None,
        target: Target::Service { namespace: OWN.into(), name: "hook".into() },
        ca_bundle: "PEM".into(),
    };
    let found = asked(&profiles(&[both("shop", "web")]), &reach());
    let pods = serde_json::to_value(mutating(&frame, &found)).unwrap();
    let names: BTreeSet<_> = found.pods.iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), found.pods.len());
    for webhook in pods["webhooks"].as_array().unwrap() {
        assert_eq!(webhook["rules"][0]["operations"], json!(["CREATE"]));
        assert_eq!(webhook["rules"][0]["resources"], json!(["pods"]), "no subresource");
        assert_eq!(
            (&webhook["reinvocationPolicy"], &webhook["timeoutSeconds"]),
            (&json!("IfNeeded"), &json!(3))
        );
        assert_eq!(webhook["clientConfig"]["service"]["path"], "/pods");
    }
    let checks = serde_json::to_value(validating(&frame, &reach())).unwrap();
    assert_eq!(checks["webhooks"][0]["failurePolicy"], "Ignore");
    assert!("eci-operator-x" < "vk-webhook");
    // What the server adds is no difference; what somebody changed is.
    let mut actual = pods.clone();
    actual["metadata"]["uid"] = json!("1");
    assert!(contains(&actual, &pods));
    actual["webhooks"][1]["failurePolicy"] = json!("Fail");
    assert!(!contains(&actual, &pods));
    let mut fewer = pods.clone();
    fewer["webhooks"].as_array_mut().unwrap().pop();
    assert!(!contains(&fewer, &pods) && !contains(&pods, &fewer));
}

fn some_labels() -> impl Strategy<Value = Labels> {
    let key = select(vec!["a", "b", "c", "eci-operator.io/inject"]).prop_map(str::to_owned);
    btree_map(key, select(vec!["1", "2", "disabled"]).prop_map(str::to_owned), 0..4)
}

fn selector() -> impl Strategy<Value = Value> {
    let values = vec(select(vec!["1", "2", "3"]), 1..3);
    let operator = select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
    let expression = (select(vec!["a", "b", "c"]), operator, values).prop_map(|(key, operator, values)| {
        let values = if operator.ends_with("In") { values } else { vec![] };
        json!({"key": key, "operator": operator, "values": values})
    });
    let labels = btree_map(select(vec!["a", "b"]), select(vec!["1", "2"]), 0..2);
    (vec(expression, 0..3), labels)
        .prop_map(|(expressions, labels)| json!({"matchExpressions": expressions, "matchLabels": labels}))
}

fn any_spec() -> impl Strategy<Value = Value> {
    let mode = select(vec!["Enforce", "Enforce", "Enforce", "Audit", "Disabled"]);
    let given = btree_map(select(vec!["a", "b", "c"]), select(vec!["1", "2"]), 0..2);
    (selector(), selector(), mode, given, 0..4).prop_map(|(namespaces, pods, mode, given, data)| {
        let mut spec = json!({"mode": mode, "effects": {"labels": given},
            "selector": {"namespaceSelector": namespaces, "podSelector": pods}});
        if data == 0 {
            spec["dataCaches"] = json!([{"mountPath": "/model", "name": "model"}]);
        }
        spec
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_profile_selects_is_asked_about(
        specs in vec(any_spec(), 0..60),
        subjects in vec((select(vec!["n", "kube-system", OWN]), some_labels(), some_labels()), 30),
    ) {
        let all = profiles(&specs);
        let found = asked(&all, &reach());
        prop_assert!(of(&found, Failure::Ignore).len() <= IGNORE_LIMIT);
        prop_assert!(of(&found, Failure::Fail).len() <= FAIL_LIMIT);
        for (name, mut namespace, pod) in subjects {
            namespace.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
            let subject = Subject { namespace: name, namespace_labels: &namespace, labels: &pod };
            let asked = |failure| of(&found, failure).iter().any(|entry| asks(entry, &namespace, &pod));
            if all.enforced(subject).next().is_some() {
                prop_assert!(asked(Failure::Ignore) || asked(Failure::Fail), "{name} {namespace:?} {pod:?}");
            }
            let guarded = |profile: &Profile| {
                !profile.spec.data_caches.is_empty() && !found.unguarded.contains(&profile.name)
            };
            if all.enforced(subject).any(guarded) {
                prop_assert!(asked(Failure::Fail), "{name} {namespace:?} {pod:?}");
            }
            if [OWN, "kube-system"].contains(&name) {
                prop_assert!(!asked(Failure::Ignore) && !asked(Failure::Fail));
            }
        }
    }
}
