//! A confirmed map under a stack of pending changes: what makes `propose`, `confirm_to` and `rollback_to` cheap.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map whose newest changes belong to commits that are not confirmed yet.
pub(crate) struct Layered<K, V> {
    confirmed: HashMap<K, V>,
    /// Newest pending value of a key and the commit it came from.
    pending: HashMap<K, (u64, Option<V>)>,
    /// Pending changes in order of commit, so that they can be replayed into `confirmed` or dropped.
    changes: VecDeque<(u64, K, Option<V>)>,
}

impl<K, V> Default for Layered<K, V> {
    fn default() -> Self {
        Self {
            confirmed: HashMap::new(),
            pending: HashMap::new(),
            changes: VecDeque::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Layered<K, V> {
    /// The value with all pending changes applied.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self.pending.get(key) {
            Some((_, value)) => value.as_ref(),
            None => self.confirmed.get(key),
        }
    }

    /// The value that readers may see.
    pub(crate) fn confirmed(&self, key: &K) -> Option<&V> {
        self.confirmed.get(key)
    }

    /// All confirmed values.
    pub(crate) fn iter_confirmed(&self) -> impl Iterator<Item = (&K, &V)> {
        self.confirmed.iter()
    }

    /// Records a change of commit `seq`; `seq` never decreases.
    pub(crate) fn propose(&mut self, seq: u64, key: K, value: V) {
        self.change(seq, key, Some(value));
    }

    /// Records that commit `seq` takes a value away.
    pub(crate) fn propose_removal(&mut self, seq: u64, key: K) {
        self.change(seq, key, None);
    }

    fn change(&mut self, seq: u64, key: K, value: Option<V>) {
        debug_assert!(
            self.changes.back().is_none_or(|(last, ..)| *last <= seq),
            "commits are proposed in order"
        );
        self.pending.insert(key.clone(), (seq, value.clone()));
        self.changes.push_back((seq, key, value));
    }

    /// Makes every change below position `seq` confirmed.
    pub(crate) fn confirm_to(&mut self, seq: u64) {
        while self.changes.front().is_some_and(|(at, ..)| *at < seq) {
            let (at, key, value) = self.changes.pop_front().expect("just seen");
            if self
                .pending
                .get(&key)
                .is_some_and(|(newest, _)| *newest == at)
            {
                self.pending.remove(&key);
            }
            match value {
                Some(value) => self.confirmed.insert(key, value),
                None => self.confirmed.remove(&key),
            };
        }
    }

    /// Drops every change from position `seq` on.
    pub(crate) fn rollback_to(&mut self, seq: u64) {
        while self.changes.back().is_some_and(|(at, ..)| *at >= seq) {
            self.changes.pop_back();
        }
        self.pending.clear();
        for (at, key, value) in &self.changes {
            self.pending.insert(key.clone(), (*at, value.clone()));
        }
    }

    /// Gives back the memory that pending changes took, if there are none.
    pub(crate) fn shrink(&mut self) {
        if self.changes.is_empty() {
            self.pending = HashMap::new();
            self.changes = VecDeque::new();
        }
    }

    /// Replaces every confirmed value by an equal one.
    pub(crate) fn renew(&mut self, renew: impl Fn(&V) -> V) {
        self.confirmed
            .values_mut()
            .for_each(|value| *value = renew(value));
    }

    /// Sets a confirmed value directly, while nothing is pending.
    pub(crate) fn set(&mut self, key: K, value: V) {
        debug_assert!(self.changes.is_empty(), "only a state at rest is loaded");
        self.confirmed.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_uncovers_what_was_below() {
        let mut map = Layered::default();
        map.set("a", 0);
        map.propose(5, "a", 1);
        map.propose(6, "a", 2);
        map.propose(6, "b", 9);
        assert_eq!(
            (map.get(&"a"), map.confirmed(&"a"), map.get(&"b")),
            (Some(&2), Some(&0), Some(&9))
        );
        map.rollback_to(6);
        assert_eq!((map.get(&"a"), map.get(&"b")), (Some(&1), None));
        map.propose(6, "a", 3);
        map.confirm_to(6);
        assert_eq!((map.get(&"a"), map.confirmed(&"a")), (Some(&3), Some(&1)));
        map.confirm_to(7);
        assert_eq!((map.get(&"a"), map.confirmed(&"a")), (Some(&3), Some(&3)));
    }

    #[test]
    fn a_removal_is_undone_like_any_change() {
        let mut map = Layered::default();
        map.set("a", 0);
        map.propose_removal(3, "a");
        assert_eq!((map.get(&"a"), map.confirmed(&"a")), (None, Some(&0)));
        map.rollback_to(3);
        assert_eq!(map.get(&"a"), Some(&0));
        map.propose_removal(3, "a");
        map.propose(4, "a", 7);
        map.confirm_to(4);
        assert_eq!((map.get(&"a"), map.confirmed(&"a")), (Some(&7), None));
    }

    #[test]
    fn confirming_an_older_change_keeps_the_newer_pending() {
        let mut map = Layered::default();
        map.propose(1, "a", 1);
        map.propose(2, "a", 2);
        map.confirm_to(2);
        assert_eq!((map.get(&"a"), map.confirmed(&"a")), (Some(&2), Some(&1)));
        map.rollback_to(2);
        assert_eq!(map.get(&"a"), Some(&1));
    }
}
