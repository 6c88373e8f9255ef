//! Keeps secrets out of what the cloud says: an error may quote the request, signed string and all.

use eci_core::cloud::TEXT_LIMIT;
use secrecy::{ExposeSecret, SecretString};

use crate::convert::clean;
use crate::encode::encode;

const MARK: &str = "[redacted]";

/// The secrets of one call, in every form in which a reply could repeat them.
pub(crate) struct Scrub(Vec<String>);

impl Scrub {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut forms: Vec<String> = secrets
            .into_iter()
            .map(ExposeSecret::expose_secret)
            .filter(|secret| !secret.is_empty())
            .flat_map(|secret| {
                let once = encode(secret);
                // The string to sign of version 1 is encoded twice; form encoding writes a space as a plus.
                [secret.to_owned(), encode(&once), once.replace("%20", "+"), once]
            })
            .collect();
        // The longest first, or a secret that contains another would be left in pieces.
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self(forms)
    }

    /// A text of the cloud or the transport: without secrets, on one line, at most `limit` characters.
    pub(crate) fn text(&self, text: &str, limit: usize) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MARK);
            }
        }
        clean(&text, limit)
    }

    /// The message of an error. For a wrong signature it is our own, since the cloud's quotes the request.
    pub(crate) fn message(&self, code: Option<&str>, message: &str) -> String {
        match code {
            Some("SignatureDoesNotMatch" | "IncompleteSignature") => {
                "the cloud computed another signature: the access key secret is wrong, or a proxy changed the request"
                    .to_owned()
            }
            _ => self.text(message, TEXT_LIMIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(secrets: &[&str]) -> Scrub {
        let secrets: Vec<_> = secrets.iter().map(|s| SecretString::from(*s)).collect();
        Scrub::new(&secrets)
    }

    #[test]
    fn secrets_are_removed_in_every_form() {
        let scrub = scrub(&["p@ss word+/="]);
        for form in [
            "p@ss word+/=",
            "p%40ss%20word%2B%2F%3D",
            "p%40ss+word%2B%2F%3D",
            "p%2540ss%2520word%252B%252F%253D",
        ] {
            assert_eq!(scrub.text(&format!("bad value {form}!"), 100), "bad value [redacted]!");
        }
    }

    #[test]
    fn a_secret_inside_another_leaves_no_pieces() {
        assert_eq!(scrub(&["abc", "abcdef"]).text("x abcdef y", 100), "x [redacted] y");
    }

    #[test]
    fn an_empty_secret_removes_nothing() {
        assert_eq!(scrub(&[""]).text("as it was", 100), "as it was");
    }

    #[test]
    fn a_cut_cannot_bring_back_a_part_of_a_secret() {
        assert_eq!(scrub(&["0123456789"]).text("aa0123456789", 6), "aa[red");
    }

    #[test]
    fn what_the_cloud_signed_is_never_repeated() {
        let message =
            scrub(&[]).message(Some("SignatureDoesNotMatch"), "server string to sign is:POST&%2F&secret");
        assert!(!message.contains("secret&") && !message.contains("POST"), "{message}");
    }
}
