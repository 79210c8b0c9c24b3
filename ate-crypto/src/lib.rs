//! Hybrid post-quantum signatures, key wrap, sealing and Merkle trees: the cryptography of ATE, with its bytes as in
//! `docs/format.md`.
//!
//! It **is** a small set of operations that the layers above cannot use wrongly by accident: every hash and key has a domain
//! tag, every signature a purpose, every sealed part a place. It **is not** a toolbox of algorithms, it keeps no state, and it
//! has no file, socket, clock or source of randomness: bytes that must be random come from a [`Random`] argument. (Inside the
//! provider, `aws-lc-rs`, ML-DSA signatures and KEM encapsulations draw randomness of their own; nothing that is hashed depends
//! on them.)
//!
//! # Place in the stack
//! The bottom: it uses no other crate of ATE. `ate-chain`, `ate-view` and `ate` build on it.
//!
//! # Invariants
//! 1. **Two halves or nothing.** A [`Signature`] holds only if its Ed25519 and its ML-DSA-65 half hold over the same labelled
//!    message; a wrap opens only with both the X25519 and the ML-KEM-768 secret. Breaking one algorithm breaks neither.
//! 2. **No fall-back.** An unknown [`Suite`] id is an error wherever it is read.
//! 3. **One meaning for each byte string.** Every hash, key and message has its own tag, and variable parts are framed.
//! 4. **Associated data is the place.** A sealed part opens only in its chain, author, salt, event, part and head; a wrap only
//!    for its chain, scope, epoch and recipient; a page only in its file, context and position; a message of a call only in its
//!    session, direction, call and number.
//! 5. **A nonce is never repeated under a key**: keys are fresh for every salt, wrap, link, file and call session; the nonce is the place.
//! 6. **Failures are silent about their cause.** [`BadSignature`], [`OpenError`] and [`BadProof`] carry nothing.
//! 7. **Secrets leave only through `expose`, `expose_pkcs8`, `to_words` and `keystore::lock`.** They have no `Debug`, `Clone` or serialised
//!    form, are wiped on drop and compared in constant time. ([`Identity`] can be cloned: a handle, not a copy.)
//! 8. **Bytes from outside give errors, never panics**, and lengths are checked before anything is allocated or computed.
//! 9. **What is valid does not depend on the provider**: lengths, the ML-KEM modulus check and the edge cases of Ed25519 are
//!    fixed here or pinned by tests, since a chain's history hangs on them.
//!
//! # Limits
//! | what | limit |
//! |---|---|
//! | public identity, signature | exactly 3201 and 3373 bytes |
//! | node key | exactly 1974 bytes |
//! | wrap | 1120 + 80 bytes |
//! | domain tag | 255 bytes |
//! | signed note | 256 KiB, 64 signature lines |
//! | passphrase costs in a file | 1 GiB, 16 passes, 4 lanes |
//! | sealed file | 64 KiB a page, 2^64 pages by format, the process's memory in practice |
//!
//! # Example
//! ```
//! use ate_crypto::*;
//!
//! let random = SeededRandom::new(1); // tests only; programs pass the operating system's
//! let alice = Identity::from_seed(&Seed::generate(&random));
//! let bob = Identity::from_seed(&Seed::generate(&random));
//!
//! // A signature is bound to its signer, purpose and content.
//! let signature = alice.sign(Purpose::Batch, b"root of a batch");
//! assert!(alice.who().verify(Purpose::Batch, b"root of a batch", &signature).is_ok());
//! assert!(bob.who().verify(Purpose::Batch, b"root of a batch", &signature).is_err());
//!
//! // Alice gives Bob the keys of a scope.
//! let (read, name) = (ReadKey::generate(&random), NameKey::generate(&random));
//! let bob_id = bob.id();
//! let info = WrapInfo { chain: &Hash::ZERO, scope: &[7; 16], epoch: 1, recipient: &bob_id };
//! let wrapped = wrap_keys(bob.who(), &info, &read, &name)?;
//! let (bobs_read, bobs_name) = bob.unwrap_keys(&info, &wrapped.ct, &wrapped.sealed)?;
//! assert!(bobs_name == name);
//!
//! // She seals a part of a commit; he opens it at the same place only.
//! let salt = Salt::generate(&random);
//! let context = PartContext { chain: &Hash::ZERO, author: &alice.id(), salt: &salt };
//! let at = PartAt { event: 0, part: Part::Content };
//! let mut ad = Vec::new();
//! context.ad(at, b"event head", &mut ad);
//! let mut sealed = Vec::new();
//! read.seal_key(&salt).seal(at, &ad, &[9; 32], b"hello", &mut sealed);
//! assert_eq!(sealed.len(), Part::Content.sealed_bytes(5));
//! assert_eq!(bobs_read.seal_key(&salt).open(at, &ad, &mut sealed.clone())?, b"hello");
//! let elsewhere = PartAt { event: 1, part: Part::Content };
//! assert!(bobs_read.seal_key(&salt).open(elsewhere, &ad, &mut sealed).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! None for users. The private `__reproducible` is the simulator's.

mod aead;
mod call;
mod error;
mod hash;
mod identity;
mod kdf;
mod keys;
pub mod keystore;
pub mod merkle;
mod node_key;
mod note;
#[cfg(ate_planted)]
mod planted;
mod random;
#[cfg(feature = "__reproducible")]
mod reproducible;
mod seal;
pub mod sealed_file;
mod seed;
mod signature;
mod suite;
mod who;
mod wrap;
mod xwing;

pub use call::{
    CALL_CT_BYTES, CALL_PUBLIC_BYTES, CALL_SEAL_OVERHEAD, CallKey, CallKeys, CallPlace, CallPublic,
    CallReceiver, CallSecret,
};
pub use error::{
    BadProof, BadSignature, KeyError, KeystoreError, NoteError, OpenError, TextError, UnknownSuite,
    WordsError,
};
pub use hash::{Hash, sha256, tagged};
pub use identity::Identity;
pub use keys::{LINK_SEALED_BYTES, LinkInfo, NameKey, ReadKey, Salt, StoreKey, record_key};
pub use node_key::{NODE_KEY_BYTES, NodeKey};
pub use note::{
    NOTE_BYTES_MAX, NOTE_KEY_BYTES, NOTE_LINES_MAX, NoteKeys, NoteVerifier, verify_note,
};
#[cfg(ate_planted)]
#[doc(hidden)]
pub use planted::planted;
pub use random::{Random, SeededRandom};
#[cfg(feature = "__reproducible")]
#[doc(hidden)]
pub use reproducible::{Reproducible, reproducible};
pub use seal::{Part, PartAt, PartContext, SEAL_OVERHEAD, SealKey};
pub use seed::Seed;
pub use signature::{Purpose, SIGNATURE_BYTES, Signature};
pub use suite::Suite;
pub use who::{KeyId, WHO_BYTES, Who};
pub use wrap::{WRAP_CT_BYTES, WRAP_SEALED_BYTES, WrapInfo, Wrapped, wrap_keys};
