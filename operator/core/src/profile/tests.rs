use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn profile(name: &str, spec: &Value) -> Profile {
    Profile {
        name: name.to_owned(),
        generation: 1,
        spec: Arc::new(serde_json::from_value(spec.clone()).unwrap()),
    }
}

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn mismatch(selector: &Value, namespace: &[(&str, &str)], pod: &[(&str, &str)]) -> Option<String> {
    let profiles = Profiles::new([profile("p", &json!({"selector": selector}))], "eci-system");
    let (namespace, pod) = (labels(namespace), labels(pod));
    let subject = Subject { namespace: "shop", namespace_labels: &namespace, labels: &pod };
    let mut tried = profiles.tried(subject);
    tried.next().unwrap().1.map(|mismatch| mismatch.to_string())
}

#[test]
fn the_first_clause_that_fails_is_told_with_what_was_found() {
    let pod = |expressions: Value| json!({"podSelector": {"matchExpressions": expressions}});
    for (selector, namespace, labels, told) in [
        (json!({"podSelector": {"matchLabels": {"app": "web"}}}), &[][..], &[("app", "web")][..], None),
        (
            json!({"podSelector": {"matchLabels": {"app": "web"}}}),
            &[],
            &[("app", "db")],
            Some(r#"spec.selector.podSelector: the pod's label app must be "web", but is "db""#),
        ),
        (
            json!({"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {"matchLabels": {"eci": "yes"}}}),
            &[],
            &[("app", "db")],
            Some(
                r#"spec.selector.namespaceSelector: the namespace's label eci must be "yes", but is absent"#,
            ),
        ),
        (
            pod(json!([{"key": "tier", "operator": "In", "values": ["a", "b"]}])),
            &[],
            &[],
            Some(r#"spec.selector.podSelector: the pod's label tier must be one of "a", "b", but is absent"#),
        ),
        (pod(json!([{"key": "tier", "operator": "NotIn", "values": ["a"]}])), &[], &[], None),
        (
            pod(json!([{"key": "tier", "operator": "NotIn", "values": ["1", "2", "3", "4", "5", "6"]}])),
            &[],
            &[("tier", "6")],
            Some(
                r#"spec.selector.podSelector: the pod's label tier must be none of "1", "2", "3", "4", "5" and 1 more, but is "6""#,
            ),
        ),
        (pod(json!([{"key": "tier", "operator": "Exists"}])), &[], &[("tier", "")], None),
        (
            pod(json!([{"key": "tier", "operator": "Exists"}])),
            &[],
            &[],
            Some("spec.selector.podSelector: the pod's label tier must be there, but is absent"),
        ),
        (
            pod(json!([{"key": "tier", "operator": "DoesNotExist"}])),
            &[],
            &[("tier", "x")],
            Some(r#"spec.selector.podSelector: the pod's label tier must not be there, but is "x""#),
        ),
    ] {
        assert_eq!(mismatch(&selector, namespace, labels).as_deref(), told, "{selector} {labels:?}");
    }
}

#[test]
fn no_profile_selects_what_is_the_systems_or_has_opted_out() {
    let all = json!({"selector": {"podSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}});
    let profiles = Profiles::new([profile("all", &all)], "eci-system");
    let (none, out) = (labels(&[]), labels(&[(INJECT_LABEL, INJECT_DISABLED)]));
    let on = labels(&[(INJECT_LABEL, "enabled")]);
    for (namespace, namespace_labels, labels, expected) in [
        ("shop", &none, &none, None),
        ("shop", &on, &on, None),
        ("kube-system", &none, &none, Some(Mismatch::SystemNamespace)),
        ("eci-system", &none, &none, Some(Mismatch::SystemNamespace)),
        ("shop", &none, &out, Some(Mismatch::PodOptedOut)),
        ("shop", &out, &none, Some(Mismatch::NamespaceOptedOut)),
    ] {
        let subject = Subject { namespace, namespace_labels, labels };
        let found: Vec<_> = profiles.tried(subject).map(|(_, mismatch)| mismatch).collect();
        assert_eq!(found.as_slice(), std::slice::from_ref(&expected), "{namespace}");
        assert_eq!(profiles.matching(subject).count(), usize::from(expected.is_none()));
    }
}

#[test]
fn priority_counts_before_the_name_and_only_enforced_profiles_change_something() {
    let all = json!({"podSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}});
    let spec = |priority: i32, mode: &str| json!({"selector": all, "priority": priority, "mode": mode});
    let profiles = Profiles::new(
        [
            profile("b", &spec(0, "Enforce")),
            profile("a", &spec(0, "Enforce")),
            profile("low", &spec(-5, "Enforce")),
            profile("audited", &spec(9, "Audit")),
            profile("off", &spec(10, "Disabled")),
        ],
        "eci-system",
    );
    let none = labels(&[]);
    let subject = Subject { namespace: "shop", namespace_labels: &none, labels: &none };
    let names = |of: Vec<&Profile>| of.into_iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(profiles.iter().collect()), ["off", "audited", "a", "b", "low"]);
    assert_eq!(names(profiles.matching(subject).collect()), ["audited", "a", "b", "low"]);
    assert_eq!(names(profiles.enforced(subject).collect()), ["a", "b", "low"]);
    assert_eq!(profiles.tried(subject).next().unwrap().1, Some(Mismatch::Disabled));
}

#[test]
fn a_profile_that_is_not_valid_has_no_effect_and_says_why() {
    let web = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    let mounts = json!([{"name": "a", "mountPath": "/models"}, {"name": "b", "mountPath": "/models/b"}]);
    let profiles = Profiles::new(
        [
            profile("good", &json!({"selector": web})),
            profile(
                "bad",
                &json!({"selector": web, "dataCaches": mounts, "effects": {"labels": {"tier": "x"}}}),
            ),
        ],
        "eci-system",
    );
    let (none, web) = (labels(&[]), labels(&[("app", "web")]));
    let subject = Subject { namespace: "shop", namespace_labels: &none, labels: &web };
    let names = |of: Vec<&Profile>| of.into_iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(profiles.matching(subject).collect()), ["good"]);
    assert_eq!(names(profiles.acting().collect()), ["good"]);
    assert_eq!(names(profiles.may_match(subject).collect()), ["good"]);
    assert!(profiles.given().is_empty(), "{:?}", profiles.given());
    let told = profiles.tried(subject).next().unwrap().1.unwrap().to_string();
    assert!(told.contains("not valid") && told.contains("/models/b"), "{told}");
    assert_eq!(profiles.refusal("bad").map(|(reason, _)| *reason), Some(ProfileReason::InvalidSpec));
    assert_eq!(profiles.refusal("good"), None);
}

proptest! {
    /// The order never depends on that of the list.
    #[test]
    fn the_order_is_a_matter_of_the_profiles_alone(
        priorities in prop::collection::vec(-2_i32..3, 1..8),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let all: Vec<_> = priorities
            .iter()
            .enumerate()
            .map(|(i, priority)| profile(&format!("p{i}"), &json!({"selector": {}, "priority": priority})))
            .collect();
        let mut turned = all.clone();
        turned.rotate_left(shuffle.index(all.len()));
        turned.reverse();
        let names = |of: Vec<Profile>| {
            Profiles::new(of, "eci-system").iter().map(|p| p.name.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(names(all), names(turned));
    }
}
