//! Taking over a resource that exists, and every reason not to.

use std::collections::BTreeSet;

use eci_api::image_cache::DeletionPolicy;
use eci_core::cloud::Meaning;
use eci_core::cloud_resource::identity::{OWNERSHIP_TAGS, TAG_CLUSTER, TAG_RETAINED, TAG_UID};
use eci_core::cloud_resource::{Peer, Peers};
use jiff::SignedDuration;

use crate::said::remembered;
use crate::scene::{Scene, id, owner};

/// An object that is to take over imc-7, which nobody owns.
fn claimant() -> Scene {
    let mut t = Scene::new();
    t.desired.adopt = Some(id("imc-7"));
    t.has("uid-0", "imc-7", 1, "Ready");
    t.at("imc-7").tags = [("team".to_owned(), "shop".to_owned())].into();
    t.wants(|r| drop(r.tags.insert("team".into(), "shop".into())));
    t.unlisted.insert("imc-7".into());
    t
}

/// The same, after the tags were set and shown.
fn adopted() -> Scene {
    let mut t = claimant();
    assert_eq!(t.run(), "tag imc-7");
    t.unlisted.clear();
    t.ok();
    t.wait(5);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    t
}

/// Another object.
fn peer(uid: &str, older_by: i64) -> Peer {
    Peer {
        namespace: "other".into(),
        name: format!("of-{uid}"),
        uid: uid.into(),
        created: Scene::new().object.created - SignedDuration::from_secs(older_by),
        deleting: false,
        adopts: None,
        adopting: None,
        owns: BTreeSet::new(),
        claim: None,
    }
}

fn refused(reason: &str) -> String {
    format!("rest: !Ready({reason}) Stalled({reason}); wake 60s; Failed")
}

#[test]
fn what_nobody_owns_is_recorded_tagged_seen_and_usable() {
    let mut t = claimant();
    assert_eq!(
        t.story(),
        [
            "list",
            "read the namespace",
            "look at imc-7",
            "look at the others",
            "add finalizer",
            "look at the others",
            "write [adopting imc-7]",
            "look at the others",
            "tag imc-7"
        ]
    );
    assert_eq!(t.ok(), "rest: !Ready(Adopting) Reconciling(Adopting); wake 5s; busy; InProgress");
    assert_eq!(remembered(&t.record()), "adopting imc-7", "no list shows the tags yet");
    t.unlisted.clear();
    t.wait(6);
    let story = t.story();
    assert!(story.contains(&"write [current imc-7]".into()), "{story:#?}");
    assert_eq!(story.last().unwrap(), "rest: Ready(Available); Current");
    assert_eq!((t.record().last_attempt, t.made), (1, 0), "nothing was built");
    assert!(owner("uid-1").owns(&t.at("imc-7").tags));
}

#[test]
fn a_retained_resource_loses_the_mark() {
    let mut t = claimant();
    t.at("imc-7").tags.insert(TAG_RETAINED.into(), "c/ns/web".into());
    assert_eq!(t.run(), "tag imc-7");
    t.ok();
    assert!(!t.at("imc-7").tags.contains_key(TAG_RETAINED));
    assert_eq!(t.at("imc-7").tags["team"], "shop", "the user's tags stay");
}

#[test]
fn what_was_taken_over_lives_on_like_what_was_built() {
    let mut t = adopted();
    t.edit(|r| r.retention_days = Some(7));
    assert_eq!(t.run(), "update imc-7");
    t.ok();
    t.edit(|r| r.images = vec!["nginx:2".into()]);
    assert_eq!(t.run(), "create 2/1");

    let mut t = adopted();
    t.vanish("imc-7");
    t.wait(20);
    t.run();
    t.wait(61);
    assert_eq!(t.run(), "create 2/1", "adoption is over: it is built anew");
}

#[test]
fn the_deletion_policy_rules_what_was_taken_over() {
    for (policy, does) in
        [(DeletionPolicy::Delete, "delete imc-7 ObjectDeleted"), (DeletionPolicy::Retain, "release imc-7")]
    {
        let mut t = adopted();
        t.desired.deletion_policy = policy;
        t.delete();
        t.wait(10);
        assert_eq!(t.story().last().unwrap(), does);
        assert!(t.go_after_ok().contains(&"remove finalizer".into()));
    }
}

#[test]
fn a_namespace_without_the_label_takes_nothing_over_until_it_has_it() {
    let mut t = claimant();
    t.privileged = false;
    assert_eq!(t.run(), refused("NamespaceNotPrivileged"));
    let message = t.message("Stalled");
    assert!(
        message.contains("eci-operator.io/privileged=true") && message.contains("namespace ns"),
        "{message}"
    );
    assert!(!t.object.has_finalizer, "it owns nothing");
    t.privileged = true;
    t.wait(60);
    assert_eq!(t.run(), "tag imc-7");
}

#[test]
fn a_role_of_the_account_needs_the_label_at_every_build_and_takes_nothing_from_what_is_there() {
    let mut t = Scene::new();
    t.desired.privileged = Some("spec.acrInstances with a role ARN");
    t.privileged = false;
    assert_eq!(t.run(), refused("NamespaceNotPrivileged"));
    t.privileged = true;
    t.wait(60);
    assert_eq!(t.run(), "create 1/1");
    t.ok();
    t.becomes("imc-1", "Ready");
    t.privileged = false;
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    t.edit(|r| r.size_gib = 40);
    t.wait(10);
    let line = t.run();
    assert!(line.starts_with("rest: Ready(Available) Stalled(NamespaceNotPrivileged)"), "{line}");
}

#[test]
fn what_does_not_exist_is_looked_for_every_minute() {
    let mut t = claimant();
    t.unknown.insert("imc-7".into());
    assert_eq!(t.run(), refused("AdoptionNotFound"));
    assert!(t.message("Ready").contains("imc-7 in region r"));
    t.wait(60);
    assert_eq!(t.run(), refused("AdoptionNotFound"));
    t.unknown.clear();
    t.wait(60);
    assert_eq!(t.run(), "tag imc-7");
}

#[test]
fn a_look_that_fails_says_why() {
    let mut t = claimant();
    t.unknown.insert("imc-7".into());
    t.run();
    t.sleep(60);
    t.memory.look_failed(crate::scene::error(Meaning::Denied), &t.limits, t.now);
    let line = t.run();
    assert!(line.starts_with("rest: !Ready(PermissionDenied) Stalled(PermissionDenied)"), "{line}");
}

#[test]
fn other_images_another_size_or_a_failed_build_are_not_taken_over() {
    type Change = fn(&mut Scene);
    let cases: [(Change, &str); 3] = [
        (|t| t.at("imc-7").images = vec!["redis:7".into()], "its images are redis:7"),
        (|t| t.at("imc-7").size_gib = Some(50), "its size is 50Gi"),
        (|t| t.becomes("imc-7", "Failed"), "has failed"),
    ];
    for (change, says) in cases {
        let mut t = claimant();
        change(&mut t);
        assert_eq!(t.run(), refused("AdoptionMismatch"), "{says}");
        assert!(t.message("Ready").contains(says), "{}", t.message("Ready"));
        assert!(!t.object.has_finalizer);
    }
    // Another spelling is no other image.
    let mut t = claimant();
    t.at("imc-7").images = vec!["docker.io/library/nginx:1".into()];
    assert_eq!(t.run(), "tag imc-7");
}

#[test]
fn what_belongs_to_another_cluster_or_a_living_object_is_left_alone() {
    type Change = fn(&mut Scene);
    let cases: [(Change, &str); 5] = [
        (|t| drop(t.at("imc-7").tags.insert(TAG_CLUSTER.into(), "other".into())), "cluster other"),
        (|t| t.peers.all = vec![peer("uid-0", -5)], "ns/web by its tags"),
        (|t| t.peers.namespaces = Some(["elsewhere".to_owned()].into()), "ns/web by its tags"),
        (
            |t| {
                t.at("imc-7").tags.clear();
                t.peers.all = vec![Peer { owns: [id("imc-7")].into(), ..peer("uid-2", -5) }];
            },
            "other/of-uid-2",
        ),
        (
            |t| {
                t.at("imc-7").tags.clear();
                t.peers.all = vec![Peer { adopting: Some(id("imc-7")), ..peer("uid-2", -5) }];
            },
            "other/of-uid-2",
        ),
    ];
    for (change, says) in cases {
        let mut t = claimant();
        t.at("imc-7").tags = owner("uid-0").tags(1);
        change(&mut t);
        assert_eq!(t.run(), refused("AdoptionConflict"), "{says}");
        assert!(t.message("Ready").contains(says), "{}", t.message("Ready"));
        assert_eq!(remembered(&t.record()), "");
        // The other one goes.
        t.peers = Peers::default();
        t.at("imc-7").tags.clear();
        t.wait(60);
        assert_eq!(t.run(), "tag imc-7", "{says}");
    }
}

#[test]
fn what_belonged_to_an_object_that_is_gone_is_taken_over() {
    let mut t = claimant();
    t.at("imc-7").tags = owner("uid-0").tags(3);
    assert_eq!(t.run(), "tag imc-7");
}

#[test]
fn of_several_claimants_the_oldest_and_then_the_smaller_uid_wins() {
    for (uid, older_by, wins) in
        [("uid-9", 1, false), ("uid-9", 0, true), ("uid-0", 0, false), ("uid-0", -1, true)]
    {
        let mut t = claimant();
        t.peers.all = vec![Peer { adopts: Some(id("imc-7")), ..peer(uid, older_by) }];
        let line = t.run();
        let expected = if wins { "tag imc-7".to_owned() } else { refused("AdoptionConflict") };
        assert_eq!(line, expected, "{uid}, older by {older_by} s");
        if wins {
            continue;
        }
        // One that is being deleted, and has begun nothing, claims nothing.
        t.peers.all[0].deleting = true;
        t.wait(60);
        assert_eq!(t.run(), "tag imc-7");
    }
}

#[test]
fn an_adoption_that_was_begun_goes_before_an_older_claim_and_gives_way_to_an_owner() {
    let mut t = claimant();
    assert_eq!(t.run(), "tag imc-7");
    t.peers.all = vec![Peer { adopts: Some(id("imc-7")), ..peer("uid-0", 100) }];
    t.ok();
    t.unlisted.clear();
    t.peers.all[0] = Peer { owns: [id("imc-7")].into(), ..peer("uid-2", -100) };
    t.at("imc-7").tags = owner("uid-2").tags(1);
    t.wait(6);
    assert_eq!(t.story().last().unwrap(), &refused("AdoptionConflict"));
    assert_eq!(remembered(&t.record()), "");
    t.delete();
    t.wait(6);
    let story = t.story();
    assert_eq!(story.last().unwrap(), "remove finalizer", "{story:#?}");
    assert!(!story.iter().any(|pass| pass.contains("delete") || pass.contains("release")), "{story:#?}");
}

#[test]
fn a_lost_answer_of_the_tags_is_found_by_looking() {
    let mut t = claimant();
    assert_eq!(t.run(), "tag imc-7");
    t.unlisted.clear();
    let line = t.lose_the_answer();
    assert!(line.starts_with("rest: !Ready(CloudUnavailable)") || line.contains("Adopting"), "{line}");
    t.wait(6);
    let story = t.story();
    assert_eq!(story.last().unwrap(), "rest: Ready(Available); Current", "{story:#?}");
    assert!(!story.iter().any(|pass| pass == "tag imc-7"), "they are there: {story:#?}");
}

#[test]
fn another_process_goes_on_with_an_adoption_that_was_begun() {
    let mut t = claimant();
    assert_eq!(t.run(), "tag imc-7");
    t.effect();
    t.restart();
    t.unlisted.clear();
    t.wait(6);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
}

#[test]
fn an_adoption_that_was_not_finished_is_given_back_and_never_deleted() {
    for policy in [DeletionPolicy::Delete, DeletionPolicy::Retain] {
        let mut t = claimant();
        t.desired.deletion_policy = policy;
        assert_eq!(t.run(), "tag imc-7");
        t.effect();
        t.restart();
        t.unlisted.clear();
        t.delete();
        t.wait(6);
        let story = t.story();
        assert_eq!(story.last().unwrap(), "release imc-7", "{story:#?}");
        assert_eq!(t.ok(), "remove finalizer");
        let tags = &t.at("imc-7").tags;
        assert!(OWNERSHIP_TAGS.iter().all(|key| !tags.contains_key(*key)), "{tags:?}");
    }
}

#[test]
fn a_lost_status_deletes_nothing_that_was_to_be_taken_over() {
    let mut t = claimant();
    assert_eq!(t.run(), "tag imc-7");
    t.effect();
    t.restart();
    t.status = None;
    t.unlisted.clear();
    t.wait(100);
    let story = t.story();
    assert_eq!(story.last().unwrap(), "rest: Ready(Available); Current", "{story:#?}");
    assert!(!story.iter().any(|pass| pass.contains("delete")), "{story:#?}");
}

#[test]
fn what_another_cluster_took_meanwhile_is_neither_retagged_nor_deleted() {
    let mut t = adopted();
    t.at("imc-7").tags = owner("uid-1").tags(1);
    t.at("imc-7").tags.insert(TAG_CLUSTER.into(), "other".into());
    t.at("imc-7").tags.insert(TAG_UID.into(), "theirs".into());
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available) Stalled(AdoptionConflict); wake 60s; Failed");
    assert!(t.message("Stalled").contains("cluster other"));
    t.delete();
    t.wait(10);
    let story = t.story();
    assert_eq!(story.last().unwrap(), "remove finalizer", "{story:#?}");
}

#[test]
fn a_suspended_or_deleted_claimant_takes_nothing_over() {
    let mut t = claimant();
    t.desired.suspend = true;
    assert_eq!(t.run(), "rest: !Ready(Suspended) Paused(Suspended); InProgress");
    t.desired.suspend = false;
    t.delete();
    assert!(t.run().starts_with("rest: "));
}
