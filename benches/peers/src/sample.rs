//! The record that every row writes and reads: about 200 bytes of postcard, made from its id alone.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The same fields as the record of ATE's own rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) id: u64,
    name: String,
    email: String,
    balance: i64,
    tags: Vec<String>,
    note: String,
}

impl Sample {
    /// The record with this id; no two share their texts, so that compression finds what it would in real data.
    pub(crate) fn new(id: u64) -> Self {
        let mut random = Random(id);
        Self {
            id,
            name: random.text(18),
            email: format!("{}@{}.example", random.text(12), random.text(8)),
            balance: (random.next() % 2_000_000) as i64 - 1_000_000,
            tags: vec![random.text(8), random.text(8), random.text(8)],
            note: random.text(118),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_stdvec(self)?)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

/// SplitMix64: a fixed sequence for each seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Small letters and blanks.
    fn text(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b"etaoin shrdlucmfwypvbgk "[(self.next() % 24) as usize]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_about_200_bytes_and_reads_back() {
        for id in [0, 1, 999_999] {
            let sample = Sample::new(id);
            let bytes = sample.encode().expect("encodes");
            assert!((195..=205).contains(&bytes.len()), "{} bytes", bytes.len());
            assert_eq!(Sample::decode(&bytes).expect("decodes"), sample);
        }
        assert_ne!(Sample::new(1).note, Sample::new(2).note);
    }
}
