//! What one complete list of the cloud showed, indexed; and when a list is too strange to be believed.

use std::collections::{BTreeMap, BTreeSet};

use eci_core::cloud::CloudId;
use eci_core::cloud_resource::identity::{TAG_CLUSTER, TAG_NAME, TAG_NAMESPACE, TAG_UID};
use eci_core::cloud_resource::{Kind, Owner};
use eci_core::time::Mono;

use crate::kind::{Key, Managed};

/// So many resources may vanish at once without making a list suspect.
pub const SUSPICION_FLOOR: usize = 5;
/// So many percent of the known resources may vanish at once without making a list suspect.
pub const SUSPICION_PERCENT: usize = 20;

/// Whether a list that lacks `missing` of `expected` resources is not to be believed.
pub fn is_suspect(expected: usize, missing: usize) -> bool {
    missing > SUSPICION_FLOOR.max(expected.saturating_mul(SUSPICION_PERCENT) / 100)
}

/// A complete list of the cluster's resources.
#[derive(Debug)]
pub struct Snapshot<K: Kind> {
    /// When the list was begun.
    pub begun: Mono,
    items: BTreeMap<CloudId, K::View>,
    by_uid: BTreeMap<String, BTreeSet<CloudId>>,
    by_name: BTreeMap<Key, BTreeSet<CloudId>>,
}

/// What differs between two lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Objects by UID.
    pub uids: BTreeSet<String>,
    /// Objects by name.
    pub names: BTreeSet<Key>,
}

impl<K: Managed> Snapshot<K> {
    /// Indexes a list. Resources without the tag of this cluster are left out, whatever the cloud's filter did; of two
    /// sightings of one resource (pages shift while they are read) the later one counts.
    pub fn new(begun: Mono, cluster: &str, views: Vec<K::View>) -> Self {
        let mut snapshot =
            Self { begun, items: BTreeMap::new(), by_uid: BTreeMap::new(), by_name: BTreeMap::new() };
        for view in views {
            if K::tags(&view).get(TAG_CLUSTER).is_some_and(|c| c == cluster) {
                snapshot.items.insert(K::id(&view).clone(), view);
            }
        }
        for (id, view) in &snapshot.items {
            let (uid, name) = marks::<K>(view);
            if let Some(uid) = uid {
                snapshot.by_uid.entry(uid).or_default().insert(id.clone());
            }
            if let Some(name) = name {
                snapshot.by_name.entry(name).or_default().insert(id.clone());
            }
        }
        snapshot
    }

    /// The resources that carry the object's UID or its namespace and name.
    pub fn of(&self, owner: &Owner) -> Vec<K::View> {
        let key = Key { namespace: owner.namespace.clone(), name: owner.name.clone() };
        let ids: BTreeSet<_> =
            [self.by_uid.get(&owner.uid), self.by_name.get(&key)].into_iter().flatten().flatten().collect();
        ids.into_iter().filter_map(|id| self.items.get(id)).cloned().collect()
    }

    /// Whether it shows this resource.
    pub fn shows(&self, id: &CloudId) -> bool {
        self.items.contains_key(id)
    }

    /// The resources that it shows, by ID.
    pub fn all(&self) -> impl Iterator<Item = &K::View> {
        self.items.values()
    }

    /// A resource that it shows.
    pub fn get(&self, id: &CloudId) -> Option<&K::View> {
        self.items.get(id)
    }

    /// Every resource, as far as it is of use.
    pub(crate) fn map<T>(&self, of: impl Fn(&K::View) -> T) -> Vec<T> {
        self.items.values().map(of).collect()
    }

    /// The object that a resource belongs to by its tags.
    pub(crate) fn owner_of(&self, id: &CloudId) -> Option<Key> {
        let tags = K::tags(self.items.get(id)?);
        let (namespace, name) = (tags.get(TAG_NAMESPACE)?.clone(), tags.get(TAG_NAME)?.clone());
        Some(Key { namespace, name })
    }

    /// How many of its resources are so.
    pub(crate) fn count(&self, is_so: impl Fn(&K::View) -> bool) -> usize {
        self.items.values().filter(|view| is_so(view)).count()
    }

    /// How many resources it shows.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it shows none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whose resources appeared, went or changed since `before`.
    pub fn changes(&self, before: Option<&Self>) -> Changes {
        let empty = BTreeMap::new();
        let old = before.map_or(&empty, |b| &b.items);
        let gone = old.iter().filter(|(id, _)| !self.items.contains_key(*id)).map(|(_, view)| view);
        let new = self.items.iter().filter(|(id, view)| old.get(*id) != Some(view));
        // A resource whose tags changed concerns the objects of both.
        let views = new.flat_map(|(id, view)| std::iter::once(view).chain(old.get(id)));
        let mut changes = Changes::default();
        for (uid, name) in views.chain(gone).map(marks::<K>) {
            changes.uids.extend(uid);
            changes.names.extend(name);
        }
        changes
    }
}

/// The object that the tags name.
fn marks<K: Kind>(view: &K::View) -> (Option<String>, Option<Key>) {
    let tags = K::tags(view);
    let name = tags
        .get(TAG_NAMESPACE)
        .zip(tags.get(TAG_NAME))
        .map(|(namespace, name)| Key { namespace: namespace.clone(), name: name.clone() });
    (tags.get(TAG_UID).cloned(), name)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use eci_core::cloud::{CacheState, ImageCacheView};
    use eci_core::image_cache::ImageCacheKind;

    use super::*;

    pub(crate) fn owner(name: &str, uid: &str) -> Owner {
        Owner { cluster: "c".into(), namespace: "ns".into(), name: name.into(), uid: uid.into() }
    }

    pub(crate) fn view(id: &str, owner: &Owner) -> ImageCacheView {
        ImageCacheView {
            id: CloudId::parse(id).unwrap(),
            name: String::new(),
            state: CacheState::Ready,
            progress_percent: None,
            images: Vec::new(),
            size_gib: None,
            snapshot_id: None,
            flash_snapshot_id: None,
            container_group_id: None,
            creation_time: None,
            expiration_time: None,
            last_matched_time: None,
            elimination_strategy: None,
            tags: owner.tags(1),
            events: Vec::new(),
        }
    }

    fn snapshot(views: Vec<ImageCacheView>) -> Snapshot<ImageCacheKind> {
        Snapshot::new(Mono(Duration::ZERO), "c", views)
    }

    #[test]
    fn an_object_finds_its_resources_by_uid_and_by_name_and_no_others() {
        let (a, a_before, b) = (owner("a", "1"), owner("a", "0"), owner("b", "2"));
        let renamed = Owner { name: "other".into(), ..a.clone() };
        let foreign = Owner { cluster: "d".into(), ..a.clone() };
        let all = snapshot(vec![
            view("imc-1", &a),
            view("imc-2", &a_before),
            view("imc-3", &b),
            view("imc-4", &renamed),
            view("imc-5", &foreign),
        ]);
        let ids: Vec<_> = all.of(&a).iter().map(|v| v.id.to_string()).collect();
        assert_eq!(ids, ["imc-1", "imc-2", "imc-4"]);
        assert_eq!(all.len(), 4, "the other cluster's is left out");
    }

    #[test]
    fn the_later_sighting_of_one_resource_counts() {
        let a = owner("a", "1");
        let late = ImageCacheView { state: CacheState::Failed, ..view("imc-1", &a) };
        let all = snapshot(vec![view("imc-1", &a), late]);
        assert_eq!(all.of(&a).iter().map(|v| v.state.clone()).collect::<Vec<_>>(), [CacheState::Failed]);
    }

    #[test]
    fn changes_name_who_appeared_went_or_differs() {
        let (a, b, c, d) = (owner("a", "1"), owner("b", "2"), owner("c", "3"), owner("d", "4"));
        let before = snapshot(vec![view("imc-a", &a), view("imc-b", &b), view("imc-c", &c)]);
        let further = ImageCacheView { progress_percent: Some(10), ..view("imc-b", &b) };
        let after = snapshot(vec![view("imc-a", &a), further, view("imc-d", &d)]);
        let changes = after.changes(Some(&before));
        assert_eq!(changes.uids, ["2", "3", "4"].map(String::from).into());
        assert_eq!(changes.names.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["b", "c", "d"]);
        assert_eq!(after.changes(Some(&after)), Changes::default());
    }

    #[test]
    fn a_change_of_tags_concerns_the_old_and_the_new_object() {
        let before = snapshot(vec![view("imc-1", &owner("a", "1"))]);
        let after = snapshot(vec![view("imc-1", &owner("b", "2"))]);
        assert_eq!(after.changes(Some(&before)).uids, ["1", "2"].map(String::from).into());
    }

    #[test]
    fn suspicion_begins_beyond_five_and_beyond_a_fifth() {
        for (expected, missing, suspect) in
            [(0, 0, false), (5, 5, false), (6, 6, true), (25, 5, false), (100, 20, false), (100, 21, true)]
        {
            assert_eq!(is_suspect(expected, missing), suspect, "{missing} of {expected}");
        }
    }
}
