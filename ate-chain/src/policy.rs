//! Who may write and who may read at a record, as bytes and as types. Judging them is the work of `rules`.

use ate_crypto::{Hash, KeyId, NameKey, ReadKey};

use crate::codec::{Reader, put_varint};
use crate::error::FormatError;

/// Most keys in [`WritePolicy::AnyOf`]; larger groups are roles.
pub const POLICY_KEYS_MAX: usize = 64;

/// Who may change a record, and create records below it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WritePolicy {
    /// As the stored parent says.
    Inherit,
    /// Nobody, for ever: not even this policy can be changed again.
    Nobody,
    /// One key.
    Key(KeyId),
    /// Any one of 2 to [`POLICY_KEYS_MAX`] keys, strictly ascending.
    AnyOf(Box<[KeyId]>),
}

impl WritePolicy {
    /// The policy that admits exactly `keys`, in canonical form.
    pub fn any_of(keys: impl IntoIterator<Item = KeyId>) -> Self {
        let mut keys: Vec<KeyId> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        match keys[..] {
            [] => Self::Nobody,
            [key] => Self::Key(key),
            _ => Self::AnyOf(keys.into()),
        }
    }

    pub(crate) fn admits(&self, author: &KeyId) -> bool {
        #[cfg(ate_planted)]
        if ate_crypto::planted("ignore-policy") {
            return true;
        }
        match self {
            Self::Inherit | Self::Nobody => false,
            Self::Key(key) => key == author,
            Self::AnyOf(keys) => keys.binary_search(author).is_ok(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Inherit => out.push(0),
            Self::Nobody => out.push(1),
            Self::Key(key) => {
                out.push(2);
                out.extend_from_slice(&key.0);
            }
            Self::AnyOf(keys) => {
                out.push(3);
                put_varint(out, keys.len() as u64);
                keys.iter().for_each(|key| out.extend_from_slice(&key.0));
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        match reader.u8()? {
            0 => Ok(Self::Inherit),
            1 => Ok(Self::Nobody),
            2 => Ok(Self::Key(KeyId(reader.array()?))),
            3 => {
                let offset = reader.offset();
                let count = reader.varint()?;
                if count < 2 || count > POLICY_KEYS_MAX as u64 {
                    return Err(FormatError::Limit {
                        what: "policy keys",
                        got: count,
                        max: POLICY_KEYS_MAX as u64,
                        offset,
                    });
                }
                let keys = (0..count)
                    .map(|_| reader.array().map(KeyId))
                    .collect::<Result<Box<[_]>, _>>()?;
                if !keys.is_sorted_by(|a, b| a < b) {
                    return Err(FormatError::Order {
                        what: "policy keys",
                    });
                }
                Ok(Self::AnyOf(keys))
            }
            4 => Err(FormatError::Reserved {
                what: "role policy",
            }),
            kind => Err(FormatError::Unknown {
                what: "write policy",
                got: kind.into(),
            }),
        }
    }
}

/// Who may read a record and what inherits from it. Anything but `Inherit` makes the record the head of a read scope.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ReadPolicy {
    /// As the stored parent says.
    Inherit,
    /// Everyone: read key and name key of the scope stand here in clear.
    Public {
        /// Read key of epoch 1.
        read: [u8; 32],
        /// Name key.
        name: [u8; 32],
    },
    /// Who holds a grant. The keys of epoch 1 are granted in the same commit; this commits to the read key.
    Keys {
        /// Commitment to the read key of epoch 1.
        commitment: Hash,
    },
}

impl ReadPolicy {
    pub(crate) fn public(read: &ReadKey, name: &NameKey) -> Self {
        Self::Public {
            read: *read.expose(),
            name: *name.expose(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Inherit => out.push(0),
            Self::Public { read, name } => {
                out.push(1);
                out.extend_from_slice(read);
                out.extend_from_slice(name);
            }
            Self::Keys { commitment } => {
                out.push(2);
                out.extend_from_slice(&commitment.0);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        match reader.u8()? {
            0 => Ok(Self::Inherit),
            1 => Ok(Self::Public {
                read: reader.array()?,
                name: reader.array()?,
            }),
            2 => Ok(Self::Keys {
                commitment: Hash(reader.array()?),
            }),
            3 => Err(FormatError::Reserved {
                what: "role policy",
            }),
            kind => Err(FormatError::Unknown {
                what: "read policy",
                got: kind.into(),
            }),
        }
    }
}
