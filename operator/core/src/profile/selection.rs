//! Labels against a selector, clause by clause.
//!
//! The rules are those of the API server: an absent label passes `NotIn` and `DoesNotExist` and fails all else. With
//! one addition: a label that profiles give to pods counts as absent for these two. Otherwise a profile could give a
//! label that takes another one's match away, and what a pod gets would depend on how often it was looked at.

use std::collections::BTreeSet;
use std::fmt;

use eci_api::eci_profile::{LabelOperator, LabelSelection, LabelValue};

use super::Labels;

/// Values that a message shows of a list.
const SHOWN_VALUES: usize = 5;

/// A clause of a selector that labels fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Key of the label.
    pub key: String,
    /// What the selector wants of it.
    pub required: Requirement,
    /// Its value; `None` when it is absent.
    pub found: Option<String>,
}

/// What a selector wants of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// One of these values.
    In(Vec<String>),
    /// None of these values.
    NotIn(Vec<String>),
    /// To be there.
    Exists,
    /// Not to be there.
    DoesNotExist,
}

impl Requirement {
    fn holds(&self, found: Option<&str>) -> bool {
        match self {
            Self::In(values) => found.is_some_and(|found| values.iter().any(|value| value == found)),
            Self::NotIn(values) => found.is_none_or(|found| values.iter().all(|value| value != found)),
            Self::Exists => found.is_some(),
            Self::DoesNotExist => found.is_none(),
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must ", self.key)?;
        match &self.required {
            Requirement::In(values) if values.len() == 1 => write!(f, "be {:?}", values[0])?,
            Requirement::In(values) => write!(f, "be one of {}", List(values))?,
            Requirement::NotIn(values) => write!(f, "be none of {}", List(values))?,
            Requirement::Exists => f.write_str("be there")?,
            Requirement::DoesNotExist => f.write_str("not be there")?,
        }
        match &self.found {
            Some(found) => write!(f, ", but is {found:?}"),
            None => f.write_str(", but is absent"),
        }
    }
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().take(SHOWN_VALUES).enumerate() {
            write!(f, "{}{value:?}", if i == 0 { "" } else { ", " })?;
        }
        if self.0.len() > SHOWN_VALUES {
            write!(f, " and {} more", self.0.len() - SHOWN_VALUES)?;
        }
        Ok(())
    }
}

/// The first clause that `labels` fail, labels first and then expressions in the order of the spec. `given` are the
/// labels that profiles give.
pub(super) fn first_failed(
    selector: &LabelSelection,
    labels: &Labels,
    given: &BTreeSet<(String, String)>,
) -> Option<Clause> {
    let owned = |values: &[LabelValue]| values.iter().map(|value| value.0.clone()).collect::<Vec<_>>();
    let by_label = selector.match_labels.iter().find_map(|(key, value)| {
        // The usual case is that it holds: nothing is copied for it.
        let found = labels.get(key);
        (found != Some(&value.0)).then(|| Clause {
            key: key.clone(),
            required: Requirement::In(vec![value.0.clone()]),
            found: found.cloned(),
        })
    });
    by_label.or_else(|| {
        selector.match_expressions.iter().find_map(|expression| {
            let required = match expression.operator {
                LabelOperator::In => Requirement::In(owned(&expression.values)),
                LabelOperator::NotIn => Requirement::NotIn(owned(&expression.values)),
                LabelOperator::Exists => Requirement::Exists,
                LabelOperator::DoesNotExist => Requirement::DoesNotExist,
            };
            let mut found = labels.get(&expression.key);
            if matches!(expression.operator, LabelOperator::NotIn | LabelOperator::DoesNotExist) {
                found = found.filter(|value| {
                    // Looked up only when the label is there, which is rare for these.
                    given.is_empty() || !given.contains(&(expression.key.clone(), (*value).clone()))
                });
            }
            (!required.holds(found.map(String::as_str))).then(|| Clause {
                key: expression.key.clone(),
                required,
                found: found.cloned(),
            })
        })
    })
}

/// Whether a selector may hold for labels of which only some are known.
pub(super) fn may_hold(selector: &LabelSelection, known: &Labels) -> bool {
    let mut judged = selector.clone();
    judged.match_labels.retain(|key, _| known.contains_key(key));
    judged.match_expressions.retain(|expression| known.contains_key(&expression.key));
    first_failed(&judged, known, &BTreeSet::new()).is_none()
}
