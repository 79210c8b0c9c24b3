//! The symmetric secrets: read keys, name keys and the key of local files, with everything that is derived from them.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::aead::{Aead, NONCE_ZERO, TAG_BYTES};
use crate::error::OpenError;
use crate::hash::{Hash, push_tag, tagged};
use crate::kdf::Prf;
use crate::random::{self, Random};
use crate::seal::SealKey;
use crate::suite::Suite;

const TAG_SEAL: &str = "ATE-seal-v1";
const TAG_COMMITMENT: &str = "ATE-key-commitment-v1";
const TAG_SCOPE_COMMITMENT: &str = "ATE-scope-commitment-v1";
const TAG_LINK: &str = "ATE-link-v1";
const TAG_COLLECTION: &str = "ATE-collection-v1";
const TAG_NAME: &str = "ATE-name-v1";
const TAG_SCHEMA: &str = "ATE-schema-v1";
const TAG_RECORD: &str = "ATE-record-v1";

/// Bytes of an old read key sealed under a new one.
pub const LINK_SEALED_BYTES: usize = 32 + TAG_BYTES;

/// The random 256-bit value of one sealing of one commit. A commit that changes is sealed again under a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Salt(pub [u8; 32]);

impl Salt {
    /// A fresh salt.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        Self(random::array(random))
    }
}

/// Where a link between two epochs of one scope belongs. All of it goes into the derived key and the associated data.
#[derive(Clone, Copy, Debug)]
pub struct LinkInfo<'a> {
    /// The chain; zero in a genesis commit.
    pub chain: &'a Hash,
    /// The record at which the scope begins.
    pub scope: &'a [u8; 16],
    /// The epoch of the new key.
    pub epoch: u32,
}

impl LinkInfo<'_> {
    /// `T("ATE-link-v1") ‖ suite ‖ chain id ‖ scope ‖ new epoch u32`.
    fn to_bytes(self) -> Vec<u8> {
        let mut info = Vec::with_capacity(96);
        push_tag(&mut info, TAG_LINK);
        info.push(Suite::Hybrid1.id());
        info.extend_from_slice(&self.chain.0);
        info.extend_from_slice(self.scope);
        info.extend_from_slice(&self.epoch.to_le_bytes());
        info
    }
}

/// The body shared by the three secrets: the bytes, and the prepared function that does all the work.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Wiped on drop, compared in constant time; no `Debug`, `Clone` or serialised form.
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name {
            bytes: [u8; 32],
            prf: Prf,
        }

        impl $name {
            /// A fresh key.
            #[must_use]
            pub fn generate(random: &dyn Random) -> Self {
                Self::from_bytes(*Zeroizing::new(random::array(random)))
            }

            /// A key from 32 stored or unwrapped bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self { prf: Prf::new(&bytes), bytes }
            }

            /// The secret bytes. Whoever copies them wipes the copy.
            #[must_use]
            pub const fn expose(&self) -> &[u8; 32] {
                &self.bytes
            }
        }

        impl PartialEq for $name {
            /// In constant time.
            fn eq(&self, other: &Self) -> bool {
                self.bytes.ct_eq(&other.bytes).into()
            }
        }

        impl Eq for $name {}
    };
}

secret! {
    /// The key of one epoch of a read scope: whoever holds it reads what was sealed in that epoch.
    ReadKey
}

secret! {
    /// The key of a scope's names, stable over its epochs: it turns names into tokens that a server can look up blindly.
    NameKey
}

secret! {
    /// The key of one identity's local sealed files; see [`sealed_file`](crate::sealed_file).
    StoreKey
}

impl ReadKey {
    /// The key that seals the parts of the one commit with this salt.
    #[must_use]
    pub fn seal_key(&self, salt: &Salt) -> SealKey {
        SealKey::new(&Zeroizing::new(
            self.prf
                .expand_tagged(TAG_SEAL, &[&[Suite::Hybrid1.id()], &salt.0]),
        ))
    }

    /// What a commit states about the read key it is sealed under. Compared before anything is opened, it makes sure that all
    /// readers open with one key (AES-GCM alone does not commit to its key).
    #[must_use]
    pub fn commitment(&self, salt: &Salt) -> Hash {
        Hash(
            self.prf
                .expand_tagged(TAG_COMMITMENT, &[&[Suite::Hybrid1.id()], &salt.0]),
        )
    }

    /// What a scope or a rotation states about an epoch's key before any commit is sealed under it.
    #[must_use]
    pub fn scope_commitment(&self) -> Hash {
        Hash(
            self.prf
                .expand_tagged(TAG_SCOPE_COMMITMENT, &[&[Suite::Hybrid1.id()]]),
        )
    }

    /// Seals the epoch's predecessor under this key, so that whoever holds the new key can read on backwards. One message for
    /// each (chain, scope, epoch): the derived key is never used twice for different ones.
    #[must_use]
    pub fn link_seal(&self, info: &LinkInfo<'_>, old: &Self) -> [u8; LINK_SEALED_BYTES] {
        let info = info.to_bytes();
        let mut sealed = [0; LINK_SEALED_BYTES];
        let (body, tag) = sealed.split_at_mut(32);
        body.copy_from_slice(old.expose());
        tag.copy_from_slice(&self.link_key(&info).seal_in_place(NONCE_ZERO, &info, body));
        sealed
    }

    /// Opens the epoch's predecessor.
    ///
    /// # Errors
    /// [`OpenError`] if this is not the key, the place or the bytes it was sealed with.
    pub fn link_open(&self, info: &LinkInfo<'_>, sealed: &[u8]) -> Result<Self, OpenError> {
        let info = info.to_bytes();
        let mut opened = Zeroizing::new([0; 32]);
        if sealed.len() != LINK_SEALED_BYTES {
            return Err(OpenError);
        }
        self.link_key(&info)
            .open_into(NONCE_ZERO, &info, sealed, &mut opened[..])?;
        Ok(Self::from_bytes(*opened))
    }

    fn link_key(&self, info: &[u8]) -> Aead {
        Aead::new(&Zeroizing::new(self.prf.expand(info)))
    }
}

impl NameKey {
    /// The tag that stands for a collection's name in event heads.
    #[must_use]
    pub fn collection_tag(&self, collection: &str) -> [u8; 8] {
        first(self.prf.tagged(TAG_COLLECTION, &[collection.as_bytes()]))
    }

    /// The token of a named record: equal exactly for equal (parent, collection, name) under one name key.
    #[must_use]
    pub fn token(&self, parent: &[u8; 16], collection: &str, name: &str) -> [u8; 16] {
        let (length, used) = varint(collection.len() as u64);
        first(self.prf.tagged(
            TAG_NAME,
            &[
                parent,
                &length[..used],
                collection.as_bytes(),
                name.as_bytes(),
            ],
        ))
    }

    /// The tag that stands for a record type, from the SHA-256 of its descriptor.
    #[must_use]
    pub fn schema_tag(&self, descriptor: &Hash) -> [u8; 8] {
        first(self.prf.tagged(TAG_SCHEMA, &[&descriptor.0]))
    }
}

impl StoreKey {
    /// Derives a file's key.
    pub(crate) fn prf(&self) -> &Prf {
        &self.prf
    }
}

/// The key of a record: SHA-256 over its parent, collection tag and token, cut to 16 bytes. Needs no secret, so a blind server
/// checks it at creation.
#[must_use]
pub fn record_key(parent: &[u8; 16], collection_tag: &[u8; 8], token: &[u8; 16]) -> [u8; 16] {
    first(tagged(TAG_RECORD, &[parent, collection_tag, token]).0)
}

fn first<const N: usize>(bytes: [u8; 32]) -> [u8; N] {
    const { assert!(N <= 32, "a cut is not longer than the whole") };
    let mut cut = [0; N];
    cut.copy_from_slice(&bytes[..N]);
    cut
}

/// Unsigned LEB128 in its shortest form.
pub(crate) fn varint(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut used = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[used] = if value == 0 { low } else { low | 0x80 };
        used += 1;
        if value == 0 {
            return (bytes, used);
        }
    }
}

#[cfg(test)]
mod tests;
