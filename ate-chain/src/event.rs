//! Event heads: the signed, visible part of one change. Bytes: docs/format.md section 3.

use std::sync::Arc;

use ate_crypto::{
    Hash, KeyId, Suite, WHO_BYTES, WRAP_CT_BYTES, WRAP_SEALED_BYTES, Who, record_key,
};

use crate::codec::{Reader, put_bytes, put_varint};
use crate::error::FormatError;
use crate::ids::{CollectionTag, Epoch, Position, RecordKey, Ref, SchemaTag};
use crate::policy::{ReadPolicy, WritePolicy};

/// Longest sealed meta in bytes: names are at most 1024 bytes.
pub const META_BYTES_MAX: u32 = 4096;
/// Longest content in bytes before sealing, for now.
pub const CONTENT_BYTES_MAX: u32 = 16 << 20;
/// Sealing adds its tag and the random prefix.
pub(crate) const SEALED_CONTENT_BYTES_MAX: u32 = CONTENT_BYTES_MAX + 64;
/// Longest chain name in bytes.
pub const CHAIN_NAME_BYTES_MAX: usize = 1024;
/// Bytes of the ML-DSA-65 public key in a note key.
pub(crate) const NOTE_MLDSA_BYTES: usize = 1952;

const HAS_META: u8 = 1;
const HAS_CONTENT: u8 = 2;
const HAS_WRITE: u8 = 4;
const HAS_READ: u8 = 8;
const DEFINES: u8 = 16;

/// Length and hash of a sealed body part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyHash {
    /// Bytes of the sealed part.
    pub bytes: u32,
    /// SHA-256 of the sealed part.
    pub hash: Hash,
}

/// What the genesis event of a chain fixes.
#[derive(Clone, PartialEq, Debug)]
pub struct Genesis {
    /// Name under which the root knows the chain; visible.
    pub name: Box<str>,
    /// The root of trust.
    pub root: Who,
    /// Key ids that may replace the root.
    pub recovery: Box<[KeyId]>,
    /// Note keys of the sequencers: Ed25519 ‖ ML-DSA-65.
    pub note_keys: Box<[Arc<[u8]>]>,
    /// Version of the rules in force.
    pub rule_version: u64,
    /// Suites that may appear.
    pub suites: Box<[Suite]>,
}

/// Keys of a scope, wrapped for one reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Record at the head of the scope.
    pub scope: RecordKey,
    /// Epoch of the wrapped read key.
    pub epoch: Epoch,
    /// Reader.
    pub recipient: KeyId,
    /// X-Wing ciphertext.
    pub ct: [u8; WRAP_CT_BYTES],
    /// Read key and name key, sealed.
    pub sealed: [u8; WRAP_SEALED_BYTES],
}

/// A new read key for a scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotate {
    /// Record at the head of the scope.
    pub scope: RecordKey,
    /// The new epoch: the last one plus one.
    pub epoch: Epoch,
    /// Commitment to the new read key.
    pub commitment: Hash,
    /// The old read key sealed under the new one; `None` keeps history closed to new readers.
    pub link: Option<[u8; 48]>,
}

/// One change.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// The first event of a chain; it makes the root record.
    Genesis(Box<Genesis>),
    /// A new record, or one that comes back from the dead.
    Create {
        /// Derived from the other fields.
        key: RecordKey,
        /// Record above.
        parent: RecordKey,
        /// Collection within the parent.
        collection: CollectionTag,
        /// Keyed hash of the name, or random.
        token: [u8; 16],
        /// Schema of the content.
        schema: SchemaTag,
        /// `Absent`, or the tombstone.
        supersedes: Ref,
    },
    /// New content or policies for a record.
    Update {
        /// Record.
        key: RecordKey,
        /// Schema of the content.
        schema: SchemaTag,
        /// Version replaced.
        supersedes: Ref,
    },
    /// The record ends; a tombstone stays.
    Remove {
        /// Record.
        key: RecordKey,
        /// Version ended.
        supersedes: Ref,
    },
    /// Makes a public key known to the chain.
    Introduce(Who),
    /// Gives a reader the keys of a scope.
    Grant(Box<Grant>),
    /// Replaces the read key of a scope.
    Rotate(Box<Rotate>),
    /// A precondition: this record is still at this version.
    Require {
        /// Record.
        key: RecordKey,
        /// Version it must be at.
        version: Ref,
    },
    /// The record ends, if it lives, and the bodies of all its versions so far are gone for good: names and contents. A tombstone stays.
    Erase {
        /// Record.
        key: RecordKey,
        /// Version ended, or the tombstone.
        supersedes: Ref,
    },
    /// Contents that were superseded before a position need not be kept any longer.
    Horizon {
        /// Versions whose successor stands below it lose their content.
        position: Position,
    },
}

/// The signed, visible part of one change.
#[derive(Clone, PartialEq, Debug)]
pub struct EventHead {
    /// What changes.
    pub change: Change,
    /// New write policy.
    pub write: Option<WritePolicy>,
    /// New read policy.
    pub read: Option<ReadPolicy>,
    /// The record is a descriptor and brings its schema tag into being.
    pub defines: bool,
    /// Sealed name.
    pub meta: Option<BodyHash>,
    /// Sealed content.
    pub content: Option<BodyHash>,
}

impl EventHead {
    /// A head without policies or bodies.
    pub(crate) fn of(change: Change) -> Self {
        Self {
            change,
            write: None,
            read: None,
            defines: false,
            meta: None,
            content: None,
        }
    }

    /// The record that this event creates, changes or ends.
    pub fn target(&self) -> Option<RecordKey> {
        match self.change {
            Change::Genesis(_) => Some(RecordKey::ROOT),
            Change::Create { key, .. }
            | Change::Update { key, .. }
            | Change::Remove { key, .. }
            | Change::Erase { key, .. } => Some(key),
            Change::Introduce(_)
            | Change::Grant(_)
            | Change::Rotate(_)
            | Change::Require { .. }
            | Change::Horizon { .. } => None,
        }
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.meta.is_some(), HAS_META)
            | flag(self.content.is_some(), HAS_CONTENT)
            | flag(self.write.is_some(), HAS_WRITE)
            | flag(self.read.is_some(), HAS_READ)
            | flag(self.defines, DEFINES)
    }

    /// Appends the head up to the body hashes: what the associated data of the bodies binds. `has_meta` and `has_content` announce bodies whose hashes
    /// do not exist yet, because they are sealed under this very prefix.
    pub(crate) fn encode_prefix(&self, has_meta: bool, has_content: bool, out: &mut Vec<u8>) {
        let announced =
            if has_meta { HAS_META } else { 0 } | if has_content { HAS_CONTENT } else { 0 };
        let flags = self.flags() & !(HAS_META | HAS_CONTENT) | announced;
        out.extend_from_slice(&[self.change.kind(), flags]);
        self.change.encode(out);
        if let Some(write) = &self.write {
            write.encode(out);
        }
        if let Some(read) = &self.read {
            read.encode(out);
        }
    }

    /// Appends the body hashes: the rest of the head.
    pub(crate) fn encode_bodies(&self, out: &mut Vec<u8>) {
        for body in [&self.meta, &self.content].into_iter().flatten() {
            put_varint(out, body.bytes.into());
            out.extend_from_slice(&body.hash.0);
        }
    }

    /// Decodes one head that fills `bytes` exactly; also returns the length of the prefix that body sealing binds.
    ///
    /// # Errors
    /// [`FormatError`] for anything that is not the one canonical encoding of a known event.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), FormatError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let flags = reader.u8()?;
        let change = Change::decode(kind, &mut reader)?;
        if flags & !change.flags_allowed() != 0
            || flags & change.flags_required() != change.flags_required()
        {
            return Err(FormatError::Flags { kind, flags });
        }
        let write = (flags & HAS_WRITE != 0)
            .then(|| WritePolicy::decode(&mut reader))
            .transpose()?;
        let read = (flags & HAS_READ != 0)
            .then(|| ReadPolicy::decode(&mut reader))
            .transpose()?;
        let prefix = reader.offset();
        let mut body = |flag: u8, max: u32| -> Result<Option<BodyHash>, FormatError> {
            if flags & flag == 0 {
                return Ok(None);
            }
            let offset = reader.offset();
            let bytes = reader.varint32()?;
            if bytes > max {
                return Err(FormatError::Limit {
                    what: "body",
                    got: bytes.into(),
                    max: max.into(),
                    offset,
                });
            }
            Ok(Some(BodyHash {
                bytes,
                hash: Hash(reader.array()?),
            }))
        };
        let meta = body(HAS_META, META_BYTES_MAX)?;
        let content = body(HAS_CONTENT, SEALED_CONTENT_BYTES_MAX)?;
        reader.finish()?;
        Ok((
            Self {
                change,
                write,
                read,
                defines: flags & DEFINES != 0,
                meta,
                content,
            },
            prefix,
        ))
    }
}

impl Change {
    /// What stood before an event that creates, changes or ends a record: `Absent` if nothing did.
    pub(crate) fn supersedes(&self) -> Ref {
        match self {
            Self::Create { supersedes, .. }
            | Self::Update { supersedes, .. }
            | Self::Remove { supersedes, .. }
            | Self::Erase { supersedes, .. } => *supersedes,
            _ => Ref::Absent,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Genesis(_) => 0,
            Self::Create { .. } => 1,
            Self::Update { .. } => 2,
            Self::Remove { .. } => 3,
            Self::Introduce(_) => 4,
            Self::Grant(_) => 5,
            Self::Rotate(_) => 6,
            Self::Require { .. } => 7,
            Self::Erase { .. } => 8,
            Self::Horizon { .. } => 9,
        }
    }

    fn flags_allowed(&self) -> u8 {
        match self {
            Self::Genesis(_) => HAS_WRITE | HAS_READ,
            Self::Create { .. } => HAS_META | HAS_CONTENT | HAS_WRITE | HAS_READ | DEFINES,
            Self::Update { .. } => HAS_META | HAS_CONTENT | HAS_WRITE | HAS_READ,
            Self::Remove { .. }
            | Self::Introduce(_)
            | Self::Grant(_)
            | Self::Rotate(_)
            | Self::Require { .. }
            | Self::Erase { .. }
            | Self::Horizon { .. } => 0,
        }
    }

    fn flags_required(&self) -> u8 {
        if matches!(self, Self::Genesis(_)) {
            HAS_WRITE | HAS_READ
        } else {
            0
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Genesis(genesis) => genesis.encode(out),
            Self::Create {
                key: _,
                parent,
                collection,
                token,
                schema,
                supersedes,
            } => {
                out.extend_from_slice(&parent.0);
                out.extend_from_slice(&collection.0);
                out.extend_from_slice(token);
                out.extend_from_slice(&schema.0);
                supersedes.encode(out);
            }
            Self::Update {
                key,
                schema,
                supersedes,
            } => {
                out.extend_from_slice(&key.0);
                out.extend_from_slice(&schema.0);
                supersedes.encode(out);
            }
            Self::Remove {
                key,
                supersedes: version,
            }
            | Self::Require { key, version }
            | Self::Erase {
                key,
                supersedes: version,
            } => {
                out.extend_from_slice(&key.0);
                version.encode(out);
            }
            Self::Introduce(who) => out.extend_from_slice(&who.to_bytes()),
            Self::Grant(grant) => grant.encode(out),
            Self::Rotate(rotate) => rotate.encode(out),
            Self::Horizon { position } => put_varint(out, position.0),
        }
    }

    fn decode(kind: u8, reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(match kind {
            0 => Self::Genesis(Box::new(Genesis::decode(reader)?)),
            1 => {
                let (parent, collection, token) =
                    (reader.array()?, reader.array()?, reader.array()?);
                let key = RecordKey(record_key(&parent, &collection, &token));
                let (schema, supersedes) = (SchemaTag(reader.array()?), Ref::decode(reader)?);
                Self::Create {
                    key,
                    parent: RecordKey(parent),
                    collection: CollectionTag(collection),
                    token,
                    schema,
                    supersedes,
                }
            }
            2 => Self::Update {
                key: RecordKey(reader.array()?),
                schema: SchemaTag(reader.array()?),
                supersedes: Ref::decode(reader)?,
            },
            3 => Self::Remove {
                key: RecordKey(reader.array()?),
                supersedes: Ref::decode(reader)?,
            },
            4 => Self::Introduce(decode_who(reader)?),
            5 => Self::Grant(Box::new(Grant::decode(reader)?)),
            6 => Self::Rotate(Box::new(Rotate::decode(reader)?)),
            7 => Self::Require {
                key: RecordKey(reader.array()?),
                version: Ref::decode(reader)?,
            },
            8 => Self::Erase {
                key: RecordKey(reader.array()?),
                supersedes: Ref::decode(reader)?,
            },
            9 => Self::Horizon {
                position: Position(reader.varint()?),
            },
            10..=15 => return Err(FormatError::Reserved { what: "event kind" }),
            kind => {
                return Err(FormatError::Unknown {
                    what: "event kind",
                    got: kind.into(),
                });
            }
        })
    }
}

impl Grant {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.scope.0);
        put_varint(out, self.epoch.into());
        out.extend_from_slice(&self.recipient.0);
        out.push(0);
        out.extend_from_slice(&self.ct);
        out.extend_from_slice(&self.sealed);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (scope, epoch, recipient) = (
            RecordKey(reader.array()?),
            reader.varint32()?,
            KeyId(reader.array()?),
        );
        match reader.u8()? {
            0 => Ok(Self {
                scope,
                epoch,
                recipient,
                ct: reader.array()?,
                sealed: reader.array()?,
            }),
            kind => Err(FormatError::Unknown {
                what: "wrap kind",
                got: kind.into(),
            }),
        }
    }
}

impl Rotate {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.scope.0);
        put_varint(out, self.epoch.into());
        out.extend_from_slice(&self.commitment.0);
        out.push(self.link.is_some().into());
        self.link
            .iter()
            .for_each(|link| out.extend_from_slice(link));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (scope, epoch, commitment) = (
            RecordKey(reader.array()?),
            reader.varint32()?,
            Hash(reader.array()?),
        );
        let link = match reader.u8()? {
            0 => None,
            1 => Some(reader.array()?),
            kind => {
                return Err(FormatError::Unknown {
                    what: "history kind",
                    got: kind.into(),
                });
            }
        };
        Ok(Self {
            scope,
            epoch,
            commitment,
            link,
        })
    }
}

fn decode_who(reader: &mut Reader<'_>) -> Result<Who, FormatError> {
    Who::from_bytes(reader.take(WHO_BYTES)?).map_err(|_| FormatError::Key)
}

/// Most recovery keys, note keys or suites in a genesis.
const KEYS_MAX: u64 = 16;

fn count_of(what: &'static str, reader: &mut Reader<'_>) -> Result<u64, FormatError> {
    let offset = reader.offset();
    let count = reader.varint()?;
    if count > KEYS_MAX {
        Err(FormatError::Limit {
            what,
            got: count,
            max: KEYS_MAX,
            offset,
        })
    } else {
        Ok(count)
    }
}

impl Genesis {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        out.extend_from_slice(&self.root.to_bytes());
        put_varint(out, self.recovery.len() as u64);
        self.recovery
            .iter()
            .for_each(|key| out.extend_from_slice(&key.0));
        put_varint(out, self.note_keys.len() as u64);
        self.note_keys
            .iter()
            .for_each(|key| out.extend_from_slice(key));
        put_varint(out, self.rule_version);
        put_varint(out, self.suites.len() as u64);
        self.suites.iter().for_each(|suite| out.push(suite.id()));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let name = std::str::from_utf8(reader.bytes(CHAIN_NAME_BYTES_MAX)?);
        let name = name
            .map_err(|_| FormatError::Text {
                what: "chain name",
                expected: "UTF-8",
            })?
            .into();
        let root = decode_who(reader)?;
        let recovery = (0..count_of("recovery keys", reader)?)
            .map(|_| reader.array().map(KeyId))
            .collect::<Result<_, _>>()?;
        let notes = count_of("note keys", reader)?;
        let note_keys = (0..notes)
            .map(|_| reader.take(32 + NOTE_MLDSA_BYTES).map(Into::into))
            .collect::<Result<_, _>>()?;
        let rule_version = reader.varint()?;
        let suites = reader.bytes(KEYS_MAX as usize)?;
        let suites = suites.iter().map(|&id| {
            Suite::try_from(id).map_err(|_| FormatError::Unknown {
                what: "suite",
                got: id.into(),
            })
        });
        Ok(Self {
            name,
            root,
            recovery,
            note_keys,
            rule_version,
            suites: suites.collect::<Result<_, _>>()?,
        })
    }
}
