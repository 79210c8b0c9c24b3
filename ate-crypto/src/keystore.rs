//! The bytes of an identity file: a seed, plain or sealed by a passphrase. Reading and writing the file is the caller's.
//!
//! | kind | bytes after `ATE-KEYS` ‖ format (1) ‖ kind |
//! |---|---|
//! | 0 plain | `seed [32] ‖ SHA-256(T("ATE-keystore-v1") ‖ all bytes before) [32]` |
//! | 1 sealed | `memory KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt [32] ‖ nonce [12] ‖ AES-256-GCM(key, nonce, AD, seed) [48]` |
//!
//! Key = Argon2id version 0x13 (RFC 9106) of the passphrase's UTF-8 bytes as given, with the salt and the three costs, 32
//! bytes; AD = `T("ATE-keystore-v1") ‖ all bytes before the ciphertext`. So every byte of the file is covered.
//!
//! The check of a plain file finds damage, not tampering: whoever can write the file can put another identity into it.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::aead::{Aead, TAG_BYTES};
use crate::error::KeystoreError;
use crate::hash::{push_tag, tagged};
use crate::random::{self, Random};
use crate::seed::Seed;

const TAG: &str = "ATE-keystore-v1";
const MAGIC: &[u8; 8] = b"ATE-KEYS";
const FORMAT: u8 = 1;
const KIND_PLAIN: u8 = 0;
const KIND_SEALED: u8 = 1;

const BODY_AT: usize = MAGIC.len() + 2;
const SALT_AT: usize = BODY_AT + 3 * 4;
const NONCE_AT: usize = SALT_AT + 32;
const SEALED_AT: usize = NONCE_AT + 12;
/// Bytes of a file without a passphrase.
pub const PLAIN_BYTES: usize = BODY_AT + 32 + 32;
/// Bytes of a file with a passphrase.
pub const SEALED_BYTES: usize = SEALED_AT + 32 + TAG_BYTES;

/// What a guess of the passphrase costs (Argon2id, RFC 9106). Values are within the limits by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// Most memory that a file may ask for: 1 GiB.
    pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
    /// Most passes over the memory.
    pub const PASSES_MAX: u32 = 16;
    /// Most lanes. They are computed one after the other here, so they cost time and bring none back.
    pub const LANES_MAX: u32 = 4;

    /// 64 MiB, 3 passes, 1 lane: the memory and passes of the second recommended option of RFC 9106, section 4, with one lane
    /// instead of four because nothing here runs in parallel.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };

    /// Other costs.
    ///
    /// # Errors
    /// [`KeystoreError::Cost`] outside `8 · lanes ..= 1 GiB` of memory, `1..=16` passes, `1..=4` lanes.
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, KeystoreError> {
        if lanes == 0 || lanes > Self::LANES_MAX {
            return Err(KeystoreError::Cost { what: "lanes" });
        }
        if passes == 0 || passes > Self::PASSES_MAX {
            return Err(KeystoreError::Cost { what: "passes" });
        }
        if memory_kib < 8 * lanes || memory_kib > Self::MEMORY_KIB_MAX {
            return Err(KeystoreError::Cost { what: "memory" });
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// Memory, in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }
}

impl Default for KdfParams {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The file's bytes, wiped by their owner: a plain file *is* the seed. `params` counts only with a passphrase.
///
/// # Panics
/// If the memory that `params` asks for cannot be had.
#[must_use]
pub fn lock(
    seed: &Seed,
    passphrase: Option<&str>,
    params: KdfParams,
    random: &dyn Random,
) -> Vec<u8> {
    let kind = if passphrase.is_some() {
        KIND_SEALED
    } else {
        KIND_PLAIN
    };
    // Reserved up front so that growth leaves no copy of the seed behind.
    let mut file = Vec::with_capacity(PLAIN_BYTES.max(SEALED_BYTES));
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[FORMAT, kind]);
    let Some(passphrase) = passphrase else {
        file.extend_from_slice(seed.expose());
        let check = tagged(TAG, &[&file]);
        file.extend_from_slice(&check.0);
        return file;
    };
    for cost in [params.memory_kib, params.passes, params.lanes] {
        file.extend_from_slice(&cost.to_le_bytes());
    }
    let salt: [u8; 32] = random::array(random);
    let nonce: [u8; 12] = random::array(random);
    file.extend_from_slice(&salt);
    file.extend_from_slice(&nonce);
    let key =
        derive(passphrase, &salt, params).expect("the memory for the key derivation is there");
    let mut sealed = *seed.expose();
    let tag = key.seal_in_place(nonce, &associated(&file), &mut sealed);
    file.extend_from_slice(&sealed);
    file.extend_from_slice(&tag);
    file
}

/// Whether a passphrase is needed to unlock these bytes, so that nobody is asked for one in vain.
///
/// # Errors
/// [`KeystoreError`] if the bytes are no identity file of a known format.
pub fn is_sealed(bytes: &[u8]) -> Result<bool, KeystoreError> {
    let (magic, rest) = bytes
        .split_at_checked(MAGIC.len())
        .ok_or(KeystoreError::NotAKeystore)?;
    if magic != MAGIC {
        return Err(KeystoreError::NotAKeystore);
    }
    let (kind, expected) = match *rest {
        [version, ..] if version > FORMAT => {
            return Err(KeystoreError::Newer {
                version,
                supported: FORMAT,
            });
        }
        [FORMAT, KIND_PLAIN, ..] => (false, PLAIN_BYTES),
        [FORMAT, KIND_SEALED, ..] => (true, SEALED_BYTES),
        _ => return Err(KeystoreError::Damaged),
    };
    if bytes.len() == expected {
        Ok(kind)
    } else {
        Err(KeystoreError::Damaged)
    }
}

/// The seed in the file. A passphrase given for a file without one is not used.
///
/// The costs in the file are checked before anything is computed with them. After that exactly one key derivation runs before
/// anything depends on the passphrase, and a wrong passphrase and damaged bytes give one and the same error.
///
/// # Errors
/// [`KeystoreError`]; nothing of the seed is left in memory.
pub fn unlock(bytes: &[u8], passphrase: Option<&str>) -> Result<Seed, KeystoreError> {
    if !is_sealed(bytes)? {
        let (covered, check) = bytes.split_at(PLAIN_BYTES - 32);
        // In constant time, since what is compared depends on the seed.
        if !bool::from(tagged(TAG, &[covered]).0.ct_eq(check)) {
            return Err(KeystoreError::Damaged);
        }
        return Ok(Seed::from_bytes(array(bytes, BODY_AT)));
    }
    let cost = |index: usize| u32::from_le_bytes(array(bytes, BODY_AT + 4 * index));
    let params = KdfParams::new(cost(0), cost(1), cost(2))?;
    let passphrase = passphrase.ok_or(KeystoreError::PassphraseNeeded)?;
    let key = derive(passphrase, &array(bytes, SALT_AT), params)?;
    let mut seed = Zeroizing::new([0; 32]);
    key.open_into(
        array(bytes, NONCE_AT),
        &associated(&bytes[..SEALED_AT]),
        &bytes[SEALED_AT..],
        &mut seed[..],
    )
    .map_err(|_| KeystoreError::Refused)?;
    Ok(Seed::from_bytes(*seed))
}

/// `T("ATE-keystore-v1") ‖ all bytes before the ciphertext`.
fn associated(before: &[u8]) -> Vec<u8> {
    let mut ad = Vec::with_capacity(1 + TAG.len() + before.len());
    push_tag(&mut ad, TAG);
    ad.extend_from_slice(before);
    ad
}

/// One Argon2id run in memory that is wiped afterwards.
fn derive(passphrase: &str, salt: &[u8; 32], params: KdfParams) -> Result<Aead, KeystoreError> {
    let memory = KeystoreError::Memory {
        memory_kib: params.memory_kib,
    };
    let costs = Params::new(params.memory_kib, params.passes, params.lanes, Some(32))
        .expect("the limits are narrower");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, costs);
    let count = argon2.params().block_count();
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(count).map_err(|_| memory)?;
    blocks.resize(count, Block::new());
    let mut blocks = Zeroizing::new(blocks);
    let mut key = Zeroizing::new([0; 32]);
    argon2
        .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut key[..], &mut blocks[..])
        .expect("lengths and costs are within the limits");
    Ok(Aead::new(&key))
}

/// `N` bytes from `at`; the caller has checked the file's length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("the range has the length of the array")
}

#[cfg(test)]
mod tests;
