//! Small numbers for values that many rows share.

use std::collections::HashMap;
use std::hash::Hash;

/// So many values are looked through one by one: most chains have fewer, and a map for each would be the larger part of a small chain.
const FEW: usize = 12;

/// Maps values to consecutive numbers, in order of first use. Never forgets.
pub(crate) struct Interner<T> {
    values: Vec<T>,
    /// Empty while the values are few.
    numbers: HashMap<T, u32>,
    /// The number asked for last: rows of one commit repeat it thousands of times, and comparing is cheaper than hashing.
    last: u32,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// An interner in which `first` is number 0.
    pub(crate) fn starting_with(first: T) -> Self {
        Self {
            values: vec![first],
            numbers: HashMap::new(),
            last: 0,
        }
    }

    /// Rebuilds an interner from its values in order; `None` if one stands twice or there is none.
    pub(crate) fn from_values(values: Vec<T>) -> Option<Self> {
        let mut numbers: HashMap<T, u32> = values.iter().cloned().zip(0..).collect();
        if numbers.len() != values.len() || values.is_empty() {
            return None;
        }
        if values.len() <= FEW {
            numbers = HashMap::new();
        }
        Some(Self {
            values,
            numbers,
            last: 0,
        })
    }

    pub(crate) fn number(&mut self, value: &T) -> u32 {
        if self.values[self.last as usize] == *value {
            return self.last;
        }
        if let Some(number) = self.find(value) {
            self.last = number;
            return number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 distinct values");
        self.values.push(value.clone());
        if self.values.len() == FEW + 1 {
            self.numbers = self.values.iter().cloned().zip(0..).collect();
        } else if self.values.len() > FEW {
            self.numbers.insert(value.clone(), number);
        }
        self.last = number;
        number
    }

    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        if self.values.len() <= FEW {
            let index = self.values.iter().position(|known| known == value);
            return index.map(|index| index as u32);
        }
        self.numbers.get(value).copied()
    }

    pub(crate) fn value(&self, number: u32) -> &T {
        &self.values[number as usize]
    }

    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_in_any_order_of_asking() {
        let mut interner = Interner::starting_with("zero");
        let asked = ["one", "one", "zero", "two", "one", "two", "two", "zero"];
        let numbers = asked.map(|value| interner.number(&value));
        assert_eq!(numbers, [1, 1, 0, 2, 1, 2, 2, 0]);
        let mut again = Interner::from_values(interner.values().to_vec()).unwrap();
        assert_eq!(asked.map(|value| again.number(&value)), numbers);
        // Beyond a few, and back from rest on both sides of it.
        let mut many = Interner::starting_with(0);
        for value in (0..40).chain(0..40) {
            assert_eq!(many.number(&value), value);
            let mut again = Interner::from_values(many.values().to_vec()).unwrap();
            assert_eq!(again.find(&value), Some(value));
            assert_eq!(again.number(&99), many.values().len() as u32);
        }
        assert!(Interner::from_values(vec![1, 1]).is_none());
        assert!(Interner::<u8>::from_values(Vec::new()).is_none());
    }
}
