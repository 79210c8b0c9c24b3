//! Keys of a scope, wrapped for one identity.

use zeroize::Zeroizing;

use crate::aead::{Aead, NONCE_ZERO, TAG_BYTES};
use crate::error::{KeyError, OpenError};
use crate::hash::{Hash, push_tag};
use crate::kdf::Prf;
use crate::keys::{NameKey, ReadKey};
use crate::suite::Suite;
use crate::who::{KeyId, Who};
use crate::xwing;

const TAG_WRAP: &str = "ATE-wrap-v1";

/// Bytes of the encapsulation in a wrap.
pub const WRAP_CT_BYTES: usize = xwing::CIPHERTEXT_BYTES;
const _: () = assert!(WRAP_CT_BYTES == 1120);
/// Bytes of the sealed keys in a wrap: read key `[32]` ‖ name key `[32]` ‖ tag `[16]`.
pub const WRAP_SEALED_BYTES: usize = 32 + 32 + TAG_BYTES;

/// Where a wrap belongs. All of it goes into the derived key and the associated data: a wrap moved to another chain, scope,
/// epoch or recipient does not open.
#[derive(Clone, Copy, Debug)]
pub struct WrapInfo<'a> {
    /// The chain; zero in a genesis commit.
    pub chain: &'a Hash,
    /// The record at which the scope begins.
    pub scope: &'a [u8; 16],
    /// The epoch of the read key.
    pub epoch: u32,
    /// Who is to open it.
    pub recipient: &'a KeyId,
}

impl WrapInfo<'_> {
    /// `T("ATE-wrap-v1") ‖ suite ‖ chain id ‖ scope ‖ epoch u32 ‖ recipient key id`.
    fn to_bytes(self) -> Vec<u8> {
        let mut info = Vec::with_capacity(128);
        push_tag(&mut info, TAG_WRAP);
        info.push(Suite::Hybrid1.id());
        info.extend_from_slice(&self.chain.0);
        info.extend_from_slice(self.scope);
        info.extend_from_slice(&self.epoch.to_le_bytes());
        info.extend_from_slice(&self.recipient.0);
        info
    }
}

/// A wrap as it stands in a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The X-Wing ciphertext.
    pub ct: [u8; WRAP_CT_BYTES],
    /// Both keys, sealed under the encapsulated secret.
    pub sealed: [u8; WRAP_SEALED_BYTES],
}

/// Wraps the keys of a scope for `to`. Costs about 60 µs. Two calls give two different wraps: the encapsulation is random
/// inside the provider.
///
/// # Errors
/// [`KeyError::Recipient`] if `info` names another identity, [`KeyError::LowOrder`] if the key of `to` cannot keep a secret.
pub fn wrap_keys(
    to: &Who,
    info: &WrapInfo<'_>,
    read: &ReadKey,
    name: &NameKey,
) -> Result<Wrapped, KeyError> {
    if *info.recipient != to.id() {
        return Err(KeyError::Recipient {
            labelled: *info.recipient,
            recipient: to.id(),
        });
    }
    let (ct, shared) = xwing::encapsulate(to.xwing_key()).map_err(|_| KeyError::LowOrder)?;
    let info = info.to_bytes();
    let mut sealed = [0; WRAP_SEALED_BYTES];
    sealed[..32].copy_from_slice(read.expose());
    sealed[32..64].copy_from_slice(name.expose());
    let (body, tag) = sealed.split_at_mut(64);
    tag.copy_from_slice(&wrap_key(&shared, &info).seal_in_place(NONCE_ZERO, &info, body));
    Ok(Wrapped { ct: *ct, sealed })
}

/// Opens a wrap; see [`Identity::unwrap_keys`](crate::Identity::unwrap_keys).
pub(crate) fn unwrap(
    secret: &xwing::Secret,
    id: &KeyId,
    info: &WrapInfo<'_>,
    ct: &[u8],
    sealed: &[u8],
) -> Result<(ReadKey, NameKey), OpenError> {
    let ct: &[u8; WRAP_CT_BYTES] = ct.try_into().map_err(|_| OpenError)?;
    let sealed: &[u8; WRAP_SEALED_BYTES] = sealed.try_into().map_err(|_| OpenError)?;
    if info.recipient != id {
        return Err(OpenError);
    }
    let shared = secret.decapsulate(ct).map_err(|_| OpenError)?;
    let info = info.to_bytes();
    let mut opened = Zeroizing::new(*sealed);
    let keys = wrap_key(&shared, &info).open_in_place(NONCE_ZERO, &info, &mut opened[..])?;
    let (read, name) = keys.split_at(32);
    let array = |bytes: &[u8]| {
        Zeroizing::new(<[u8; 32]>::try_from(bytes).expect("the sealed length is fixed"))
    };
    Ok((
        ReadKey::from_bytes(*array(read)),
        NameKey::from_bytes(*array(name)),
    ))
}

/// `HKDF-Expand(HKDF-Extract(salt = "", ss), info, 32)`. Used for one message only, so the nonce is zero.
fn wrap_key(shared: &xwing::Shared, info: &[u8]) -> Aead {
    Aead::new(&Zeroizing::new(Prf::extract(b"", &shared[..]).expand(info)))
}

#[cfg(test)]
mod tests;
