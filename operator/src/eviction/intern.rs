//! Equal values shared: thousands of pods have the same namespace, labels and owner.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Values that are shared. Those that nobody has any more go when there are twice as many as were in use.
#[derive(Debug)]
pub(super) struct Shared<T: Ord + ?Sized> {
    values: BTreeSet<Arc<T>>,
    sweep_at: usize,
}

/// Fewer values are never swept.
const FEW: usize = 1_024;

impl<T: Ord + ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { values: BTreeSet::new(), sweep_at: FEW }
    }
}

impl<T: Ord + ?Sized> Shared<T> {
    /// The shared value that equals this one.
    pub(super) fn get<Q: Ord + ?Sized>(&mut self, value: &Q) -> Arc<T>
    where
        T: Borrow<Q>,
        Arc<T>: Borrow<Q> + for<'a> From<&'a Q>,
    {
        if let Some(known) = self.values.get(value) {
            return Arc::clone(known);
        }
        let new: Arc<T> = Arc::from(value);
        self.keep(&new);
        new
    }

    /// As [`get`](Self::get), for a value that is given away.
    pub(super) fn take(&mut self, value: T) -> Arc<T>
    where
        T: Sized,
    {
        if let Some(known) = self.values.get(&value) {
            return Arc::clone(known);
        }
        let new = Arc::new(value);
        self.keep(&new);
        new
    }

    fn keep(&mut self, new: &Arc<T>) {
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = (self.values.len() * 2).max(FEW);
        }
        self.values.insert(Arc::clone(new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_go() {
        let mut shared = Shared::<str>::default();
        let one = shared.get("a");
        assert!(Arc::ptr_eq(&one, &shared.get("a")));
        for n in 0..10 * FEW {
            let _ = shared.get(n.to_string().as_str());
        }
        assert!(shared.values.len() <= FEW + 1, "{}", shared.values.len());
        assert!(Arc::ptr_eq(&one, &shared.get("a")));
    }
}
