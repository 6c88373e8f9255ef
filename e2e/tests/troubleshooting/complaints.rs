//! What users of other controllers of cloud resources complain of, and the tests that show that ours does not do it, for
//! both kinds. What is decided is the same code for both; where a row has one test of the core twice, that is why.

use super::read;

/// A file and the name of a function in it.
type Shown = &'static [(&'static str, &'static str)];

struct Case {
    complaint: &'static str,
    images: Shown,
    data: Shown,
}

const DELETION: &str = "operator/core/tests/plan/deletion.rs";
const REFUSAL: &str = "operator/core/tests/plan/refusal.rs";
const IMAGE_CRASH: &str = "e2e/tests/image_cache/crash.rs";
const DATA_LIFE: &str = "e2e/tests/data_cache/life.rs";
const DATA_ENDINGS: &str = "e2e/tests/data_cache/endings.rs";
const COUNTED: (&str, &str) =
    ("operator/tests/metrics.rs", "an_object_counts_once_where_it_stands_and_no_more_when_it_is_gone");
const TRIED_ON: (&str, &str) = (REFUSAL, "a_slow_reason_stalls_after_half_an_hour_and_is_tried_on");
const ONE_POLLER: (&str, &str) = (
    "operator/src/observe/tests.rs",
    "a_list_nudges_those_who_wait_for_it_and_those_whose_resources_changed",
);
const ONE_LIMITER: (&str, &str) =
    ("operator/aliyun/src/pace.rs", "throttling_halves_the_rate_and_successes_bring_it_back_slowly");
const BACK_OFF: (&str, &str) =
    (REFUSAL, "the_wait_grows_with_every_refusal_of_one_reason_and_begins_anew_with_another");

const CASES: [Case; 12] = [
    Case {
        complaint: "a role comes seconds late, and only a restart heals the object",
        images: &[("e2e/tests/errors/identity.rs", "permission_granted")],
        data: &[("e2e/tests/errors/data.rs", "refused"), ("e2e/tests/errors/data.rs", "rows")],
    },
    Case {
        complaint: "an object that needs a person is neither tried again nor counted, so that alerts stay silent",
        images: &[COUNTED, TRIED_ON],
        data: &[COUNTED, TRIED_ON],
    },
    Case {
        complaint: "each object polls by itself, without a shared limit, and the account is throttled",
        images: &[ONE_POLLER, ONE_LIMITER, ("e2e/tests/errors/throttling.rs", "rows")],
        data: &[ONE_POLLER, ONE_LIMITER, ("e2e/src/bench/reconcile/promise.rs", "broken")],
    },
    Case {
        complaint: "half a resource is made and then 'already exists' for ever; what was deleted by hand stays away",
        images: &[
            ("e2e/tests/image_cache/faults.rs", "lost_answers_make_no_second_cache"),
            ("e2e/tests/image_cache/faults.rs", "a_cache_deleted_by_hand_is_built_again"),
        ],
        data: &[
            (
                "operator/core/tests/data_cache/place.rs",
                "a_lost_answer_is_found_at_the_place_before_lists_show_it",
            ),
            (DATA_ENDINGS, "a_data_cache_deleted_by_hand_is_loaded_again"),
        ],
    },
    Case {
        complaint: "the result of a creation cannot be determined, and a person has to remove an annotation",
        images: &[
            (IMAGE_CRASH, "an_operator_killed_before_the_effect_of_its_create_call_finds_the_late_cache"),
            (IMAGE_CRASH, "a_lost_create_call_is_sent_again_after_the_window"),
        ],
        data: &[(DATA_LIFE, "an_operator_killed_in_the_middle_of_a_create_call_makes_no_second_cache")],
    },
    Case {
        complaint: "a namespace is deleted, its secrets go first, and the finalizers hang",
        images: &[(
            "e2e/tests/image_cache/life.rs",
            "a_namespace_with_a_cache_and_its_secret_can_be_deleted",
        )],
        data: &[(DATA_ENDINGS, "a_namespace_with_a_data_cache_and_its_secret_can_be_deleted")],
    },
    Case {
        complaint: "a deletion hits a quota and is never tried again",
        images: &[(DELETION, "a_delete_that_hits_a_quota_says_so_and_is_tried_until_it_succeeds")],
        data: &[(DATA_ENDINGS, "refused_for_a_while"), (DATA_ENDINGS, "every_deletion_of_a_data_cache_ends")],
    },
    Case {
        complaint: "a resource that is gone already blocks the deletion of its object",
        images: &[("e2e/tests/errors/objects.rs", "already_gone")],
        data: &[(DATA_ENDINGS, "every_deletion_of_a_data_cache_ends")],
    },
    Case {
        complaint: "a deletion was carried out and answered with 403, and the object stays for ever",
        images: &[(DELETION, "a_refused_delete_of_what_is_gone_ends_when_looks_a_minute_apart_show_nothing")],
        data: &[(DATA_ENDINGS, "refused_afterwards"), (DATA_ENDINGS, "every_deletion_of_a_data_cache_ends")],
    },
    Case {
        complaint: "what is not found is asked for again without an end, and eats the account's calls",
        images: &[
            (DELETION, "deleting_what_is_not_known_counts_as_deleted_once_a_look_confirms_it"),
            ("operator/core/tests/plan/vanished.rs", "a_vanished_resource_is_rebuilt_at_most_once_an_hour"),
        ],
        data: &[(
            "operator/core/tests/data_cache/place.rs",
            "one_that_vanished_is_made_anew_and_one_that_expired_is_not",
        )],
    },
    Case {
        complaint: "two resources for one object, although its tags are looked for first",
        images: &[
            (IMAGE_CRASH, "an_operator_killed_after_the_effect_of_its_create_call_makes_no_second_cache"),
            ("e2e/tests/crash/main.rs", "ten_deaths_of_the_operator_leak_nothing_and_make_nothing_twice"),
        ],
        data: &[(DATA_LIFE, "an_operator_killed_in_the_middle_of_a_create_call_makes_no_second_cache")],
    },
    Case {
        complaint: "state is lost, everything is tried again without a pause, and the account is locked",
        images: &[
            BACK_OFF,
            ("e2e/tests/crash/lost.rs", "what_is_lost_while_the_operator_is_away_is_found_again"),
        ],
        data: &[
            BACK_OFF,
            (
                "operator/core/tests/data_cache/place.rs",
                "a_failed_cache_is_deleted_confirmed_gone_and_made_anew_after_its_wait",
            ),
        ],
    },
];

/// A function of a file, from its name to the brace that closes it, wherever it is nested.
fn function<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let begin = source.find(&format!("fn {name}("))?;
    let line = source[..begin].rfind('\n').map_or(0, |end| end + 1);
    let indent: String = source[line..].chars().take_while(|c| *c == ' ').collect();
    let end = source[begin..].find(&format!("\n{indent}}}\n"))?;
    Some(&source[begin..begin + end])
}

#[test]
fn every_complaint_has_tests_that_exist_and_check_something_for_both_kinds() {
    for Case { complaint, images, data } in CASES {
        for (kind, shown) in [("ImageCache", images), ("DataCache", data)] {
            assert!(!shown.is_empty(), "{complaint}: nothing shows it of {kind}");
            for (file, name) in shown {
                let source = read(file);
                let body =
                    function(&source, name).unwrap_or_else(|| panic!("{complaint}: {file} has no {name}"));
                let checks = ["ensure!", "assert", "told(", ".says(", ".is_gone(", "broken.push("];
                assert!(checks.iter().any(|c| body.contains(c)), "{complaint}: {name} checks nothing");
            }
        }
    }
}
