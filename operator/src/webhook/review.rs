//! The words between the API server and a webhook (`admission.k8s.io/v1`), as far as they are used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eci_core::admission::answer::Answer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The only version there is.
const API_VERSION: &str = "admission.k8s.io/v1";
/// Its kind.
const KIND: &str = "AdmissionReview";

/// A question.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question<T> {
    /// Comes back with the answer.
    pub(super) uid: String,
    /// Which resource it is about.
    pub(super) resource: Resource,
    /// Which subresource; none when empty.
    #[serde(default)]
    pub(super) sub_resource: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default)]
    pub(super) operation: String,
    /// The namespace; none when empty.
    #[serde(default)]
    pub(super) namespace: String,
    /// The object; none for a deletion.
    pub(super) object: Option<T>,
}

/// A resource by its group and plural.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Resource {
    /// Group; the core when empty.
    #[serde(default)]
    pub(super) group: String,
    /// Plural.
    #[serde(default)]
    pub(super) resource: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<T> {
    api_version: String,
    kind: String,
    request: Option<Question<T>>,
}

/// What is wrong with a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// It is no JSON of that form. What it says is not quoted: it may be a Secret of somebody.
    #[error("the body is no AdmissionReview that can be read: {what} error at line {line}, column {column}")]
    Unreadable {
        /// What sort of error.
        what: &'static str,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// It is something else.
    #[error("the body is no AdmissionReview of {API_VERSION}")]
    Other,
    /// It asks nothing.
    #[error("the AdmissionReview has no request")]
    Empty,
}

/// Reads a question.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Question<T>, Malformed> {
    let review: Review<T> = serde_json::from_slice(body).map_err(|error| Malformed::Unreadable {
        what: match error.classify() {
            serde_json::error::Category::Data => "data",
            serde_json::error::Category::Eof => "end of file",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "syntax",
        },
        line: error.line(),
        column: error.column(),
    })?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(Malformed::Other);
    }
    review.request.ok_or(Malformed::Empty)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Writes the answer to the question with this `uid`.
pub(super) fn write(uid: &str, answer: Answer) -> Result<Vec<u8>, serde_json::Error> {
    let patch = if answer.patch.is_empty() { None } else { Some(serde_json::to_vec(&answer.patch)?) };
    let status = answer
        .denial
        .as_ref()
        .map(|message| json!({ "code": 403, "reason": "Forbidden", "message": message }));
    let response = Response {
        uid,
        allowed: answer.denial.is_none(),
        status,
        patch_type: patch.is_some().then_some("JSONPatch"),
        patch: patch.map(|patch| STANDARD.encode(patch)),
        warnings: answer.warnings,
    };
    serde_json::to_vec(&json!({ "apiVersion": API_VERSION, "kind": KIND, "response": response }))
}

#[cfg(test)]
mod tests {
    use eci_core::profile::patch::Operation;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn problem(body: &str) -> String {
        read::<Pod>(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_review_is_told_apart_and_not_quoted() {
        assert!(problem("hunter2").contains("syntax error at line 1"));
        assert!(problem("").contains("end of file"));
        let typed = problem(
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1",
            "resource":{},"object":{"spec":{"containers":"hunter2"}}}}"#,
        );
        assert!(typed.contains("data error at line") && !typed.contains("hunter2"), "{typed}");
        let other = r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#;
        assert!(problem(other).contains("no AdmissionReview of admission.k8s.io/v1"));
        assert!(
            problem(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#)
                .contains("no request")
        );
    }

    #[test]
    fn an_answer_without_changes_has_no_patch_and_a_refusal_has_a_reason() {
        let answer: Value = serde_json::from_slice(&write("u", Answer::default()).unwrap()).unwrap();
        assert_eq!(answer["response"], json!({ "uid": "u", "allowed": true }));
        let patch = vec![Operation { op: "add", path: "/a".into(), value: json!(1) }];
        let answer: Value =
            serde_json::from_slice(&write("u", Answer { patch, ..Answer::default() }).unwrap()).unwrap();
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&patch).unwrap(),
            json!([{"op":"add","path":"/a","value":1}])
        );
        let denied = Answer { denial: Some("no".into()), ..Answer::default() };
        let answer: Value = serde_json::from_slice(&write("u", denied).unwrap()).unwrap();
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(answer["response"]["status"]["message"], "no");
    }
}
