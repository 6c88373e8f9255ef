//! Percent-encoding, and the flattening of structured parameters into names and values. Pure functions.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

/// Everything but `A–Z a–z 0–9 - _ . ~` (both signatures, vendor's documentation).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes UTF-8 with upper-case digits.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// How the keys of a free map are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapKeys {
    /// `#<length>#<key>`, the only form that the vendor documents; it keeps keys with dots whole.
    #[default]
    LengthPrefixed,
    /// As they are.
    Plain,
}

impl MapKeys {
    fn write(self, key: &str) -> String {
        match self {
            // Bytes or characters is documented nowhere; every known key is ASCII.
            Self::LengthPrefixed => format!("#{}#{key}", key.len()),
            Self::Plain => key.to_owned(),
        }
    }
}

/// A single value as the API writes it; `None` is left out.
pub trait Scalar {
    /// The text of the value.
    fn text(self) -> Option<String>;
}

impl Scalar for &str {
    fn text(self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl Scalar for &String {
    fn text(self) -> Option<String> {
        Some(self.clone())
    }
}

impl Scalar for i32 {
    fn text(self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Scalar for u32 {
    fn text(self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Scalar for usize {
    fn text(self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Scalar for bool {
    fn text(self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: Scalar> Scalar for Option<T> {
    fn text(self) -> Option<String> {
        self.and_then(Scalar::text)
    }
}

/// Flattened parameters of a call. The Debug form has names only, since values may be secret.
#[derive(Clone, Default)]
pub struct Params {
    prefix: String,
    pairs: Vec<(String, String)>,
    secrets: Vec<SecretString>,
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// `Name=value`; left out when absent.
    pub fn set(&mut self, name: &str, value: impl Scalar) -> &mut Self {
        if let Some(value) = value.text() {
            self.pairs.push((format!("{}{name}", self.prefix), value));
        }
        self
    }

    /// `Name=value` that must appear in no log and no message.
    pub fn secret(&mut self, name: &str, value: &SecretString) -> &mut Self {
        self.secrets.push(value.clone());
        self.set(name, value.expose_secret())
    }

    /// `Name.1=…`, `Name.2=…`
    pub fn list(&mut self, name: &str, values: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        for (index, value) in (1_usize..).zip(values) {
            self.set(&format!("{name}.{index}"), value.as_ref());
        }
        self
    }

    /// `Name=a,b`; left out when empty.
    pub fn comma(&mut self, name: &str, values: &[String]) -> &mut Self {
        self.set(name, (!values.is_empty()).then(|| values.join(",")).as_deref())
    }

    /// `Name.Field=…` for what `fill` sets.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let outer = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        fill(self);
        self.prefix.truncate(outer);
        self
    }

    /// `Name.1.Field=…`, `Name.2.Field=…` for what `fill` sets of each item.
    pub fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        fill: impl Fn(&mut Self, T),
    ) -> &mut Self {
        for (index, item) in (1_usize..).zip(items) {
            self.object(&format!("{name}.{index}"), |params| fill(params, item));
        }
        self
    }

    /// `Name.<key>=…` for a map with free keys.
    pub fn map(&mut self, name: &str, map: &BTreeMap<String, String>, keys: MapKeys) -> &mut Self {
        self.object(name, |params| {
            for (key, value) in map {
                params.set(&keys.write(key), value);
            }
        })
    }

    /// As [`Params::map`], for values that must appear in no log and no message.
    pub fn secret_map(
        &mut self,
        name: &str,
        map: &BTreeMap<String, SecretString>,
        keys: MapKeys,
    ) -> &mut Self {
        self.object(name, |params| {
            for (key, value) in map {
                params.secret(&keys.write(key), value);
            }
        })
    }

    /// The pairs, sorted by name: the order in which they are signed and sent.
    pub fn sorted(&self) -> Vec<(String, String)> {
        let mut pairs = self.pairs.clone();
        pairs.sort();
        pairs
    }

    /// The values that were given as secret.
    pub fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }
}

/// The query string of a URL, names and values encoded, in the order given.
pub fn query(pairs: &[(String, String)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(utf8_percent_encode(name, RESERVED));
        query.push('=');
        query.extend(utf8_percent_encode(value, RESERVED));
    }
    query
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn flat(fill: impl FnOnce(&mut Params)) -> Vec<String> {
        let mut params = Params::new();
        fill(&mut params);
        params.pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn only_unreserved_characters_stay_as_they_are() {
        assert_eq!(encode("AZaz09-_.~"), "AZaz09-_.~");
        assert_eq!(encode(" *+/&=%中"), "%20%2A%2B%2F%26%3D%25%E4%B8%AD");
    }

    #[test]
    fn absent_values_are_left_out_and_empty_ones_are_sent() {
        assert_eq!(
            flat(|p| {
                p.set("A", None::<i32>).set("B", "").set("C", Some(7)).comma("D", &[]).list("E", [""; 0]);
            }),
            ["B=", "C=7"]
        );
    }

    #[test]
    fn booleans_are_lower_case() {
        assert_eq!(
            flat(|p| {
                p.set("A", true).set("B", Some(false));
            }),
            ["A=true", "B=false"]
        );
    }

    #[test]
    fn lists_objects_and_lists_in_objects_are_numbered_from_one() {
        assert_eq!(
            flat(|p| {
                p.list("Image", ["a", "b"])
                    .objects("Acr", ["x", "y"], |p, item| {
                        p.set("Id", item).list("Domain", ["d", "e"]);
                    })
                    .object("Eip", |p| {
                        p.set("Bandwidth", 10);
                    })
                    .comma("VSwitchId", &["v".into(), "w".into()])
                    .set("Last", 1);
            }),
            [
                "Image.1=a",
                "Image.2=b",
                "Acr.1.Id=x",
                "Acr.1.Domain.1=d",
                "Acr.1.Domain.2=e",
                "Acr.2.Id=y",
                "Acr.2.Domain.1=d",
                "Acr.2.Domain.2=e",
                "Eip.Bandwidth=10",
                "VSwitchId=v,w",
                "Last=1"
            ]
        );
    }

    #[test]
    fn keys_of_free_maps_carry_their_length_unless_switched_off() {
        let map = BTreeMap::from([("repo.source".to_owned(), "x".to_owned())]);
        assert_eq!(
            flat(|p| {
                p.map("Options", &map, MapKeys::LengthPrefixed).map("Options", &map, MapKeys::Plain);
            }),
            ["Options.#11#repo.source=x", "Options.repo.source=x"]
        );
        assert_eq!(query(&[("Options.#11#repo.source".into(), "x".into())]), "Options.%2311%23repo.source=x");
    }

    #[test]
    fn the_debug_form_has_no_values() {
        let mut params = Params::new();
        params.secret("Password", &SecretString::from("hunter2"));
        assert_eq!(format!("{params:?}"), r#"["Password"]"#);
    }

    /// The decoder of any web server, written independently of the encoder.
    fn decode(query: &str) -> Vec<(String, String)> {
        let text = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_flattened_and_encoded_decodes_to_itself(
            images in prop::collection::vec(any::<String>(), 0..4),
            objects in prop::collection::vec((any::<String>(), prop::collection::vec(any::<String>(), 0..3)), 0..4),
            options in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
            flag in any::<Option<bool>>(),
        ) {
            let mut params = Params::new();
            params
                .list("Image", &images)
                .objects("Acr", &objects, |p, (id, domains)| { p.set("Id", id).list("Domain", domains); })
                .map("Options", &options, MapKeys::LengthPrefixed)
                .set("Flag", flag);
            let sent = params.sorted();
            let query = query(&sent);
            prop_assert!(query.is_ascii());
            let got = decode(&query);
            prop_assert_eq!(&got, &sent);

            let got: BTreeMap<_, _> = got.into_iter().collect();
            for (index, image) in images.iter().enumerate() {
                prop_assert_eq!(&got[&format!("Image.{}", index + 1)], image);
            }
            for (index, (id, domains)) in objects.iter().enumerate() {
                prop_assert_eq!(&got[&format!("Acr.{}.Id", index + 1)], id);
                for (inner, domain) in domains.iter().enumerate() {
                    prop_assert_eq!(&got[&format!("Acr.{}.Domain.{}", index + 1, inner + 1)], domain);
                }
            }
            for (key, value) in &options {
                prop_assert_eq!(&got[&format!("Options.#{}#{key}", key.len())], value);
            }
            prop_assert_eq!(got.get("Flag").map(String::as_str), flag.map(|f| if f { "true" } else { "false" }));
        }
    }
}
