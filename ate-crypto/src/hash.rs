//! SHA-256 values and the domain tags that keep one use of a hash from being mistaken for another.

use std::fmt;
use std::str::FromStr;

use sha2::block_api::compress256;
use zeroize::Zeroize;

use crate::error::TextError;

/// A SHA-256 value (FIPS 180-4). `Display` prints 64 lowercase hex digits, `Debug` the first eight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Thirty-two zero bytes: "none" wherever the format says so. Never the hash of anything known.
    pub const ZERO: Self = Self([0; 32]);
    /// Bytes of a hash.
    pub const BYTES: usize = 32;

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])?;
        f.write_str("…")
    }
}

impl FromStr for Hash {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        parse_hex(text).map(Self)
    }
}

/// SHA-256 over the parts joined without separators. Callers fix the lengths or frame the parts; for values that reach the
/// format use [`tagged`].
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut absorb = Absorb::new();
    for part in parts {
        absorb.update(part);
    }
    Hash(absorb.finish())
}

/// SHA-256 over `T(tag) ‖ parts`, where `T(tag)` is one length byte and the ASCII tag (docs/format.md).
///
/// # Panics
/// If the tag is longer than 255 bytes: tags are constants of the format.
#[must_use]
pub fn tagged(tag: &'static str, parts: &[&[u8]]) -> Hash {
    let mut absorb = Absorb::new();
    absorb.update(&[tag_length(tag)]);
    absorb.update(tag.as_bytes());
    for part in parts {
        absorb.update(part);
    }
    Hash(absorb.finish())
}

const BLOCK: usize = 64;

/// Initial state of SHA-256 (FIPS 180-4, section 5.3.3).
pub(crate) const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A SHA-256 computation over the compression function of `sha2`. The values of the format are short, mostly one to three
/// blocks; there the general hasher spends a third of its time around the compression, and it cannot start from a prepared
/// state that its owner wipes. It is not wiped on drop, which would cost every hash: whoever absorbs a secret calls `zeroize`.
#[derive(Zeroize)]
pub(crate) struct Absorb {
    state: [u32; 8],
    block: [u8; BLOCK],
    filled: usize,
    length: u64,
}

impl Absorb {
    /// Nothing absorbed yet.
    pub(crate) const fn new() -> Self {
        Self {
            state: INITIAL,
            block: [0; BLOCK],
            filled: 0,
            length: 0,
        }
    }

    /// Goes on from the state after one block.
    pub(crate) const fn after_a_block(state: [u32; 8]) -> Self {
        Self {
            state,
            block: [0; BLOCK],
            filled: 0,
            length: BLOCK as u64,
        }
    }

    /// Absorbs bytes; how they are cut does not matter.
    pub(crate) fn update(&mut self, mut data: &[u8]) {
        self.length += data.len() as u64;
        if self.filled > 0 {
            let take = data.len().min(BLOCK - self.filled);
            self.block[self.filled..self.filled + take].copy_from_slice(&data[..take]);
            self.filled += take;
            data = &data[take..];
            if self.filled < BLOCK {
                return;
            }
            compress256(&mut self.state, &[self.block]);
        }
        let (blocks, rest) = data.as_chunks::<BLOCK>();
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        self.block[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// Padding of FIPS 180-4, section 5.1.1, and the last block or two.
    pub(crate) fn finish(&mut self) -> [u8; 32] {
        self.block[self.filled] = 0x80;
        self.block[self.filled + 1..].fill(0);
        if self.filled + 1 > BLOCK - 8 {
            compress256(&mut self.state, &[self.block]);
            self.block.fill(0);
        }
        self.block[BLOCK - 8..].copy_from_slice(&(self.length * 8).to_be_bytes());
        compress256(&mut self.state, &[self.block]);
        state_bytes(&self.state)
    }
}

/// The hash value that a final SHA-256 state stands for.
pub(crate) fn state_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (four, word) in bytes.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// The length byte of `T(tag)`.
pub(crate) const fn tag_length(tag: &str) -> u8 {
    assert!(
        tag.len() <= u8::MAX as usize,
        "a domain tag is at most 255 bytes"
    );
    tag.len() as u8
}

/// Appends `T(tag)`.
pub(crate) fn push_tag(out: &mut Vec<u8>, tag: &'static str) {
    out.push(tag_length(tag));
    out.extend_from_slice(tag.as_bytes());
}

/// Writes lowercase hex.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// Reads exactly 64 hex digits of either case.
pub(crate) fn parse_hex(text: &str) -> Result<[u8; 32], TextError> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(TextError::Length {
            expected: 64,
            got: text.chars().count(),
        });
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(TextError::Alphabet),
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_the_value_of_fips_180() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&[b"a", b"", b"bc"]).to_string(), expected);
    }

    #[test]
    fn every_length_and_cut_agrees_with_the_general_hasher() {
        use sha2::{Digest, Sha256};
        let bytes: Vec<u8> = (0..400).map(|at| (at * 7 % 256) as u8).collect();
        for length in 0..=bytes.len() {
            let reference = Hash(Sha256::digest(&bytes[..length]).into());
            assert_eq!(sha256(&[&bytes[..length]]), reference, "length {length}");
            for cut in [0, 1, 55, 56, 63, 64, 65, 128, 200]
                .into_iter()
                .filter(|cut| *cut <= length)
            {
                let (head, tail) = bytes[..length].split_at(cut);
                let (middle, tail) = tail.split_at(tail.len() / 2);
                assert_eq!(
                    sha256(&[head, middle, tail]),
                    reference,
                    "length {length} cut {cut}"
                );
            }
        }
        let long = vec![0xa5; 1_000_003];
        assert_eq!(
            sha256(&[&long[..3], &long[3..]]),
            Hash(Sha256::digest(&long).into())
        );
    }

    #[test]
    fn a_tag_is_framed_by_its_length() {
        assert_eq!(tagged("ab", &[b"c"]), sha256(&[b"\x02abc"]));
        assert_ne!(tagged("ab", &[b"c"]), tagged("a", &[b"bc"]));
    }

    #[test]
    fn text_round_trips_and_refuses_what_is_not_hex() {
        let hash = sha256(&[b"x"]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        assert_eq!(
            "00".parse::<Hash>(),
            Err(TextError::Length {
                expected: 64,
                got: 2
            })
        );
        assert_eq!("g".repeat(64).parse::<Hash>(), Err(TextError::Alphabet));
        assert_eq!("é".repeat(32).parse::<Hash>(), Err(TextError::Alphabet));
        assert_eq!(format!("{hash:?}").chars().count(), 9);
    }
}
