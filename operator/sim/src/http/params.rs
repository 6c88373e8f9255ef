//! Parameters of a call: flat names such as `AcrRegistryInfo.1.Domain.2`, read back into structure. Every parameter
//! must be asked for; what nobody asked for is unknown and refused.

use std::collections::BTreeMap;

use crate::world::ApiError;
use crate::world::settings::OptionKeys;

/// Accepted by every action and never used.
const HIDDEN: [&str; 4] = ["OwnerId", "OwnerAccount", "ResourceOwnerId", "ResourceOwnerAccount"];

/// Parameters that were not asked for yet. An empty value counts as absent, except where a tag or an elimination
/// strategy may be empty.
pub(crate) struct Params {
    prefix: String,
    left: BTreeMap<String, String>,
    option_keys: OptionKeys,
}

impl Params {
    pub(crate) fn new(mut parameters: BTreeMap<String, String>) -> Self {
        for name in HIDDEN {
            parameters.remove(name);
        }
        Self { prefix: String::new(), left: parameters, option_keys: OptionKeys::LengthPrefixed }
    }

    /// With keys of free maps in this form.
    pub(crate) fn with_option_keys(self, option_keys: OptionKeys) -> Self {
        Self { option_keys, ..self }
    }

    /// The form of keys of free maps.
    pub(crate) fn option_keys(&self) -> OptionKeys {
        self.option_keys
    }

    /// A map with free keys, `Name.<key>`.
    pub(crate) fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let start = format!("{name}.");
        let names: Vec<String> = self.left.keys().filter(|key| key.starts_with(&start)).cloned().collect();
        let take = |full: String| Some((full.strip_prefix(&start)?.to_owned(), self.left.remove(&full)?));
        names.into_iter().filter_map(take).collect()
    }

    /// A text, even an empty one.
    pub(crate) fn raw(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    /// A text that is not empty.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// A text that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<String, ApiError> {
        self.text(name).ok_or_else(|| ApiError::missing(&format!("{}{name}", self.prefix)))
    }

    /// A whole number.
    pub(crate) fn int(&mut self, name: &str) -> Result<Option<i32>, ApiError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let bad = || ApiError::invalid(&format!("{}{name}", self.prefix), "it is no whole number");
        value.parse().map(Some).map_err(|_| bad())
    }

    /// A truth value, in any case.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => {
                Err(ApiError::invalid(&format!("{}{name}", self.prefix), "it is neither true nor false"))
            }
        }
    }

    /// A list in one text, with commas.
    pub(crate) fn comma(&mut self, name: &str) -> Option<Vec<String>> {
        self.text(name).map(|value| value.split(',').map(|item| item.trim().to_owned()).collect())
    }

    /// A list of texts, `Image.1`, `Image.2`, …
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        self.numbered(name)?
            .into_iter()
            .map(|mut item| {
                let value = item.required("")?;
                item.end()?;
                Ok(value)
            })
            .collect()
    }

    /// A list of objects, `Tag.1.Key`, `Tag.1.Value`, …
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        read: impl Fn(&mut Self) -> Result<T, ApiError>,
    ) -> Result<Vec<T>, ApiError> {
        self.numbered(name)?
            .into_iter()
            .map(|mut item| {
                let value = read(&mut item)?;
                item.end()?;
                Ok(value)
            })
            .collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), ApiError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::invalid(
                &format!("{}{name}", self.prefix),
                "the action knows no such parameter",
            )),
        }
    }

    /// The items of a list, each with its own parameters. Numbers begin at 1 and have no gaps.
    fn numbered(&mut self, name: &str) -> Result<Vec<Self>, ApiError> {
        let start = format!("{name}.");
        let mut items: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        let names: Vec<String> = self.left.keys().filter(|key| key.starts_with(&start)).cloned().collect();
        for full in names {
            let Some(value) = self.left.remove(&full) else { continue };
            let rest = full.strip_prefix(&start).unwrap_or_default();
            let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
            let number =
                number.parse::<usize>().ok().filter(|parsed| parsed.to_string() == number).ok_or_else(
                    || ApiError::invalid(&format!("{}{full}", self.prefix), "its number is no number"),
                )?;
            items.entry(number).or_default().insert(field.to_owned(), value);
        }
        if items.keys().enumerate().any(|(index, number)| *number != index + 1) {
            return Err(ApiError::invalid(
                &format!("{}{name}.N", self.prefix),
                "the numbers are not 1, 2, 3, …",
            ));
        }
        Ok(items
            .into_iter()
            .map(|(number, left)| Self {
                prefix: format!("{}{start}{number}.", self.prefix),
                left,
                option_keys: self.option_keys,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn lists_and_nested_lists_come_back_in_their_order() {
        let mut p = params(&[
            ("Image.2", "b"),
            ("Image.1", "a"),
            ("Acr.1.Domain.1", "x"),
            ("Acr.1.Domain.2", "y"),
            ("Acr.1.InstanceId", "cri-1"),
            ("Acr.2.InstanceId", "cri-2"),
            ("OwnerId", "1"),
        ]);
        assert_eq!(p.list("Image").unwrap(), ["a", "b"]);
        let acr = p.objects("Acr", |item| Ok((item.required("InstanceId")?, item.list("Domain")?))).unwrap();
        assert_eq!(
            acr,
            [("cri-1".to_owned(), vec!["x".to_owned(), "y".to_owned()]), ("cri-2".to_owned(), vec![])]
        );
        assert!(p.end().is_ok());
    }

    #[test]
    fn more_than_nine_items_keep_their_numeric_order() {
        let names: Vec<String> = (1..=12).map(|n| format!("Image.{n}")).collect();
        let values: Vec<String> = (1..=12).map(|n| format!("i{n}")).collect();
        let pairs: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
        assert_eq!(params(&pairs).list("Image").unwrap(), values);
    }

    #[test]
    fn gaps_strange_numbers_and_unknown_names_are_refused_by_name() {
        for (pairs, name) in [
            (&[("Image.1", "a"), ("Image.3", "c")][..], "Image.N"),
            (&[("Image.0", "a")], "Image.N"),
            (&[("Image.x", "a")], "Image.x"),
            (&[("Image.1", "a"), ("Image.01", "b")], "Image.01"),
            (&[("Image.1", "a"), ("Image.1.Foo", "b")], "Image.1.Foo"),
        ] {
            let refusal = params(pairs).list("Image").err().unwrap();
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
        assert!(params(&[("Imagee.1", "a")]).end().err().unwrap().message.contains("Imagee.1"));
    }

    #[test]
    fn booleans_come_in_any_case_and_empty_values_are_absent() {
        let mut p = params(&[("A", "True"), ("B", "false"), ("C", ""), ("D", "yes"), ("E", "1x")]);
        assert_eq!(p.boolean("A").unwrap(), Some(true));
        assert_eq!(p.boolean("B").unwrap(), Some(false));
        assert_eq!(p.boolean("C").unwrap(), None);
        assert!(p.boolean("D").is_err() && p.int("E").is_err());
    }
}
