//! The one secret behind an identity, and its 24 words.

use bip39::{Language, Mnemonic};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::WordsError;
use crate::random::Random;

const WORDS: usize = 24;
/// The longest word of the English list has 8 letters; one space each.
const WORDS_TEXT_MAX: usize = WORDS * 9;

/// The 32 secret bytes from which every key of an identity is derived. Wiped on drop; has no `Debug`, `Clone` or serialised
/// form but the two that say what they do: [`Seed::expose`] and [`Seed::to_words`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A fresh seed. All strength of the identity comes from `random`.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut seed = Self([0; 32]);
        random.fill(&mut seed.0);
        seed
    }

    /// A seed from stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes. Whoever copies them wipes the copy.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The seed as 24 English words (BIP-39, entropy and check bits only: no passphrase, no key stretching), lowercase, with
    /// single spaces. They are as secret as the seed.
    #[must_use]
    pub fn to_words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, &self.0)
            .expect("32 bytes are a length that BIP-39 has");
        // Reserved up front so that growth leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(WORDS_TEXT_MAX));
        for (index, word) in mnemonic.words().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// Reads 24 words back. Case and the amount of white space do not matter.
    ///
    /// # Errors
    /// [`WordsError`] if the number of words, a word or the check bits are wrong. The error never repeats a word.
    pub fn from_words(words: &str) -> Result<Self, WordsError> {
        let got = words.split_whitespace().count();
        if got != WORDS {
            return Err(WordsError::Count { got });
        }
        let lowered = Zeroizing::new(words.to_ascii_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &lowered).map_err(
            |error| match error {
                bip39::Error::UnknownWord(index) => WordsError::Unknown {
                    position: index + 1,
                },
                _ => WordsError::Check,
            },
        )?;
        let (entropy, length) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let mut seed = Self([0; 32]);
        assert_eq!(length, seed.0.len(), "24 words carry 32 bytes");
        seed.0.copy_from_slice(&entropy[..length]);
        Ok(seed)
    }
}

impl PartialEq for Seed {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Seed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    /// Entropy and words of the BIP-39 reference vectors (the part before the passphrase).
    const KNOWN: [(&str, &str); 4] = [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
             abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner \
             thank year wave sausage worth title",
        ),
        (
            "8080808080808080808080808080808080808080808080808080808080808080",
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid \
             letter advice cage absurd amount doctor acoustic bless",
        ),
        (
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
        ),
    ];

    #[test]
    fn words_are_those_of_bip_39() {
        for (hex, words) in KNOWN {
            let seed = Seed::from_bytes(crate::hash::parse_hex(hex).expect("hex"));
            assert_eq!(seed.to_words().as_str(), words);
            let back = Seed::from_words(words).map_err(|error| error.to_string());
            assert!(back.is_ok_and(|back| back == seed));
        }
    }

    #[test]
    fn words_round_trip_in_any_case_and_spacing() {
        let random = SeededRandom::new(7);
        for _ in 0..50 {
            let seed = Seed::generate(&random);
            let words = seed.to_words();
            assert!(words.len() <= WORDS_TEXT_MAX);
            let untidy = format!("  {}\n", words.to_uppercase().replace(' ', " \t "));
            assert!(Seed::from_words(&untidy).is_ok_and(|back| back == seed));
        }
    }

    #[test]
    fn wrong_words_are_refused_with_their_place() {
        let words = Seed::generate(&SeededRandom::new(1)).to_words();
        let list: Vec<&str> = words.split(' ').collect();
        assert_eq!(
            Seed::from_words("").err(),
            Some(WordsError::Count { got: 0 })
        );
        assert_eq!(
            Seed::from_words(&list[..12].join(" ")).err(),
            Some(WordsError::Count { got: 12 })
        );
        let mut unknown = list.clone();
        unknown[4] = "kryptonite";
        assert_eq!(
            Seed::from_words(&unknown.join(" ")).err(),
            Some(WordsError::Unknown { position: 5 })
        );
        let mut swapped = list;
        swapped.swap(0, 1);
        assert_eq!(
            Seed::from_words(&swapped.join(" ")).err(),
            Some(WordsError::Check)
        );
    }
}
