//! `kubectl eci status`.

use std::time::Duration;

use eci_e2e::stack::{Stack, StackOptions};
use serde_json::{Value, json};

use crate::Kubectl;

const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn what_is_well_is_one_line_and_what_is_not_has_a_sentence() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let caches = stack.namespace("shop").await.unwrap();
    caches.create("good", json!({ "images": ["registry.example.com/web:1"] })).await.unwrap();
    caches.create("bad", json!({ "images": ["registry.example.com/nonexistent:1"] })).await.unwrap();
    caches.says("good", "True", "Available", PATIENCE).await.unwrap();
    caches.says("bad", "False", "BuildFailed", PATIENCE).await.unwrap();

    let kubectl = Kubectl::new().with("KUBECONFIG", stack.plane().kubeconfig_path().to_str().unwrap());
    let shown = kubectl.run(&["eci", "status", "-A"]).await.ok();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
        line.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("good"), ["ImageCache", "shop", "good", "Ready", "Available", "Ready"], "{shown}");
    assert_eq!(line("bad")[..5], ["ImageCache", "shop", "bad", "Reconciling", "BuildFailed"], "{shown}");
    assert!(shown.contains("\nImageCache shop/bad: ") && shown.contains("(BuildFailed)"), "{shown}");
    assert!(!shown.contains("\nImageCache shop/good: "), "{shown}");

    let shown = kubectl.run(&["eci", "status", "-n", "shop", "-o", "json"]).await.ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let states: Vec<_> =
        shown["objects"].as_array().unwrap().iter().map(|o| (&o["name"], &o["state"])).collect();
    assert_eq!(states, [(&json!("bad"), &json!("Reconciling")), (&json!("good"), &json!("Ready"))]);
    let none = kubectl.run(&["eci", "status"]).await.ok();
    assert_eq!(none, "No ImageCache and no DataCache in namespace default, and no EciProfile.\n");
}
