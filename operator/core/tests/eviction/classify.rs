//! What the replies of the API server mean.

use std::time::Duration;

use eci_core::eviction::answer::{Answer, Refusal, Reply, classify};

#[test]
fn each_reply_has_one_meaning() {
    let budget: &[(&str, &str)] =
        &[("DisruptionBudget", "The disruption budget web needs 3 healthy pods and has 3")];
    let terminating: &[(&str, &str)] = &[("NamespaceTerminating", "namespace shop is being terminated")];
    let text = |text: &str| text.to_owned();
    for (code, kind, message, causes, after, expected) in [
        (429, "", "Cannot evict pod", budget, None, Answer::BudgetExhausted(text(budget[0].1))),
        (429, "", "Cannot evict pod", budget, Some(0), Answer::BudgetExhausted(text(budget[0].1))),
        (429, "", "Cannot evict pod", budget, Some(10), Answer::BudgetNotProcessed),
        (429, "", "too many requests", &[], Some(3), Answer::Overloaded(Duration::from_secs(3))),
        (429, "", "too many requests", &[], Some(999), Answer::Overloaded(Duration::from_secs(10))),
        (429, "", "too many requests", &[], None, Answer::Overloaded(Duration::from_secs(1))),
        (
            429,
            "",
            "admission webhook \"a\" denied the request: no",
            &[],
            None,
            Answer::WebhookRefused(text("admission webhook \"a\" denied the request: no")),
        ),
        (409, "poddisruptionbudgets", "the object has been modified", &[], None, Answer::BudgetContended),
        (
            409,
            "Pod",
            "the UID in the precondition (a) does not match the UID in record (b)",
            &[],
            None,
            Answer::StaleUid,
        ),
        (
            409,
            "pods",
            "Precondition failed: UID in precondition: a, UID in object meta: b",
            &[],
            None,
            Answer::StaleUid,
        ),
        (
            409,
            "Pod",
            "the ResourceVersion in the precondition (1) does not match",
            &[],
            None,
            Answer::PodChanged,
        ),
        (
            403,
            "poddisruptionbudget",
            "pdb disruptions allowed is negative",
            &[],
            None,
            Answer::BudgetNegative,
        ),
        (403, "poddisruptionbudget", "DisruptedPods map too big", &[], None, Answer::BudgetFull),
        // Since 1.37 with a cause.
        (403, "", "DisruptedPods map too big", budget, None, Answer::BudgetFull),
        (
            403,
            "pods",
            "unable to create new content in namespace shop because it is being terminated",
            &[],
            None,
            Answer::NamespaceTerminating,
        ),
        (403, "pods", "forbidden", terminating, None, Answer::NamespaceTerminating),
        (
            403,
            "pods",
            "User \"x\" cannot create resource \"pods/eviction\"",
            &[],
            None,
            Answer::NotPermitted(text("User \"x\" cannot create resource \"pods/eviction\"")),
        ),
        (
            403,
            "pods",
            "admission webhook \"a\" denied the request: no",
            &[],
            None,
            Answer::WebhookRefused(text("admission webhook \"a\" denied the request: no")),
        ),
        (401, "", "Unauthorized", &[], None, Answer::NotPermitted(text("Unauthorized"))),
        (404, "pods", "pods \"web-0\" not found", &[], None, Answer::Gone),
        (404, "", "404 page not found", &[], None, Answer::ServerFailed(text("404 page not found"))),
        (
            500,
            "",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            &[],
            None,
            Answer::SeveralBudgets,
        ),
        (
            500,
            "",
            "etcdserver: request timed out",
            &[],
            None,
            Answer::ServerFailed(text("etcdserver: request timed out")),
        ),
        (
            500,
            "",
            "failed calling webhook \"a\": refused",
            &[],
            None,
            Answer::WebhookRefused(text("failed calling webhook \"a\": refused")),
        ),
        (503, "", "shutting down", &[], None, Answer::ServerFailed(text("shutting down"))),
        (504, "", "timed out", &[], None, Answer::Unknown),
        (400, "", "bad", &[], None, Answer::Invalid(text("bad"))),
        (
            422,
            "pods",
            "ValidatingAdmissionPolicy 'p' denied request: no",
            &[],
            None,
            Answer::WebhookRefused(text("ValidatingAdmissionPolicy 'p' denied request: no")),
        ),
        (201, "", "", &[], None, Answer::Accepted),
        (302, "", "moved", &[], None, Answer::ServerFailed(text("moved"))),
    ] {
        let refusal = Refusal {
            code,
            reason: if kind.is_empty() { "" } else { "NotFound" },
            message,
            kind,
            causes,
            retry_after: after,
        };
        let answer = classify(&Reply::Refused(refusal.clone()));
        assert_eq!(answer, expected, "{refusal:?}");
        assert!(Answer::KINDS.contains(&answer.kind()));
    }
    assert_eq!(classify(&Reply::Success), Answer::Accepted);
    assert_eq!(classify(&Reply::Lost), Answer::Unknown);
    assert_eq!(classify(&Reply::NotSent), Answer::NotSent);
}

#[test]
fn foreign_words_are_cut_and_on_one_line() {
    let message = "a\nb\u{7}".to_owned() + &"é".repeat(10_000);
    let refusal = Refusal { code: 500, message: &message, ..Refusal::default() };
    let Answer::ServerFailed(words) = classify(&Reply::Refused(refusal)) else { panic!() };
    assert_eq!(words.chars().count(), 201);
    assert!(words.starts_with("a b é"), "{words}");
}
