//! The messages of the protocol, byte by byte in docs/protocol.md.
//!
//! A message is `u32 length ‖ kind u8 ‖ payload`, the length little-endian and without the five bytes in front. What one side asks for is a stream of its own, begun with a
//! [`Request`]. Control messages are postcard, whose varints and lengths are bounded by the message that they stand in; bulk (frames, batches, contents) is the
//! chain's own format.

use ate_chain::{Answered, Position, RecordKey, Ref, Reject, Version};
use ate_crypto::{Hash, KeyId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::NetError;

/// Version of the protocol.
pub(crate) const PROTOCOL_VERSION: u16 = 1;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// [`Request`], the first message of a stream.
    Request = 1,
    /// [`Reply`].
    Reply = 2,
    /// Frames of a chain, see `ShownFrame`.
    Frames = 3,
    /// [`Standing`].
    Standing = 4,
    /// `ticket u64 ‖ Batch`.
    Batch = 5,
    /// [`Answers`].
    Answers = 6,
    /// `present u8 ‖ sealed content`.
    Content = 7,
    /// Bytes that only the two ends of a call understand.
    Opaque = 8,
    /// [`Refusal`]; the last message of its sender.
    Refused = 9,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Kind; 9] = [
            Kind::Request,
            Kind::Reply,
            Kind::Frames,
            Kind::Standing,
            Kind::Batch,
            Kind::Answers,
            Kind::Content,
            Kind::Opaque,
            Kind::Refused,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Who dials, and the proof of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    /// Public identity.
    pub(crate) who: Bytes,
    /// Purpose 2 over `binding [32] ‖ node id [32]`.
    pub(crate) signature: Bytes,
}

/// What the content of a Hello's signature is.
pub(crate) fn channel_content(binding: &[u8; 32], node: &Hash) -> [u8; 64] {
    let mut content = [0; 64];
    content[..32].copy_from_slice(binding);
    content[32..].copy_from_slice(&node.0);
    content
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Request {
    /// First on every connection.
    Hello(Hello),
    /// The chain that a name means at this node.
    Find {
        name: String,
        root: Option<[u8; 32]>,
    },
    /// A chain's frames from commit `from` on, without end.
    Follow {
        chain: [u8; 32],
        from: u64,
        lazy: bool,
    },
    /// Batches to be ordered follow.
    Submit { chain: [u8; 32] },
    /// Sealed contents.
    Fetch {
        chain: [u8; 32],
        wanted: Vec<(u64, u32)>,
    },
    /// Where the chain stands, signed.
    Standing { chain: [u8; 32] },
    /// Whether anybody is there.
    Ping,
    /// Which servers of a service are there.
    Announcements { chain: [u8; 32], service: String },
    /// A server of a service shows itself, for as long as the stream stands. Further ones on the stream are newer announcements of the same server.
    Serve { announcement: Bytes },
    /// A path to the server of that announcement.
    Call {
        chain: [u8; 32],
        service: String,
        to: [u8; 16],
    },
    /// From a node to a server, on a stream that the node opens: somebody has called the server of that announcement.
    Called { to: [u8; 16] },
    /// That the node holds the first `size` commits, on stable storage, signed: it waits a while for them.
    Witness { chain: [u8; 32], size: u64 },
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    Welcome {
        version: u16,
        /// The node's note key, which signs checkpoints of chains that list it.
        note_key: Bytes,
        now_ms: u64,
    },
    Found {
        chain: [u8; 32],
        size: u64,
        root: [u8; 32],
    },
    /// Batches, or frames of a call, are taken; a server is shown.
    Ready,
    Pong,
    /// Some announcements; more may follow until the stream ends.
    Announcements(Vec<Bytes>),
}

/// Where a chain stands at the peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Commits.
    pub size: u64,
    /// Merkle root over them.
    pub root: [u8; 32],
    /// Its sequencer's time of the last one.
    pub order_time_ms: u64,
    /// The checkpoint, signed, if the peer's key is listed in the chain and it was due.
    pub note: Option<String>,
}

/// What became of a batch, one answer for each of its commits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Answers {
    pub(crate) ticket: u64,
    pub(crate) answers: Vec<WireAnswer>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireAnswer {
    Landed {
        seq: u64,
    },
    Refused {
        reason: WireReject,
        at: u64,
    },
    /// Nobody knows yet: to be sent again with the next connection.
    Later {
        why: String,
    },
}

/// Why the rules, or the node, refuse a commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireReject {
    Conflict {
        key: [u8; 16],
        expected: WireRef,
        stored: Option<(u64, u32)>,
    },
    Denied {
        author: [u8; 32],
        key: [u8; 16],
    },
    UnknownAuthor {
        author: [u8; 32],
    },
    NoRecord {
        key: [u8; 16],
    },
    StaleEpoch {
        scope: [u8; 16],
        current: u32,
    },
    UnknownSchema {
        key: [u8; 16],
    },
    Seen,
    Spent {
        number: u64,
        last: u64,
    },
    After {
        after: u64,
    },
    /// Anything else, in words.
    Other {
        why: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireRef {
    Absent,
    At(u64, u32),
    Lane(u64, u32),
}

/// Why a node says no, for programs. A code that is not known here counts as [`Failed`](RefusalCode::Failed), so that later ones may be told too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
#[non_exhaustive]
pub enum RefusalCode {
    /// There is no such chain here, or not for this identity: the two are not told apart.
    Absent,
    /// Not for this identity.
    Denied,
    /// A limit was reached; later it may go.
    Busy,
    /// The message makes no sense here.
    Protocol,
    /// The node speaks another version.
    Version,
    /// The chain is shorter at the node than at the one who asks.
    Behind,
    /// The node failed.
    Failed,
    /// The node is shutting down.
    Leaving,
}

impl From<u32> for RefusalCode {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::Absent,
            1 => Self::Denied,
            2 => Self::Busy,
            3 => Self::Protocol,
            4 => Self::Version,
            5 => Self::Behind,
            7 => Self::Leaving,
            _ => Self::Failed,
        }
    }
}

impl From<RefusalCode> for u32 {
    fn from(code: RefusalCode) -> Self {
        code as Self
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: RefusalCode,
    pub(crate) why: String,
}

/// The bytes of a control message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages have no unbounded or unserialisable parts")
}

/// A control message that fills `bytes` exactly.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, NetError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(NetError::Protocol {
            what: "a message that does not decode",
        }),
    }
}

/// The version that a Hello begins with, whatever follows: a later version may say more in it, and is to be told that it is not spoken here.
pub(crate) fn hello_version(request: &[u8]) -> Option<u16> {
    match postcard::take_from_bytes::<(u32, u16)>(request) {
        Ok(((0, version), _)) => Some(version),
        _ => None,
    }
}

impl WireReject {
    pub(crate) fn of(reject: &Reject) -> Self {
        match reject {
            Reject::Conflict {
                key,
                expected,
                stored,
            } => Self::Conflict {
                key: key.0,
                expected: match expected {
                    Ref::Absent => WireRef::Absent,
                    Ref::At(version) => WireRef::At(version.seq, version.event),
                    Ref::Lane { number, event } => WireRef::Lane(*number, *event),
                },
                stored: stored.map(|version| (version.seq, version.event)),
            },
            Reject::Denied { author, key } => Self::Denied {
                author: author.0,
                key: key.0,
            },
            Reject::UnknownAuthor { author } => Self::UnknownAuthor { author: author.0 },
            Reject::NoRecord { key } => Self::NoRecord { key: key.0 },
            Reject::StaleEpoch { scope, current } => Self::StaleEpoch {
                scope: scope.0,
                current: *current,
            },
            Reject::UnknownSchema { key } => Self::UnknownSchema { key: key.0 },
            Reject::Seen | Reject::Behind { .. } => Self::Seen,
            Reject::Spent { number, last } => Self::Spent {
                number: *number,
                last: *last,
            },
            Reject::After { after } => Self::After { after: *after },
            other => Self::Other {
                why: other.to_string(),
            },
        }
    }

    pub(crate) fn into_reject(self) -> Reject {
        let version = |(seq, event)| Version { seq, event };
        match self {
            Self::Conflict {
                key,
                expected,
                stored,
            } => Reject::Conflict {
                key: RecordKey(key),
                expected: match expected {
                    WireRef::Absent => Ref::Absent,
                    WireRef::At(seq, event) => Ref::At(version((seq, event))),
                    WireRef::Lane(number, event) => Ref::Lane { number, event },
                },
                stored: stored.map(version),
            },
            Self::Denied { author, key } => Reject::Denied {
                author: KeyId(author),
                key: RecordKey(key),
            },
            Self::UnknownAuthor { author } => Reject::UnknownAuthor {
                author: KeyId(author),
            },
            Self::NoRecord { key } => Reject::NoRecord {
                key: RecordKey(key),
            },
            Self::StaleEpoch { scope, current } => Reject::StaleEpoch {
                scope: RecordKey(scope),
                current,
            },
            Self::UnknownSchema { key } => Reject::UnknownSchema {
                key: RecordKey(key),
            },
            Self::Seen => Reject::Seen,
            Self::Spent { number, last } => Reject::Spent { number, last },
            Self::After { after } => Reject::After { after },
            Self::Other { why } => Reject::Elsewhere { why },
        }
    }
}

impl WireAnswer {
    pub(crate) fn into_answered(self) -> Option<Answered> {
        match self {
            Self::Landed { seq } => Some(Answered::Landed { seq }),
            Self::Refused { reason, at } => Some(Answered::Refused {
                reason: reason.into_reject(),
                at: Position(at),
            }),
            Self::Later { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
