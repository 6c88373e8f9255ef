//! Faults: what goes wrong between a caller and the world. Scripted ("the next three creates") or by chance from the
//! seed; from a JSON file, the admin API or a test.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// One fault. Three things can be said, each by itself: how long the answer takes, whether and when the call has its
/// effect, and what the caller sees of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// Only calls of this action; of every action when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Lets so many fitting calls pass first.
    pub skip: u32,
    /// Then strikes so many fitting calls and is used up; for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
    /// Strikes with this probability, 0 to 1; always when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Milliseconds between the call's arrival and its answer.
    pub latency_ms: u64,
    /// A list that is struck lags so many milliseconds more.
    pub lag_ms: u64,
    /// Whether the call has its effect. When absent: never if the answer is an error, else at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// What the caller sees.
    pub answer: Seen,
}

/// Whether and when a call has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// When it arrives.
    Now,
    /// Not at all.
    Never,
    /// So many milliseconds after it arrived, whether or not anybody still waits.
    #[serde(rename = "laterMs")]
    Later(u64),
}

/// What a caller sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Seen {
    /// The true answer. If the call had no effect there is none: `ServiceUnavailable`.
    #[default]
    Truth,
    /// An error of the vendor's.
    Error {
        /// Its code.
        code: String,
        /// HTTP status; the documented one when absent.
        #[serde(default)]
        status: Option<u16>,
        /// Message.
        #[serde(default)]
        message: Option<String>,
        /// Milliseconds, as `x-acs-retry-after`.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// A connection that closes without an answer.
    Closed,
    /// Nothing for so many milliseconds, then a connection that closes.
    Silence(u64),
    /// Half of the answer, then a connection that closes.
    Truncated,
    /// A page of some proxy instead of JSON, with this HTTP status.
    NotJson(u16),
}

impl Fault {
    /// For calls of one action only.
    #[must_use]
    pub fn on(mut self, action: &str) -> Self {
        self.action = Some(action.to_owned());
        self
    }

    /// For the next `count` fitting calls only.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.next = Some(count);
        self
    }

    /// The answer is lost and there was no effect.
    pub fn lost_before() -> Self {
        Self { effect: Some(Effect::Never), answer: Seen::Closed, ..Self::default() }
    }

    /// The answer is lost after the effect.
    pub fn lost_after() -> Self {
        Self { effect: Some(Effect::Now), answer: Seen::Closed, ..Self::default() }
    }

    /// The answer is lost and the effect comes `ms` milliseconds later.
    pub fn delayed(ms: u64) -> Self {
        Self { effect: Some(Effect::Later(ms)), answer: Seen::Closed, ..Self::default() }
    }

    /// A refusal with a documented code, without effect.
    pub fn refused(code: &str) -> Self {
        Self {
            answer: Seen::Error { code: code.to_owned(), status: None, message: None, retry_after_ms: None },
            ..Self::default()
        }
    }

    /// Throttled for `ms` milliseconds.
    pub fn throttled(ms: u64) -> Self {
        Self {
            answer: Seen::Error {
                code: "Throttling.User".to_owned(),
                status: None,
                message: None,
                retry_after_ms: Some(ms),
            },
            ..Self::default()
        }
    }

    /// When the effect comes.
    pub(crate) fn effect(&self) -> Effect {
        self.effect.unwrap_or(match self.answer {
            Seen::Error { .. } => Effect::Never,
            _ => Effect::Now,
        })
    }
}

/// The faults that are in force, in the order they were added; the first that fits strikes.
#[derive(Debug)]
pub(crate) struct Faults {
    rules: Vec<Fault>,
    random: Random,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), random: Random::new(seed ^ 0xfa17) }
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.rules.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn rules(&self) -> &[Fault] {
        &self.rules
    }

    /// The fault that strikes this call.
    pub(crate) fn strike(&mut self, action: &str) -> Option<Fault> {
        self.rules.retain(|rule| rule.next != Some(0));
        for rule in &mut self.rules {
            if rule.action.as_deref().is_some_and(|wanted| wanted != action) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.probability.is_some_and(|probability| !self.random.chance(probability)) {
                continue;
            }
            if let Some(next) = &mut rule.next {
                *next -= 1;
            }
            return Some(rule.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripted_fault_skips_then_strikes_as_often_as_it_says() {
        let mut faults = Faults::new(1);
        faults.add(Fault { skip: 1, ..Fault::refused("QuotaExceeded").on("CreateImageCache").times(2) });
        let struck: Vec<bool> = (0..5).map(|_| faults.strike("CreateImageCache").is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert!(faults.rules().is_empty(), "a fault that is used up is gone");
    }

    #[test]
    fn a_fault_strikes_only_its_action_and_the_first_that_fits_wins() {
        let mut faults = Faults::new(1);
        faults.add(Fault::lost_after().on("CreateImageCache"));
        faults.add(Fault::throttled(500));
        assert_eq!(faults.strike("CreateImageCache").unwrap().answer, Seen::Closed);
        assert!(matches!(faults.strike("ListUsage").unwrap().answer, Seen::Error { .. }));
    }

    #[test]
    fn chance_comes_from_the_seed() {
        let run = |seed| {
            let mut faults = Faults::new(seed);
            faults.add(Fault { probability: Some(0.3), ..Fault::lost_before() });
            (0..1_000).map(|_| faults.strike("ListUsage").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
        let struck = run(5).into_iter().filter(|struck| *struck).count();
        assert!((200..400).contains(&struck), "{struck} of 1000 at 0.3");
    }

    #[test]
    fn the_json_form_is_short_and_refuses_misspelled_fields() {
        let text =
            r#"{"action":"CreateImageCache","next":2,"effect":{"laterMs":500},"answer":{"silence":2000}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.effect(), Effect::Later(500));
        assert_eq!(fault.answer, Seen::Silence(2_000));
        let fault: Fault = serde_json::from_str(r#"{"answer":{"error":{"code":"QuotaExceeded"}}}"#).unwrap();
        assert_eq!(fault.effect(), Effect::Never, "a refusal has no effect unless one is asked for");
        assert!(serde_json::from_str::<Fault>(r#"{"actoin":"ListUsage"}"#).is_err());
    }
}
