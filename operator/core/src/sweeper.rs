//! Cloud resources that belong to no object: found, told of, never deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cloud::CloudId;
use crate::cloud_resource::identity::{TAG_NAME, TAG_NAMESPACE, TAG_UID};
use crate::time::Mono;

/// How far apart two lists are that both have to show a resource without an object. An object that is just being made or
/// deleted is not yet, or not any more, in one of the two copies that are compared.
pub const GAP: Duration = Duration::from_mins(1);

/// The objects that exist, as the API server told last.
#[derive(Clone, Debug, Default)]
pub struct Living {
    /// Their UIDs.
    pub uids: BTreeSet<String>,
    /// Their namespaces and names.
    pub names: BTreeSet<(String, String)>,
}

/// What there is to judge by.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// When the list was begun.
    pub begun: Mono,
    /// Whether so much is missing in the list that it is not believed.
    pub suspect: bool,
    /// The resources of the cluster that it shows, with their tags.
    pub resources: &'a [(&'a CloudId, &'a BTreeMap<String, String>)],
    /// The objects; `None` until all of them were read once.
    pub living: Option<&'a Living>,
    /// The namespaces that this operator works in; all when empty. A resource of another namespace is not its business.
    pub namespaces: &'a [String],
}

/// A resource that belongs to no object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// Its ID.
    pub id: CloudId,
    /// Namespace and name of the object that it was made for, if its tags give a name that an object can have.
    pub made_for: Option<(String, String)>,
}

/// Remembers since when resources have had no object. Never larger than the list.
#[derive(Clone, Debug, Default)]
pub struct Sweeper {
    since: BTreeMap<CloudId, Mono>,
}

impl Sweeper {
    /// The orphans by this look and earlier ones, by ID; `None` when nothing can be said.
    pub fn sweep(&mut self, look: Look<'_>) -> Option<Vec<Orphan>> {
        let living = look.living.filter(|_| !look.suspect)?;
        let mut since = BTreeMap::new();
        let mut orphans = Vec::new();
        for (id, tags) in look.resources {
            let (namespace, name) = (tags.get(TAG_NAMESPACE), tags.get(TAG_NAME));
            let other_operators = !look.namespaces.is_empty()
                && !namespace.is_some_and(|namespace| look.namespaces.contains(namespace));
            let by_uid = tags.get(TAG_UID).is_some_and(|uid| living.uids.contains(uid));
            let made_for = namespace.cloned().zip(name.cloned());
            // An object that was made anew under its old name takes the resource over.
            let by_name = made_for.as_ref().is_some_and(|names| living.names.contains(names));
            if other_operators || by_uid || by_name {
                continue;
            }
            let first = self.since.get(*id).copied().unwrap_or(look.begun);
            since.insert((*id).clone(), first);
            if look.begun.since(first) >= GAP {
                let made_for = made_for.filter(|(namespace, name)| is_label(namespace) && is_name(name));
                orphans.push(Orphan { id: (*id).clone(), made_for });
            }
        }
        self.since = since;
        orphans.sort();
        orphans.dedup();
        Some(orphans)
    }
}

/// Whether the text can be the name of a namespace.
fn is_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether the text can be the name of an object.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(namespace: &str, name: &str, uid: &str) -> BTreeMap<String, String> {
        [(TAG_NAMESPACE, namespace), (TAG_NAME, name), (TAG_UID, uid)]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn living(objects: &[(&str, &str, &str)]) -> Living {
        Living {
            uids: objects.iter().map(|(_, _, uid)| (*uid).to_owned()).collect(),
            names: objects.iter().map(|(ns, name, _)| ((*ns).to_owned(), (*name).to_owned())).collect(),
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// The IDs that are orphans by a list begun at `begun`.
    fn sweep(
        sweeper: &mut Sweeper,
        begun: u64,
        resources: &[(&str, BTreeMap<String, String>)],
        living: Option<&Living>,
        namespaces: &[String],
    ) -> Option<Vec<Orphan>> {
        let ids: Vec<CloudId> = resources.iter().map(|(id, _)| CloudId::parse(id).unwrap()).collect();
        let resources: Vec<_> = ids.iter().zip(resources.iter().map(|(_, tags)| tags)).collect();
        sweeper.sweep(Look { begun: at(begun), suspect: false, resources: &resources, living, namespaces })
    }

    fn orphan(id: &str, made_for: Option<(&str, &str)>) -> Orphan {
        let made_for = made_for.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        Orphan { id: CloudId::parse(id).unwrap(), made_for }
    }

    #[test]
    fn a_resource_without_an_object_is_told_of_after_two_lists_a_minute_apart() {
        let mut sweeper = Sweeper::default();
        let all = [
            ("imc-1", tags("ns", "a", "1")),
            ("imc-2", tags("ns", "b", "2")),
            ("imc-3", tags("ns", "c", "9")),
        ];
        // The second by its UID although renamed tags; the third by its name, with another UID.
        let objects = living(&[("ns", "x", "2"), ("ns", "c", "3")]);
        assert_eq!(sweep(&mut sweeper, 10, &all, Some(&objects), &[]), Some(vec![]));
        assert_eq!(sweep(&mut sweeper, 69, &all, Some(&objects), &[]), Some(vec![]));
        let found = sweep(&mut sweeper, 70, &all, Some(&objects), &[]);
        assert_eq!(found, Some(vec![orphan("imc-1", Some(("ns", "a")))]));
    }

    #[test]
    fn a_list_that_lacks_it_or_an_object_that_comes_back_begins_anew() {
        let mut sweeper = Sweeper::default();
        let all = [("imc-1", tags("ns", "a", "1"))];
        let none = Living::default();
        let back = living(&[("ns", "a", "2")]);
        for (between, resources, objects) in [(20, &all[..0], &none), (20, &all[..], &back)] {
            sweeper = Sweeper::default();
            sweep(&mut sweeper, 10, &all, Some(&none), &[]);
            sweep(&mut sweeper, between, resources, Some(objects), &[]);
            assert_eq!(
                sweep(&mut sweeper, 75, &all, Some(&none), &[]),
                Some(vec![]),
                "since 75, not since 10"
            );
            assert_eq!(sweep(&mut sweeper, 135, &all, Some(&none), &[]).map(|o| o.len()), Some(1));
        }
        assert_eq!(sweeper.since.len(), 1);
    }

    #[test]
    fn nothing_is_said_of_a_list_that_is_not_believed_or_before_the_objects_were_read() {
        let mut sweeper = Sweeper::default();
        let all = [("imc-1", tags("ns", "a", "1"))];
        assert_eq!(sweep(&mut sweeper, 10, &all, None, &[]), None);
        assert!(sweeper.since.is_empty());
        let id = CloudId::parse("imc-1").unwrap();
        let resources = [(&id, &all[0].1)];
        let none = Living::default();
        let look = Look {
            begun: at(10),
            suspect: true,
            resources: &resources,
            living: Some(&none),
            namespaces: &[],
        };
        assert_eq!(sweeper.sweep(look), None);
        assert!(sweeper.since.is_empty(), "what it showed does not count either");
    }

    #[test]
    fn resources_of_namespaces_of_another_operator_are_not_judged() {
        let mut sweeper = Sweeper::default();
        let all = [
            ("imc-1", tags("ours", "a", "1")),
            ("imc-2", tags("theirs", "a", "2")),
            ("imc-3", BTreeMap::new()),
        ];
        let none = Living::default();
        let ours = ["ours".to_owned()];
        sweep(&mut sweeper, 0, &all, Some(&none), &ours);
        let found = sweep(&mut sweeper, 60, &all, Some(&none), &ours);
        assert_eq!(found, Some(vec![orphan("imc-1", Some(("ours", "a")))]));
    }

    #[test]
    fn hostile_tags_name_no_object() {
        let mut sweeper = Sweeper::default();
        let long = "a".repeat(64);
        let hostile = [
            ("a\nb", "a"),
            ("ns", "a b"),
            ("ns", "../x"),
            ("", "a"),
            (&long, "a"),
            ("ns", "-a"),
            ("ns", "a..b"),
        ];
        for (namespace, name) in hostile {
            let all = [("imc-1", tags(namespace, name, "1"))];
            sweeper.since = BTreeMap::from([(CloudId::parse("imc-1").unwrap(), at(0))]);
            let found = sweep(&mut sweeper, 60, &all, Some(&Living::default()), &[]);
            assert_eq!(found, Some(vec![orphan("imc-1", None)]), "{namespace:?} {name:?}");
        }
    }

    proptest! {
        /// Whatever comes: what has an object is never told of, and what is told of was in two lists a minute apart.
        #[test]
        fn only_what_lacked_an_object_for_a_minute_is_told_of(
            looks in prop::collection::vec((1_u64..50, prop::collection::vec((0_u8..4, any::<bool>()), 0..6), any::<bool>()), 1..20),
        ) {
            let mut sweeper = Sweeper::default();
            let mut now = 0;
            let mut without: BTreeMap<String, u64> = BTreeMap::new();
            for (pause, shown, suspect) in looks {
                now += pause;
                let shown: BTreeMap<u8, bool> = shown.into_iter().collect();
                let ids: Vec<_> = shown.keys().map(|n| CloudId::parse(&format!("imc-{n}")).unwrap()).collect();
                let all: Vec<_> = shown.keys().map(|n| tags("ns", &format!("o{n}"), &n.to_string())).collect();
                let objects = Living {
                    uids: shown.iter().filter(|(_, alive)| **alive).map(|(n, _)| n.to_string()).collect(),
                    names: BTreeSet::new(),
                };
                let resources: Vec<_> = ids.iter().zip(&all).collect();
                let look = Look { begun: at(now), suspect, resources: &resources, living: Some(&objects), namespaces: &[] };
                let found = sweeper.sweep(look);
                if suspect {
                    prop_assert_eq!(found, None);
                    continue;
                }
                let lacking: BTreeSet<String> =
                    shown.iter().filter(|(_, alive)| !**alive).map(|(n, _)| format!("imc-{n}")).collect();
                without.retain(|id, _| lacking.contains(id));
                for id in &lacking {
                    without.entry(id.clone()).or_insert(now);
                }
                let expected: Vec<&String> = without.iter().filter(|(_, first)| now - **first >= 60).map(|(id, _)| id).collect();
                let found: Vec<String> = found.unwrap().into_iter().map(|orphan| orphan.id.to_string()).collect();
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
                prop_assert!(sweeper.since.len() <= shown.len());
            }
        }
    }
}
