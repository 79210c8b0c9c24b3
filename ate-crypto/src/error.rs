//! What can be refused, one enum for each family of operations.
//!
//! A failed signature, decryption or proof carries no detail on purpose: which half or which byte was wrong helps only
//! somebody who is searching for a forgery.

use std::fmt;

use crate::who::KeyId;

/// A suite id that this version does not implement. There is never a fall-back to another suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSuite {
    /// The id that was read.
    pub id: u8,
}

impl fmt::Display for UnknownSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            2 => write!(
                f,
                "cryptographic suite 2 (round3) is reserved and not supported by this version"
            ),
            id => write!(f, "unknown cryptographic suite {id}"),
        }
    }
}

impl std::error::Error for UnknownSuite {}

/// A text form (hex hash, key id, identity) that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text does not begin with the word that names its kind.
    #[error("text does not begin with {expected}")]
    Prefix {
        /// The prefix that this kind of text has.
        expected: &'static str,
    },
    /// The text has the wrong number of characters after its prefix.
    #[error("text has {got} characters where {expected} are expected")]
    Length {
        /// Characters expected.
        expected: usize,
        /// Characters found.
        got: usize,
    },
    /// A character is not of the alphabet (hex or unpadded base64url), or the last one has stray bits.
    #[error("text holds a character outside its alphabet")]
    Alphabet,
    /// The check bytes at the end do not fit: a typing or copying mistake.
    #[error("text has a wrong check value: it was mistyped or cut")]
    Check,
}

/// A public key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The encoding has the wrong number of bytes.
    #[error("public key has {got} bytes where {expected} are expected")]
    Length {
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// The key belongs to a suite that this version does not implement.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    /// A coefficient of the ML-KEM key is not below 3329 (the modulus check of FIPS 203, section 7.2).
    #[error("ml-kem public key is not reduced")]
    NotReduced,
    /// The X25519 part has a low order: the agreed secret would be zero (RFC 7748, section 6.1).
    #[error("x25519 public key has a low order")]
    LowOrder,
    /// A wrap was asked for one identity with the key id of another.
    #[error("wrap is labelled for {labelled} but made for {recipient}")]
    Recipient {
        /// Key id in the wrap's label.
        labelled: KeyId,
        /// Key id of the public key.
        recipient: KeyId,
    },
    /// The text form cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// A signature that is not valid for this key, purpose and content. Both halves must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature is not valid for this key, purpose and content")]
pub struct BadSignature;

/// Sealed bytes that do not open: another key, another place, or changed bytes. Which of them is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open with this key at this place")]
pub struct OpenError;

/// A Merkle proof that does not lead to the given root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proof does not lead to this root")]
pub struct BadProof;

/// Recovery words that cannot be read. No variant repeats a word: they are a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// A seed has 24 words.
    #[error("{got} words given where 24 are expected")]
    Count {
        /// Words found.
        got: usize,
    },
    /// A word is not in the English list of BIP-39.
    #[error("word {position} is not in the word list")]
    Unknown {
        /// Which word, counted from 1.
        position: usize,
    },
    /// All words are known but their check bits do not fit: a wrong or a swapped word.
    #[error("words have a wrong check value: one is wrong or two are swapped")]
    Check,
}

/// A signed note that cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The text breaks the grammar of C2SP signed notes or a limit of this reader.
    #[error("malformed signed note: {what}")]
    Malformed {
        /// The rule that was broken.
        what: &'static str,
    },
    /// The first line of the body is not the expected origin.
    #[error("signed note has another origin")]
    Origin,
    /// A line that both keys must sign is missing.
    #[error("signed note lacks the {algorithm} signature of the expected key")]
    Missing {
        /// The algorithm whose line is missing.
        algorithm: &'static str,
    },
    /// A line by the expected key does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// An identity file that cannot be unlocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The bytes are not an identity file.
    #[error("not an identity file")]
    NotAKeystore,
    /// The file was written by a newer version.
    #[error(
        "identity file has format {version}, newer than the format {supported} that this version reads"
    )]
    Newer {
        /// Format found.
        version: u8,
        /// Highest format understood.
        supported: u8,
    },
    /// A file without a passphrase is damaged, or any file has the wrong number of bytes.
    #[error("identity file is damaged")]
    Damaged,
    /// A cost in the file is outside the accepted range; nothing was computed with it.
    #[error("identity file asks for an unacceptable cost: {what}")]
    Cost {
        /// The cost that is out of range.
        what: &'static str,
    },
    /// The file is sealed and no passphrase was given.
    #[error("identity file is sealed: a passphrase is needed")]
    PassphraseNeeded,
    /// The passphrase is wrong or the sealed bytes are damaged; the two cannot be told apart.
    #[error("wrong passphrase or damaged identity file")]
    Refused,
    /// The memory that the key derivation asks for is not available.
    #[error("not enough memory to derive the key: {memory_kib} KiB")]
    Memory {
        /// Memory asked for, in KiB.
        memory_kib: u32,
    },
}
