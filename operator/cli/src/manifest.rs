//! Files with manifests, as `kubectl apply -f` takes them: YAML or JSON, several documents, lists.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Error;

/// Longest file, in bytes: larger than any object that an API server takes, and than most lists of them.
const MAX_BYTES: u64 = 64 << 20;
/// Most files of a directory.
const MAX_FILES: usize = 1_000;
/// How deep lists may be in lists.
const MAX_DEPTH: usize = 4;
/// The file that is the standard input.
const STDIN: &str = "-";

/// An object, and the file that it is from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// File.
    pub(crate) file: String,
    /// The object.
    pub(crate) object: Value,
}

/// The objects of files and directories, in order. `-` is the standard input; of a directory the files that end with
/// `.yaml`, `.yml` or `.json` are read, by name.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    for path in paths {
        for file in files(path)? {
            let name = file.display().to_string();
            documents.extend(parse(&name, &text(&file)?)?);
        }
    }
    Ok(documents)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.as_os_str() == STDIN || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |source| Error::File { path: path.display().to_string(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let meant = file.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|e| end == *e));
        if meant && file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(Error::TooMany(format!("files in {}: at most {MAX_FILES} are read", path.display())));
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::File { path: path.display().to_string(), source };
    let source: Box<dyn std::io::Read> = if path.as_os_str() == STDIN {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(path).map_err(unreadable)?)
    };
    let mut text = String::new();
    source.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::Manifest {
            path: path.display().to_string(),
            why: format!("it is longer than {} MiB", MAX_BYTES >> 20),
        });
    }
    Ok(text)
}

/// The objects in a text. Documents without content are passed over.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Document>, Error> {
    let bad = |why: String| Error::Manifest { path: file.to_owned(), why };
    let documents = serde_saphyr::from_multiple::<Value>(text).map_err(|error| bad(error.to_string()))?;
    let mut objects = Vec::new();
    for document in documents {
        flatten(document, MAX_DEPTH, &mut objects).map_err(&bad)?;
    }
    Ok(objects.into_iter().map(|object| Document { file: file.to_owned(), object }).collect())
}

fn flatten(document: Value, depth: usize, into: &mut Vec<Value>) -> Result<(), String> {
    match document {
        Value::Null => Ok(()),
        Value::Object(mut map) => {
            let is_list = map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
            match map.remove("items") {
                Some(Value::Array(items)) if is_list => {
                    if depth == 0 {
                        return Err("lists are nested too deep".to_owned());
                    }
                    items.into_iter().try_for_each(|item| flatten(item, depth - 1, into))
                }
                items => {
                    map.extend(items.map(|items| ("items".to_owned(), items)));
                    into.push(Value::Object(map));
                    Ok(())
                }
            }
        }
        other => Err(format!("{} is no object of Kubernetes", cut(&other.to_string()))),
    }
}

/// A foreign text, short enough for a message.
pub(crate) fn cut(text: &str) -> String {
    const LONGEST: usize = 80;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = clean.take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

impl Document {
    /// `apiVersion`, or nothing.
    pub(crate) fn api_version(&self) -> &str {
        self.text("/apiVersion").unwrap_or_default()
    }

    /// `kind`, or nothing.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    /// `metadata.name`, or nothing.
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace").filter(|namespace| !namespace.is_empty())
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.object.pointer(pointer).and_then(Value::as_str)
    }

    /// Kind, namespace and name, for messages.
    pub(crate) fn path(&self) -> String {
        let kind = if self.kind().is_empty() { "an object without a kind" } else { self.kind() };
        let name = if self.name().is_empty() { "(no name)" } else { self.name() };
        match self.namespace() {
            Some(namespace) => cut(&format!("{kind} {namespace}/{name}")),
            None => cut(&format!("{kind} {name}")),
        }
    }

    /// The object as a type of Kubernetes.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(self.object.clone()).map_err(|error| Error::Manifest {
            path: self.file.clone(),
            why: format!("{}: {error}", self.path()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse("f", text).unwrap().iter().map(|document| document.name().to_owned()).collect()
    }

    #[test]
    fn documents_lists_and_lists_in_lists_are_read() {
        assert_eq!(names("metadata: {name: a}\n---\n---\nmetadata: {name: b}\n"), ["a", "b"]);
        assert_eq!(names(r#"{"kind":"List","items":[{"metadata":{"name":"a"}}]}"#), ["a"]);
        let nested =
            "kind: List\nitems:\n- kind: PodList\n  items:\n  - metadata: {name: a}\n- metadata: {name: b}\n";
        assert_eq!(names(nested), ["a", "b"]);
        assert!(names("").is_empty());
        assert_eq!(parse("f", "items: [1]\nkind: Pod\n").unwrap()[0].object["items"], serde_json::json!([1]));
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_name_of_the_file() {
        let deep = (0..8).fold("{\"kind\":\"Pod\"}".to_owned(), |inner, _| {
            format!("{{\"kind\":\"List\",\"items\":[{inner}]}}")
        });
        for text in ["- 1", "just a text", "a: [", "a: 1\na: 2", "42", &deep] {
            let error = parse("file.yaml", text).unwrap_err().to_string();
            assert!(error.contains("file.yaml"), "{text}: {error}");
        }
        let missing = read(&["/nonexistent/pod.yaml".into()]).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/pod.yaml"), "{missing}");
    }
}
