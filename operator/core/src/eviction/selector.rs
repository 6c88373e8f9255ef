//! Label selectors, as PodDisruptionBudgets use them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Need {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

/// Which labels a budget selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Option<Vec<Need>>);

impl Selector {
    /// Selects no pod.
    pub fn nothing() -> Self {
        Self(None)
    }

    /// The meaning of a `spec.selector` in policy/v1: absent selects nothing, empty selects every pod of the namespace.
    /// An operator that is not known selects nothing, as the API server would not have taken it.
    pub fn of(selector: Option<&LabelSelector>) -> Self {
        let Some(selector) = selector else { return Self::nothing() };
        let equal = selector.match_labels.iter().flatten();
        let mut needs: Vec<Need> =
            equal.map(|(key, value)| Need::In(key.clone(), vec![value.clone()])).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values = expression.values.clone().unwrap_or_default();
            needs.push(match expression.operator.as_str() {
                "In" => Need::In(key, values),
                "NotIn" => Need::NotIn(key, values),
                "Exists" => Need::Exists(key),
                "DoesNotExist" => Need::Absent(key),
                _ => return Self::nothing(),
            });
        }
        Self(Some(needs))
    }

    /// Whether it selects a pod with these labels (of its own namespace).
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.as_ref().is_some_and(|needs| needs.iter().all(|need| need.holds(labels)))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        let values = (!values.is_empty()).then(|| values.iter().map(|v| (*v).to_owned()).collect());
        let requirement =
            LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values };
        LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
    }

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        assert!(!Selector::of(None).matches(&labels(&[("a", "1")])));
        assert!(Selector::of(Some(&LabelSelector::default())).matches(&labels(&[])));
    }

    #[test]
    fn each_operator_means_what_the_api_says() {
        let (one, two, none) = (labels(&[("a", "1")]), labels(&[("a", "2")]), labels(&[("b", "1")]));
        for (operator, values, expected) in [
            ("In", &["1"][..], [true, false, false]),
            ("NotIn", &["1"][..], [false, true, true]),
            ("Exists", &[][..], [true, true, false]),
            ("DoesNotExist", &[][..], [false, false, true]),
            ("Near", &["1"][..], [false, false, false]),
        ] {
            let selector = Selector::of(Some(&expression("a", operator, values)));
            assert_eq!([&one, &two, &none].map(|l| selector.matches(l)), expected, "{operator}");
        }
    }

    #[test]
    fn labels_and_expressions_must_hold_together() {
        let mut selector = expression("tier", "Exists", &[]);
        selector.match_labels = Some(labels(&[("a", "1")]));
        let selector = Selector::of(Some(&selector));
        assert!(selector.matches(&labels(&[("a", "1"), ("tier", "")])));
        assert!(!selector.matches(&labels(&[("a", "1")])));
        assert!(!selector.matches(&labels(&[("tier", "")])));
    }
}
