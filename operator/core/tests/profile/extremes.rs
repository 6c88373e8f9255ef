use std::sync::Arc;

use eci_core::profile::decide::{Moment, Namespace, World, decide, explain};
use eci_core::profile::{Labels, Profile, Profiles};
use serde_json::json;

use crate::scene::{pod, scene};

#[test]
fn a_profile_that_says_nothing_but_whom_it_selects_changes_nothing_but_the_mark() {
    let scene = scene(&json!({}));
    assert!(scene.added().is_empty());
    let (made, mut before) = (scene.result(), scene.pod.clone());
    assert_eq!(scene.mark().as_deref(), Some("p@3"));
    before.metadata.annotations.clone_from(&made.metadata.annotations);
    assert_eq!(made, before);
}

#[test]
fn of_ten_thousand_profiles_a_pod_gets_its_own() {
    let profile = |n: usize| Profile {
        name: format!("p{n:05}"),
        generation: 1,
        spec: Arc::new(
            serde_json::from_value(json!({
                "priority": n % 3,
                "selector": { "podSelector": { "matchLabels": { "app": format!("app-{n}") } } },
                "effects": { "annotations": { "example.com/a": format!("{n}") } },
            }))
            .unwrap(),
        ),
    };
    let profiles = Profiles::new((0..10_000).map(profile), "eci-system");
    let (labels, world) = (Labels::new(), World::default());
    let namespace = Namespace { name: "shop", labels: &labels };
    for n in [0, 4_321, 9_999] {
        let pod = pod(&json!({"metadata": {"labels": {"app": format!("app-{n}")}}}));
        let decision = decide(&profiles, &world, namespace, &pod, Moment::Creation);
        assert_eq!(decision.changes.len(), 2, "{:?}", decision.changes);
        assert!(format!("{:?}", decision.changes).contains(&format!("p{n:05}@1")));
        let tried = explain(&profiles, &world, namespace, &pod, Moment::Creation).tried;
        assert_eq!((tried.len(), tried.iter().filter(|tried| tried.mismatch.is_none()).count()), (10_000, 1));
    }
    let nobodys = decide(&profiles, &world, namespace, &pod(&json!({})), Moment::Creation);
    assert_eq!(nobodys.changes, []);
}
