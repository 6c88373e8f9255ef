//! What hurt the users of other webhooks, and what a webhook must bear: each with the tests that show that it does not
//! happen here. The tests are held to exist; what they show is theirs to show.

use std::fs;
use std::path::Path;

/// Faults of the vendor's open-source component and of the webhooks of others, by what happened there; then what may come
/// in. Each with tests as `file::name`.
const HELD: &[(&str, &[&str])] = &[
    // The vendor's open-source component.
    (
        "the key of its authority is the same in every installation, and public",
        &["operator/src/webhook/certificate.rs::every_installation_has_an_authority_of_its_own"],
    ),
    (
        "certificates of one's own cannot be given",
        &["operator/src/webhook/certificate.rs::files_of_others_are_read_and_broken_ones_told_apart"],
    ),
    (
        "pods are placed when they are created only if they name a node already",
        &[
            "e2e/tests/placement/policies.rs::pods_go_where_their_policy_says_and_daemon_sets_stay_where_they_are",
        ],
    ),
    (
        "a pod's own nodeSelector, affinity or annotations are overwritten",
        &[
            "operator/core/tests/profile/properties.rs::nothing_of_the_pod_is_lost",
            "operator/core/tests/profile/tables.rs::virtual_nodes_only_keeps_what_the_pod_asks_of_nodes",
            "operator/core/tests/profile/tables.rs::a_pod_that_says_anything_of_a_unit_keeps_all_of_it",
            "e2e/tests/admission/effects.rs::pods_of_a_deployment_get_what_profiles_say_and_keep_what_they_say_themselves",
        ],
    ),
    (
        "a selector without effect or policy makes it crash again and again",
        &[
            "operator/core/tests/profile/extremes.rs::a_profile_that_says_nothing_but_whom_it_selects_changes_nothing_but_the_mark",
        ],
    ),
    (
        "kind and client disagree about namespaces, kind and documentation about the version",
        &["e2e/tests/manifests/main.rs::every_example_and_every_valid_edge_is_accepted_without_a_warning"],
    ),
    (
        "pods/binding is hooked, and a failed read keeps pods from being scheduled",
        &[
            "operator/core/tests/admission/main.rs::configurations_say_every_field_so_that_a_change_of_one_is_seen",
        ],
    ),
    (
        "a limit is in the schema and nowhere else",
        &[
            "e2e/tests/placement/limits.rs::limits_hold_under_a_crowd_and_the_death_of_the_leader_and_a_restart_forgets_nobody",
        ],
    ),
    (
        "of two selectors with one priority either may win",
        &[
            "operator/core/src/profile/tests.rs::priority_counts_before_the_name_and_only_enforced_profiles_change_something",
            "operator/core/src/profile/tests.rs::the_order_is_a_matter_of_the_profiles_alone",
        ],
    ),
    (
        "conflicts are silent",
        &[
            "operator/core/tests/profile/cluster.rs::equal_priority_and_different_values_of_one_field_are_a_conflict",
        ],
    ),
    (
        "what changes at binding changes again with every try",
        &["operator/core/tests/profile/properties.rs::a_second_time_changes_nothing"],
    ),
    (
        "every pod of the cluster waits for it, whether a selector is about it or not",
        &[
            "operator/core/tests/admission/main.rs::an_entry_asks_for_what_its_profile_selects_and_for_nothing_that_is_nobodys",
            "operator/core/tests/admission/main.rs::whatever_a_profile_selects_is_asked_about",
        ],
    ),
    (
        "one replica answers, and nobody while it is gone",
        &["e2e/tests/admission/clients.rs::a_standby_answers_as_the_leader_does"],
    ),
    (
        "nobody says why a pod got what it got",
        &[
            "operator/core/tests/profile/tables.rs::every_profile_says_why_it_does_not_apply",
            "operator/cli/src/explain/tests.rs::the_table_says_who_decided_and_why_the_others_did_not",
        ],
    ),
    (
        "the label of the vendor passes over the pod's own words for the scheduler",
        &[
            "operator/core/tests/profile/rules.rs::each_rule_finds_what_virtual_nodes_cannot_do_and_nothing_else",
        ],
    ),
    (
        "disks that are made late never come on virtual nodes",
        &[
            "e2e/tests/placement/zones.rs::a_disk_is_made_for_the_virtual_node_that_the_scheduler_chose",
            "operator/core/tests/profile/rules.rs::what_is_known_of_a_claim_makes_a_warning_certain_or_takes_it_away",
        ],
    ),
    // The webhooks of others.
    (
        "after all nodes are lost the pods of the system are not made, and the cluster never comes back",
        &[
            "e2e/tests/admission/effects.rs::nobody_is_touched_who_opted_out_and_no_namespace_of_the_system",
            "e2e/tests/admission/down.rs::a_dead_operator_keeps_only_those_pods_away_that_need_their_data",
        ],
    ),
    (
        "its own pod waits for it, or the pod of another webhook that it waits for",
        &[
            "operator/core/tests/admission/main.rs::an_entry_asks_for_what_its_profile_selects_and_for_nothing_that_is_nobodys",
            "e2e/tests/admission/down.rs::a_dead_operator_keeps_only_those_pods_away_that_need_their_data",
        ],
    ),
    (
        "a webhook that hangs makes every create of a pod time out, though it may be ignored",
        &["e2e/tests/admission/down.rs::a_dead_operator_keeps_only_those_pods_away_that_need_their_data"],
    ),
    (
        "nothing works until somebody deletes the configuration of a webhook that was uninstalled",
        &["e2e/tests/admission/down.rs::a_dead_operator_keeps_only_those_pods_away_that_need_their_data"],
    ),
    (
        "answers are lost while certificates are replaced",
        &["e2e/tests/admission/rotation.rs::no_question_is_lost_while_authorities_come_and_go"],
    ),
    // What may come in.
    (
        "invalid selectors, a price limit without its strategy, four decimals, unknown words, system namespaces, mounts inside each other",
        &[
            "operator/core/tests/profile/cluster.rs::what_is_wrong_with_a_profile_is_said_when_it_is_written",
            "e2e/tests/manifests/bad.rs::every_bad_manifest_is_refused_with_words_that_help",
        ],
    ),
    (
        "ten thousand profiles",
        &[
            "operator/core/tests/profile/extremes.rs::of_ten_thousand_profiles_a_pod_gets_its_own",
            "operator/core/tests/admission/main.rs::many_profiles_are_merged_by_namespace_and_then_by_label",
        ],
    ),
    (
        "a pod of a megabyte",
        &["e2e/tests/admission/effects.rs::bare_pods_pods_without_a_name_and_huge_pods_pass"],
    ),
    (
        "a malformed AdmissionReview, and clients that ask for something else",
        &[
            "operator/src/webhook/review.rs::what_is_no_review_is_told_apart_and_not_quoted",
            "e2e/tests/admission/clients.rs::whatever_is_sent_gets_a_clear_answer",
        ],
    ),
    (
        "clients that are slow or silent",
        &["e2e/tests/admission/clients.rs::silent_and_slow_clients_are_sent_away_and_nobody_waits_for_them"],
    ),
];

#[test]
fn every_fault_of_others_has_a_test_here() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (fault, tests) in HELD {
        assert!(!tests.is_empty(), "{fault}");
        for test in *tests {
            let (file, name) = test.split_once("::").unwrap();
            let text =
                fs::read_to_string(repository.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{fault}: {test} is gone"));
            // Right before it, or at the head of a block of properties.
            let before = &text[..at];
            let marked = ["#[test]", "#[tokio::test]"].iter().filter_map(|mark| before.rfind(mark)).max();
            let between = marked.map(|mark| &before[mark..]);
            assert!(
                between.is_some_and(|text| !text.contains("\n    fn ") && !text.contains("\nfn ")),
                "{test} is no test"
            );
        }
    }
}
