//! Checkpoint notes: C2SP signed notes with two log lines, Ed25519 and ML-DSA-65, both required.
//!
//! Who knows only one of the algorithms can still check its line; ATE itself believes a note only with both. Lines of other
//! keys (witness cosignatures) are skipped.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{KeyError, NoteError};
use crate::hash::sha256;
use crate::signature::{ML_DSA_BYTES, verify_ed25519, verify_ml_dsa};

/// Bytes of the public note keys: Ed25519 `[32]` ‖ ML-DSA-65 `[1952]`.
pub const NOTE_KEY_BYTES: usize = 32 + 1952;
/// The longest note that is read, in bytes: room for the body and more than 16 post-quantum lines.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// The most signature lines that are read.
pub const NOTE_LINES_MAX: usize = 64;

/// Signature type of Ed25519 lines, assigned by C2SP.
const TYPE_ED25519: &[u8] = &[0x01];
/// Signature type of ML-DSA-65 lines: 0xff and a long identifier, as C2SP prescribes for types without an assigned byte.
const TYPE_ML_DSA: &[u8] = b"\xffate/ml-dsa-65";

/// What begins a signature line: an em dash and a space.
const LINE_START: &str = "\u{2014} ";

/// The secret keys that sign the notes of one sequencer. Wiped on drop.
pub struct NoteKeys {
    ed25519: Ed25519KeyPair,
    ml_dsa: PqdsaKeyPair,
}

impl NoteKeys {
    pub(crate) fn from_seeds(ed25519: &[u8; 32], ml_dsa: &[u8; 32]) -> Self {
        Self {
            ed25519: Ed25519KeyPair::from_seed_unchecked(ed25519)
                .expect("any 32 bytes are an Ed25519 seed"),
            ml_dsa: PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, ml_dsa)
                .expect("any 32 bytes are an ML-DSA seed"),
        }
    }

    /// Ed25519 `[32]` ‖ ML-DSA-65 `[1952]`, as they stand in a genesis.
    #[must_use]
    pub fn public_bytes(&self) -> Vec<u8> {
        [
            self.ed25519.public_key().as_ref(),
            self.ml_dsa.public_key().as_ref(),
        ]
        .concat()
    }

    /// The public half.
    ///
    /// # Panics
    /// Never: the keys have their lengths.
    #[must_use]
    pub fn verifier(&self) -> NoteVerifier {
        NoteVerifier::from_bytes(&self.public_bytes()).expect("both keys have their lengths")
    }

    /// Signs `body` under the key name `origin` and returns the whole note: body, empty line, two signature lines.
    ///
    /// # Panics
    /// If `origin` is no key name, or `body` is not text of which the first line is `origin` and the last one ends with a
    /// newline: both are written by the caller, never read.
    #[must_use]
    pub fn sign_note(&self, origin: &str, body: &str) -> String {
        assert!(
            is_key_name(origin),
            "a key name is not empty and has no spaces or plus signs"
        );
        check_body(body, origin).expect("the caller wrote the body");
        let ed25519 = self.ed25519.sign(body.as_bytes());
        let mut ml_dsa = [0; ML_DSA_BYTES];
        let written = self
            .ml_dsa
            .sign(body.as_bytes(), &mut ml_dsa)
            .expect("the provider has randomness");
        assert_eq!(
            written, ML_DSA_BYTES,
            "an ML-DSA-65 signature has one length"
        );
        let mut note = String::with_capacity(body.len() + 2 * origin.len() + 4700);
        note.push_str(body);
        note.push('\n');
        for (kind, key, signature) in [
            (
                TYPE_ED25519,
                self.ed25519.public_key().as_ref(),
                ed25519.as_ref(),
            ),
            (TYPE_ML_DSA, self.ml_dsa.public_key().as_ref(), &ml_dsa[..]),
        ] {
            let blob = [&line_key_id(origin, kind, key)[..], signature].concat();
            note.push_str(LINE_START);
            note.push_str(origin);
            note.push(' ');
            STANDARD.encode_string(blob, &mut note);
            note.push('\n');
        }
        note
    }
}

/// The public keys that a note must be signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    ed25519: [u8; 32],
    ml_dsa: Box<[u8; 1952]>,
}

impl NoteVerifier {
    /// Reads Ed25519 `[32]` ‖ ML-DSA-65 `[1952]`.
    ///
    /// # Errors
    /// [`KeyError::Length`] unless `bytes` has [`NOTE_KEY_BYTES`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let length = |_| KeyError::Length {
            expected: NOTE_KEY_BYTES,
            got: bytes.len(),
        };
        let (ed25519, ml_dsa) = bytes.split_at_checked(32).ok_or(()).map_err(length)?;
        let ml_dsa: Box<[u8; 1952]> = Box::<[u8]>::from(ml_dsa)
            .try_into()
            .map_err(|_| length(()))?;
        Ok(Self {
            ed25519: ed25519.try_into().expect("the split gives 32 bytes"),
            ml_dsa,
        })
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.ed25519[..], &self.ml_dsa[..]].concat()
    }

    /// Checks a note against these keys; see [`verify_note`].
    ///
    /// # Errors
    /// As [`verify_note`].
    pub fn verify_note<'a>(&self, text: &'a str, origin: &str) -> Result<&'a str, NoteError> {
        verify_note(text, origin, &self.ed25519, &self.ml_dsa)
    }
}

impl std::fmt::Debug for NoteVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "NoteVerifier({:?})",
            sha256(&[&self.ed25519, &self.ml_dsa[..]])
        )
    }
}

/// Checks a signed note and returns its body, final newline included. Both keys must have signed it under the key name
/// `origin`, which must also be its first line. Every line of either key must hold; lines of unknown keys are skipped.
///
/// # Errors
/// [`NoteError`] for a text that breaks the grammar or the limits ([`NOTE_BYTES_MAX`], [`NOTE_LINES_MAX`]), another origin, a
/// missing or a wrong signature. The body is untrusted until this returns it.
pub fn verify_note<'a>(
    text: &'a str,
    origin: &str,
    ed25519: &[u8; 32],
    ml_dsa: &[u8; 1952],
) -> Result<&'a str, NoteError> {
    let malformed = |what| NoteError::Malformed { what };
    if text.len() > NOTE_BYTES_MAX {
        return Err(malformed("longer than the limit"));
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(malformed("control character"));
    }
    // The body may hold empty lines: the last one separates it from the signatures.
    let split = text
        .rfind("\n\n")
        .ok_or_else(|| malformed("no empty line before the signatures"))?
        + 1;
    let (body, signatures) = (&text[..split], &text[split + 1..]);
    check_body(body, origin)?;
    let signatures = signatures
        .strip_suffix('\n')
        .ok_or_else(|| malformed("the last line has no newline"))?;
    if signatures.split('\n').count() > NOTE_LINES_MAX {
        return Err(malformed("too many signature lines"));
    }

    let ed25519_id = line_key_id(origin, TYPE_ED25519, ed25519);
    let ml_dsa_id = line_key_id(origin, TYPE_ML_DSA, ml_dsa);
    let (mut has_ed25519, mut has_ml_dsa) = (false, false);
    for line in signatures.split('\n') {
        let (name, blob) = line
            .strip_prefix(LINE_START)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| malformed("a signature line has another form"))?;
        if !is_key_name(name) {
            return Err(malformed("bad key name"));
        }
        let blob = STANDARD.decode(blob).map_err(|_| malformed("bad base64"))?;
        let (id, signature) = blob
            .split_at_checked(4)
            .ok_or_else(|| malformed("signature without a key id"))?;
        if name != origin {
            continue;
        }
        if id == ed25519_id {
            verify_ed25519(ed25519, body.as_bytes(), signature)?;
            has_ed25519 = true;
        } else if id == ml_dsa_id {
            verify_ml_dsa(ml_dsa, body.as_bytes(), signature)?;
            has_ml_dsa = true;
        }
    }
    match (has_ed25519, has_ml_dsa) {
        (true, true) => Ok(body),
        (false, _) => Err(NoteError::Missing {
            algorithm: "ed25519",
        }),
        (true, false) => Err(NoteError::Missing {
            algorithm: "ml-dsa-65",
        }),
    }
}

/// A body is lines of text, the first of which names the log.
fn check_body(body: &str, origin: &str) -> Result<(), NoteError> {
    if !body.ends_with('\n') || body.chars().any(|c| c < ' ' && c != '\n') {
        return Err(NoteError::Malformed {
            what: "body is not lines of text",
        });
    }
    if body.split('\n').next() == Some(origin) {
        Ok(())
    } else {
        Err(NoteError::Origin)
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

/// `SHA-256(key name ‖ 0x0A ‖ signature type ‖ public key)[..4]`.
fn line_key_id(name: &str, kind: &[u8], key: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", kind, key]).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests;
