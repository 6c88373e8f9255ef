//! The spec of a usable resource changes: replaced side by side, or changed in place.

use std::time::Duration;

use eci_api::image_cache::EliminationStrategy;
use eci_core::cloud::Meaning;
use eci_core::cloud_resource::RETIRING_LIMIT;

use crate::said::remembered;
use crate::scene::{Scene, id, minutes};

const READY: &str = "rest: Ready(Available); Current";

// Replacement.

#[test]
fn other_images_size_or_layers_need_a_replacement() {
    type Change = fn(&mut eci_api::image_cache::ImageCacheRequest);
    let changes: [Change; 3] =
        [|r| r.images.push("redis:7".into()), |r| r.size_gib = 40, |r| r.reuse_layers = Some(true)];
    for change in changes {
        let mut t = Scene::usable();
        t.edit(change);
        assert_eq!(t.story(), ["list", "write [op 2/1, current imc-1]", "create 2/1"]);
    }
}

#[test]
fn what_only_the_next_build_uses_is_no_reason_to_rebuild() {
    let mut t = Scene::usable();
    t.edit(|r| {
        r.v_switch_ids = vec!["vsw-2".into()];
        r.security_group_id = Some("sg-2".into());
        r.eip_instance_id = Some("eip-2".into());
        r.pull_secrets = vec!["login".into()];
        r.plain_http_registries = vec!["r.example.com".into()];
        r.insecure_registries = vec!["r.example.com".into()];
        r.flash = Some(true);
        r.reuse_layers = Some(false);
    });
    t.wait(10);
    assert_eq!(t.story(), [READY]);
}

#[test]
fn the_old_resource_is_ready_until_the_new_one_is_usable_and_is_then_deleted() {
    let mut t = Scene::replacing();
    assert!(t.message("Updating").contains("imc-2 to replace the current"));
    t.becomes("imc-2", "Ready");
    t.wait(10);
    let story = t.story();
    assert_eq!(story, ["write [current imc-2, retiring imc-1]", "delete imc-1 Superseded"]);
    let passes = t.go_after_ok();
    assert_eq!(passes, ["look at imc-1", "write [current imc-2]", READY]);
}

#[test]
fn an_old_resource_that_the_cloud_is_slow_to_delete_does_not_disturb_the_new_one() {
    let mut t = Scene::replacing();
    t.becomes("imc-2", "Ready");
    t.wait(10);
    t.run();
    t.fold(eci_core::cloud_resource::Outcome::Done);
    assert_eq!(t.run(), "rest: Ready(Available); wake 5s; busy; Current");
    t.wait(61);
    assert_eq!(t.run(), "delete imc-1 Superseded", "again after a minute");
}

#[test]
fn a_failed_successor_is_counted_and_retired_while_the_old_resource_serves() {
    let mut t = Scene::replacing();
    t.fail("imc-2");
    t.wait(10);
    let story = t.story();
    assert_eq!(story, ["write [current imc-1, retiring imc-2, failed 1]", "delete imc-2 Superseded"]);
    t.ok();
    t.wait(10);
    let line = t.run();
    assert!(
        line.starts_with("rest: Ready(Available) Reconciling(BuildFailed) Updating(BuildFailed); wake 2"),
        "{line}"
    );
    t.wait(minutes(5));
    assert_eq!(t.run(), "create 3/1");
}

#[test]
fn a_successor_that_the_spec_has_outrun_is_retired_at_once() {
    let mut t = Scene::replacing();
    t.edit(|r| r.images = vec!["nginx:3".into()]);
    t.wait(1);
    let story = t.story();
    assert_eq!(story[0], "write [current imc-1, retiring imc-2]");
    assert_eq!(story.last().unwrap(), "create 3/1");
    assert_eq!(t.call().request.images, ["nginx:3"]);
}

#[test]
fn an_edit_back_retires_the_successor_and_builds_nothing() {
    let mut t = Scene::replacing();
    t.edit(|r| r.images = vec!["nginx:1".into()]);
    t.wait(1);
    assert_eq!(t.story(), ["write [current imc-1, retiring imc-2]", "delete imc-2 Superseded"]);
    assert_eq!(t.ok(), READY);
}

#[test]
fn a_successor_that_vanishes_is_built_again_after_a_window() {
    let mut t = Scene::replacing();
    t.vanish("imc-2");
    for _ in 0..6 {
        t.wait(50);
        assert_eq!(t.run(), "rest: Ready(Available) Reconciling(Vanished); wake 5s; busy; InProgress");
    }
    t.wait(61);
    assert_eq!(t.run(), "create 3/1");
    t.made_next("imc-3");
    assert!(t.ok().starts_with("rest: Ready(Available) Reconciling(Replacing)"));
}

#[test]
fn a_successor_takes_over_when_the_old_resource_is_gone() {
    let mut t = Scene::replacing();
    t.vanish("imc-1");
    t.wait(10);
    t.run();
    t.wait(61);
    let story = t.story();
    assert!(story.contains(&"write [current imc-2, retiring imc-1]".into()), "{story:#?}");
    t.wait(10);
    assert!(t.run().starts_with("rest: !Ready(Building)"));
}

#[test]
fn a_resource_whose_change_in_place_failed_is_replaced() {
    let mut t = Scene::usable();
    t.becomes("imc-1", "UpdateFailed");
    t.wait(10);
    assert_eq!(t.run(), "create 2/1");
    assert_eq!(
        t.ok(),
        "rest: !Ready(Replacing) Reconciling(Replacing) Updating(Replacing); busy; InProgress"
    );
}

#[test]
fn one_that_may_not_be_deleted_keeps_no_other_from_its_end() {
    let mut t = Scene::replacing();
    t.edit(|r| r.images = vec!["nginx:3".into()]);
    t.wait(1);
    assert_eq!(t.run(), "create 3/1");
    t.ok();
    t.edit(|r| r.images = vec!["nginx:1".into()]);
    t.wait(1);
    let mut line = t.run();
    assert_eq!(line, "delete imc-2 Superseded");
    assert_eq!(t.record().retiring, [id("imc-2"), id("imc-3")]);
    for _ in 0..20 {
        if t.record().retiring == [id("imc-2")] {
            break;
        }
        line = match line.as_str() {
            "delete imc-2 Superseded" => t.fails(Meaning::Denied),
            "delete imc-3 Superseded" => t.ok(),
            _ => {
                t.wait(minutes(3));
                t.run()
            }
        };
    }
    assert_eq!(t.record().retiring, [id("imc-2")], "{line}");
    // And the refused one goes when it may.
    t.wait(minutes(3));
    assert_eq!(t.run(), "delete imc-2 Superseded");
    assert_eq!(t.ok(), READY);
}

#[test]
fn while_many_resources_wait_for_their_deletion_nothing_more_is_built() {
    let mut t = Scene::usable();
    for n in 2..=(RETIRING_LIMIT + 1) {
        t.edit(|r| r.images = vec![format!("nginx:{n}")]);
        t.wait(600);
        let line = t.run();
        if line.starts_with("delete") {
            t.fails(Meaning::Denied);
            t.wait(1);
            assert!(t.run().starts_with("create"), "{line}");
        } else {
            assert!(line.starts_with("create"), "{line}");
        }
        t.ok();
        let id = format!("imc-{}", t.made);
        t.becomes(&id, "Ready");
        t.wait(1);
        t.run();
        if t.last.next != eci_core::cloud_resource::Next::Rest {
            t.fails(Meaning::Denied);
        }
    }
    assert_eq!(t.record().retiring.len(), RETIRING_LIMIT);
    t.edit(|r| r.images = vec!["nginx:last".into()]);
    t.wait(1);
    let line = t.run();
    assert!(line.starts_with("rest: Ready(Available) Stalled(PermissionDenied)"), "{line}");
    // Nothing stands in the way any more: the oldest goes first, then there is room.
    t.wait(600);
    assert_eq!(t.run(), "delete imc-1 Superseded");
    assert!(t.go_after_ok().contains(&format!("create {}/1", RETIRING_LIMIT + 2)));
}

// In place.

/// A usable resource whose retention is about to be changed in the cloud.
fn about_to_update() -> Scene {
    let mut t = Scene::usable();
    t.edit(|r| r.retention_days = Some(7));
    assert_eq!(t.story(), ["write [current imc-1 updating]", "update imc-1"]);
    t
}

#[test]
fn a_change_in_place_is_recorded_as_begun_sent_and_recorded_as_done() {
    let mut t = about_to_update();
    assert_eq!(t.go_after_ok(), ["write [current imc-1]", READY]);
    let current = t.record().current.unwrap();
    assert_eq!((current.request.retention_days, current.generation), (Some(7), 2));
}

#[test]
fn every_field_that_can_be_is_changed_in_place() {
    type Change = fn(&mut eci_api::image_cache::ImageCacheRequest);
    let changes: [Change; 6] = [
        |r| r.retention_days = Some(7),
        |r| r.elimination_strategy = Some(EliminationStrategy::Lru),
        |r| r.standard_copies = Some(2),
        |r| r.flash_copies = Some(2),
        |r| r.resource_group_id = Some("rg-2".into()),
        |r| drop(r.tags.insert("team".into(), "web".into())),
    ];
    for change in changes {
        let mut t = Scene::usable();
        t.edit(change);
        assert_eq!(t.run(), "update imc-1");
        t.ok();
        t.wait(minutes(10));
        assert_eq!(t.run(), READY, "and not again");
    }
}

#[test]
fn a_field_that_is_taken_back_is_no_change() {
    let mut t = about_to_update();
    t.ok();
    t.edit(|r| r.retention_days = None);
    assert_eq!(t.run(), READY);
}

#[test]
fn a_change_whose_answer_is_lost_is_sent_again_even_after_an_edit_back() {
    let mut t = about_to_update();
    assert_eq!(
        t.lose_the_answer(),
        "rest: Ready(Available) Reconciling(CloudUnavailable) Updating(CloudUnavailable); wake 1s; InProgress"
    );
    t.edit(|r| r.retention_days = Some(3));
    t.wait(2);
    assert_eq!(t.run(), "update imc-1");
    t.restart();
    t.edit(|r| r.retention_days = None);
    assert_eq!(t.run(), "update imc-1", "another process knows as well that it is not confirmed");
    assert_eq!(t.ok(), READY);
}

#[test]
fn while_the_cloud_changes_the_resource_it_is_not_ready() {
    let mut t = about_to_update();
    t.becomes("imc-1", "Updating");
    t.ok();
    t.wait(10);
    assert_eq!(t.run(), "rest: !Ready(UpdateInProgress) Updating(UpdateInProgress); busy; InProgress");
    t.becomes("imc-1", "Ready");
    t.wait(10);
    assert_eq!(t.run(), READY);
}

#[test]
fn a_change_that_the_cloud_refuses_leaves_the_resource_ready() {
    let mut t = about_to_update();
    assert_eq!(t.fails(Meaning::Invalid), "rest: Ready(Available) Stalled(CloudRefused); wake 300s; Failed");
    t.wait(301);
    assert_eq!(t.run(), "update imc-1");
    assert_eq!(
        t.fails(Meaning::Busy),
        "rest: Ready(Available) Reconciling(CloudBusy) Updating(CloudBusy); wake 2s; InProgress"
    );
}

// Drift.

#[test]
fn a_list_that_lags_behind_a_change_is_no_drift() {
    let mut t = Scene::usable();
    t.edit(|r| drop(r.tags.insert("team".into(), "web".into())));
    assert_eq!(t.run(), "update imc-1");
    // Accepted, and not yet shown.
    t.fold(eci_core::cloud_resource::Outcome::Done);
    assert_eq!(t.run(), "rest: Ready(Available); wake 60s; Current");
    t.at("imc-1").tags.insert("team".into(), "web".into());
    t.wait(61);
    assert_eq!(t.run(), READY);
}

#[test]
fn what_somebody_else_changed_is_changed_back_ever_more_rarely() {
    let mut t = Scene::usable_with(|r| drop(r.tags.insert("team".into(), "web".into())));
    t.wait(600);
    t.at("imc-1").tags.insert("team".into(), "other".into());
    t.wait(1);
    assert_eq!(t.story(), ["write [current imc-1 updating]", "update imc-1"]);
    for wait in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
        // The cloud takes the call and shows no effect.
        t.fold(eci_core::cloud_resource::Outcome::Done);
        assert_eq!(t.run(), format!("rest: Ready(Available); wake {wait}s; Current"));
        t.wait(wait - 1);
        assert_eq!(t.run(), "rest: Ready(Available); wake 1s; Current");
        t.wait(2);
        assert_eq!(t.run(), "update imc-1");
    }
}

#[test]
fn a_drift_long_after_the_last_one_is_corrected_as_soon_as_the_first() {
    let mut t = Scene::usable_with(|r| drop(r.tags.insert("team".into(), "web".into())));
    for _ in 0..5 {
        t.wait(86_400);
        assert_eq!(t.run(), READY);
        t.at("imc-1").tags.insert("team".into(), "other".into());
        t.wait(61);
        assert_eq!(t.run(), "update imc-1");
        t.ok();
    }
}

#[test]
fn what_the_cloud_adds_by_itself_is_no_drift() {
    let mut t = Scene::usable();
    t.at("imc-1").tags.insert("acs:some".into(), "tag".into());
    t.at("imc-1").elimination_strategy = Some("LRU".into());
    t.wait(600);
    assert_eq!(t.run(), READY);
}

#[test]
fn ownership_tags_that_are_gone_are_set_again_at_most_once_a_minute() {
    let mut t = Scene::usable();
    t.at("imc-1").tags.clear();
    t.wait(10);
    assert_eq!(t.run(), "tag imc-1");
    t.fold(eci_core::cloud_resource::Outcome::Done);
    assert_eq!(t.run(), READY);
    t.wait(61);
    assert_eq!(t.run(), "tag imc-1");
    assert_eq!(t.last.wake, None::<Duration>);
    assert_eq!(remembered(&t.record()), "current imc-1");
}
