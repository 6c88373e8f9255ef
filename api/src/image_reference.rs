//! Image references: checked, and brought into a normal form that finds doubles. What users wrote is what is sent.

/// Registry of references that name none.
const DEFAULT_HOST: &str = "docker.io";
/// Longest repository path, with host (OCI distribution specification's common limit).
const NAME_LIMIT: usize = 255;

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The path is not made of lower-case words.
    #[error("its repository may have lower-case letters, digits and . _ - between them only")]
    Repository,
    /// The host is not one.
    #[error("its registry host is not a host name with an optional port")]
    Host,
    /// The tag is not one.
    #[error("its tag may have at most 128 letters, digits and . _ - and must not begin with . or -")]
    Tag,
    /// The digest is not one.
    #[error("its digest is not an algorithm and at least 32 hexadecimal digits, such as sha256:…")]
    Digest,
    /// Nothing, or too long.
    #[error("its name is empty or longer than 255 characters")]
    Length,
}

/// An image reference in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    /// Reads a reference as pods write it.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(check_digest(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it begins a port.
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name.get(slash..).and_then(|last| last.find(':')) {
            Some(colon) => {
                let (name, tag) = name.split_at(slash + colon);
                (name, Some(check_tag(tag.get(1..).unwrap_or_default())?))
            }
            None => (name, None),
        };
        if name.is_empty() || name.len() > NAME_LIMIT {
            return Err(ReferenceError::Length);
        }
        let (host, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (check_host(first)?, rest)
            }
            _ => (DEFAULT_HOST.to_owned(), name),
        };
        if !path.split('/').all(is_path_word) {
            return Err(ReferenceError::Repository);
        }
        let path = if host == DEFAULT_HOST && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Ok(Self { host, path, tag, digest })
    }

    /// The registry's host, with port when written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same text for references that mean the same image.
    pub fn normal_form(&self) -> String {
        let mut text = format!("{}/{}", self.host, self.path);
        match (&self.tag, &self.digest) {
            (_, Some(digest)) => text.extend(["@", digest]),
            (Some(tag), None) => text.extend([":", tag]),
            (None, None) => text.push_str(":latest"),
        }
        text
    }
}

/// The names under which one registry is known become one: host without scheme and path.
pub fn registry_host(text: &str) -> String {
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = text.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_HOST.to_owned(),
        _ => host,
    }
}

fn check_host(text: &str) -> Result<String, ReferenceError> {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let word = |w: &str| {
        !w.is_empty()
            && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !w.starts_with('-')
            && !w.ends_with('-')
    };
    let port_fits = port.is_none_or(|p| (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    if name.split('.').all(word) && port_fits { Ok(registry_host(text)) } else { Err(ReferenceError::Host) }
}

fn is_path_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    let separators =
        word.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|s| !s.is_empty());
    ends && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn check_tag(text: &str) -> Result<String, ReferenceError> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && text.len() <= 128 { Ok(text.to_owned()) } else { Err(ReferenceError::Tag) }
}

fn check_digest(text: &str) -> Result<String, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Digest)?;
    let fits = !algorithm.is_empty()
        && algorithm
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'.' | b'_' | b'-'))
        && (32..=256).contains(&hex.len())
        && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { Ok(text.to_owned()) } else { Err(ReferenceError::Digest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(text: &str) -> Result<String, ReferenceError> {
        ImageReference::parse(text).map(|r| r.normal_form())
    }

    #[test]
    fn different_spellings_of_one_image_are_found() {
        for same in [
            "nginx",
            "nginx:latest",
            "docker.io/nginx",
            "library/nginx",
            "index.docker.io/library/nginx:latest",
        ] {
            assert_eq!(normal(same).unwrap(), "docker.io/library/nginx:latest", "{same}");
        }
        assert_eq!(normal("REGISTRY.example.com:5000/a/b:1").unwrap(), "registry.example.com:5000/a/b:1");
        assert_eq!(normal("localhost/a").unwrap(), "localhost/a:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(normal(&format!("a:1@{digest}")), normal(&format!("a:2@{digest}")));
    }

    #[test]
    fn a_text_that_is_no_reference_is_refused_with_the_part_that_is_wrong() {
        use ReferenceError::*;
        let long = "a".repeat(256);
        for (bad, why) in [
            ("", Length),
            (long.as_str(), Length),
            ("Nginx", Repository),
            ("a//b", Repository),
            ("a/", Repository),
            ("-a", Repository),
            ("a..b", Repository),
            ("a___b", Repository),
            ("a b", Repository),
            ("ä", Repository),
            ("a:", Tag),
            ("a:.x", Tag),
            ("a:b:c", Tag),
            ("a@sha256:12", Digest),
            ("a@b@c", Digest),
            ("-x.example.com/a", Host),
            ("x.example.com:port/a", Host),
            ("http://x/a", Host),
        ] {
            assert_eq!(normal(bad), Err(why), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_the_normal_form_is_its_own(text in "\\PC{0,80}|[a-z0-9./:@_-]{0,60}") {
            if let Ok(reference) = ImageReference::parse(&text) {
                let form = reference.normal_form();
                prop_assert_eq!(ImageReference::parse(&form).map(|r| r.normal_form()), Ok(form));
            }
        }
    }
}
