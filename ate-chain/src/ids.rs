//! Names of things: chains, records, lanes, versions, positions.

use std::fmt;

use ate_crypto::Hash;

use crate::codec::{Reader, put_varint};
use crate::error::FormatError;

/// A chain's identity: the id of its genesis commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub Hash);

impl ChainId {
    /// What stands for the chain id inside the genesis commit, which cannot contain its own hash.
    pub const UNBORN: Self = Self(Hash::ZERO);

    /// The stream under which a log files this chain.
    pub fn stream(&self) -> ate_log::StreamId {
        ate_log::StreamId(self.0.0)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({:?})", self.0)
    }
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

byte_id!(
    /// What events change. Derived from parent, collection and name token, so it is unique without coordination.
    RecordKey, 16
);
byte_id!(
    /// Keyed hash of a collection's name: equal inside a read scope, meaningless outside.
    CollectionTag, 8
);
byte_id!(
    /// Keyed hash of a schema descriptor. All zero means "no schema".
    SchemaTag, 8
);
byte_id!(
    /// One store's stream of commits under one key in one chain.
    LaneId, 16
);

impl RecordKey {
    /// The record every chain begins with; all others hang below it.
    pub const ROOT: Self = Self([0; 16]);
}

/// Number of read keys a scope has had; starts at 1.
pub type Epoch = u32;

/// The state of a chain after its first `n` commits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a version of a record was written: commit number and event index within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// Leaf number of the commit.
    pub seq: u64,
    /// Index of the event within the commit.
    pub event: u32,
}

impl Version {
    /// No chain has so many commits: what is staged says its lane number with this bit.
    const STAGED: u64 = 1 << 63;

    /// The version that event `event` of a staged commit writes: `number` is its number in its author's lane, because it has no place in the order yet.
    pub const fn staged(number: u64, event: u32) -> Self {
        Self {
            seq: number | Self::STAGED,
            event,
        }
    }

    /// Whether it is staged, not confirmed: it may still be refused.
    pub const fn is_staged(&self) -> bool {
        self.seq & Self::STAGED != 0
    }

    /// How a later commit of the same author in the same store refers to it.
    pub const fn reference(self) -> Ref {
        if self.is_staged() {
            Ref::Lane {
                number: self.seq & !Self::STAGED,
                event: self.event,
            }
        } else {
            Ref::At(self)
        }
    }
}

impl fmt::Display for Version {
    /// `12.0`, or `staged 3.0` for what is not confirmed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_staged() {
            write!(f, "staged ")?;
        }
        write!(f, "{}.{}", self.seq & !Self::STAGED, self.event)
    }
}

impl std::str::FromStr for Version {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let parse = || {
            let (seq, event) = text.split_once('.')?;
            Some(Self {
                seq: seq.parse().ok()?,
                event: event.parse().ok()?,
            })
        };
        parse().ok_or(FormatError::Text {
            what: "version",
            expected: "COMMIT.EVENT, for example 12.0",
        })
    }
}

/// The version that an event supersedes, or that a precondition demands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ref {
    /// The record never existed.
    Absent,
    /// A version that the author has seen confirmed.
    At(Version),
    /// A version in an earlier commit of the author's own lane, perhaps not confirmed yet.
    Lane {
        /// Lane number of that commit.
        number: u64,
        /// Event index within it.
        event: u32,
    },
}

impl Ref {
    /// The version that it names, as a reader in the author's own store sees it while it is staged; `None` for none.
    pub const fn version(self) -> Option<Version> {
        match self {
            Self::Absent => None,
            Self::At(version) => Some(version),
            Self::Lane { number, event } => Some(Version::staged(number, event)),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Absent => out.push(0),
            Self::At(Version { seq, event }) => {
                out.push(1);
                put_varint(out, seq);
                put_varint(out, event.into());
            }
            Self::Lane { number, event } => {
                out.push(2);
                put_varint(out, number);
                put_varint(out, event.into());
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        match reader.u8()? {
            0 => Ok(Self::Absent),
            1 => Ok(Self::At(Version {
                seq: reader.varint()?,
                event: reader.varint32()?,
            })),
            2 => Ok(Self::Lane {
                number: reader.varint()?,
                event: reader.varint32()?,
            }),
            kind => Err(FormatError::Unknown {
                what: "reference kind",
                got: kind.into(),
            }),
        }
    }
}
