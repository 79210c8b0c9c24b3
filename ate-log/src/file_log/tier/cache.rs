//! A small map with a budget; what was used longest ago goes first.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    clock: u64,
    weight: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    used: u64,
    weight: usize,
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(weight_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            weight: 0,
            weight_max,
        }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let entry = self.entries.get_mut(key)?;
        // The order is only mended when it matters: a run of reads in one file is the rule.
        if entry.used != self.clock {
            self.order.remove(&entry.used);
            self.clock += 1;
            entry.used = self.clock;
            self.order.insert(self.clock, *key);
        }
        Some(Arc::clone(&entry.value))
    }

    /// Adds a value; one that is heavier than the whole budget stays alone until the next.
    pub(super) fn put(&mut self, key: K, value: Arc<V>, weight: usize) {
        self.remove(&key);
        while self.weight + weight > self.weight_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.weight -= entry.weight;
            }
        }
        self.clock += 1;
        self.weight += weight;
        self.order.insert(self.clock, key);
        let used = self.clock;
        self.entries.insert(
            key,
            Entry {
                value,
                used,
                weight,
            },
        );
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.weight -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_when_the_budget_is_full() {
        let mut cache = Cache::new(10);
        cache.put(1, Arc::new('a'), 4);
        cache.put(2, Arc::new('b'), 4);
        assert!(cache.get(&1).is_some());
        cache.put(3, Arc::new('c'), 4);
        assert_eq!(cache.get(&2), None, "used longest ago");
        assert_eq!(cache.get(&1).as_deref(), Some(&'a'));
        cache.put(4, Arc::new('d'), 100);
        assert_eq!(cache.get(&4).as_deref(), Some(&'d'), "too heavy, alone");
        assert!(cache.get(&1).is_none() && cache.get(&3).is_none());
        cache.remove(&4);
        cache.remove(&4);
        assert!(cache.weight == 0 && cache.order.is_empty());
    }
}
