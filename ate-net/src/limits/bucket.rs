//! Token buckets by key, in a table of bounded size.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

/// A pace: `tokens` every `per_ms`, and at most `burst` at once after a rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Tokens that come back in `per_ms`.
    pub tokens: u64,
    /// The time in which they come back, in ms; 0 counts as 1.
    pub per_ms: u64,
    /// The most that can be taken at once.
    pub burst: u64,
}

impl Rate {
    /// So many a second.
    #[must_use]
    pub const fn per_second(tokens: u64, burst: u64) -> Self {
        Self {
            tokens,
            per_ms: 1000,
            burst,
        }
    }

    /// What a token is counted in: so fine that every ms gives back a whole number.
    const fn scale(self) -> u128 {
        if self.per_ms == 0 {
            1
        } else {
            self.per_ms as u128
        }
    }

    const fn scaled(self, tokens: u64) -> u128 {
        tokens as u128 * self.scale()
    }

    /// ms until so much of a debt is paid; `None` if it never is.
    fn pays(self, scaled: u128) -> Option<u64> {
        if scaled == 0 {
            return Some(0);
        }
        let ms =
            scaled.checked_add(u128::from(self.tokens).checked_sub(1)?)? / u128::from(self.tokens);
        Some(u64::try_from(ms).unwrap_or(u64::MAX))
    }
}

/// A token bucket for each key. A bucket that is full again is forgotten, which changes nothing; when the table is full of others, new keys share one bucket.
///
/// Time may stand still or jump back: then nothing is paid back until it is where it was.
///
/// # Cost
/// O(log keys) under one lock.
pub struct TokenBuckets<K> {
    rate: Rate,
    rows_max: usize,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    rows: BTreeMap<K, Debt>,
    /// When each row will say nothing any more.
    ends: BTreeSet<(u64, K)>,
    /// Of all keys that found no row.
    others: Debt,
}

/// What was taken and has not come back.
#[derive(Clone, Copy, Default)]
struct Debt {
    scaled: u128,
    at_ms: u64,
}

impl Debt {
    fn at(self, rate: Rate, now_ms: u64) -> Self {
        let paid = u128::from(now_ms.saturating_sub(self.at_ms)) * u128::from(rate.tokens);
        Self {
            scaled: self.scaled.saturating_sub(paid),
            at_ms: self.at_ms.max(now_ms),
        }
    }

    fn ends_ms(self, rate: Rate) -> u64 {
        rate.pays(self.scaled)
            .map_or(u64::MAX, |ms| self.at_ms.saturating_add(ms))
    }
}

impl<K: Ord + Clone> TokenBuckets<K> {
    /// Full buckets, at most `rows_max` of them told apart.
    #[must_use]
    pub fn new(rate: Rate, rows_max: usize) -> Self {
        Self {
            rate,
            rows_max,
            table: Mutex::new(Table {
                rows: BTreeMap::new(),
                ends: BTreeSet::new(),
                others: Debt::default(),
            }),
        }
    }

    /// Takes tokens, or nothing.
    ///
    /// # Errors
    /// In how many ms there will be enough; `None` if there never will.
    pub fn take(&self, key: K, tokens: u64, now_ms: u64) -> Result<(), Option<u64>> {
        self.change(key, now_ms, |debt, rate| {
            let after = debt.scaled.saturating_add(rate.scaled(tokens));
            let over = after.saturating_sub(rate.scaled(rate.burst));
            if over == 0 {
                debt.scaled = after;
                return Ok(());
            }
            // Not even a full bucket has so many.
            if tokens > rate.burst {
                return Err(None);
            }
            Err(rate.pays(over))
        })
    }

    /// Takes tokens that are gone already, whether there are enough or not. Returns for how many ms nothing more should be taken.
    pub fn charge(&self, key: K, tokens: u64, now_ms: u64) -> u64 {
        self.change(key, now_ms, |debt, rate| {
            debt.scaled = debt.scaled.saturating_add(rate.scaled(tokens));
            let over = debt.scaled.saturating_sub(rate.scaled(rate.burst));
            rate.pays(over).unwrap_or(u64::MAX)
        })
    }

    /// Keys that are told apart at this moment.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.table.lock().rows.len()
    }

    fn change<T>(&self, key: K, now_ms: u64, change: impl FnOnce(&mut Debt, Rate) -> T) -> T {
        let rate = self.rate;
        let mut table = self.table.lock();
        let Table { rows, ends, others } = &mut *table;
        if !rows.contains_key(&key) && rows.len() >= self.rows_max {
            let has_room = ends.first().is_some_and(|(ends_ms, _)| *ends_ms <= now_ms);
            if !has_room {
                *others = others.at(rate, now_ms);
                return change(others, rate);
            }
            if let Some((_, oldest)) = ends.pop_first() {
                rows.remove(&oldest);
            }
        }
        let before = rows.get(&key).copied();
        let mut debt = before.unwrap_or_default().at(rate, now_ms);
        let answer = change(&mut debt, rate);
        if let Some(before) = before {
            ends.remove(&(before.ends_ms(rate), key.clone()));
        }
        if debt.scaled == 0 {
            rows.remove(&key);
        } else {
            ends.insert((debt.ends_ms(rate), key.clone()));
            rows.insert(key, debt);
        }
        debug_assert_eq!(rows.len(), ends.len(), "every row has an end");
        answer
    }
}
