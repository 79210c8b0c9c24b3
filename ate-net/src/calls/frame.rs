//! The header of every message within a session. All of it is associated data of the sealed bytes behind it.

use std::fmt;

use ate_crypto::{CALL_SEAL_OVERHEAD, CallKey, CallPlace};
use bytes::Bytes;

use super::codec::Reader;
use super::error::FrameError;
use super::limits::{CHUNK_BYTES_MAX, REQUEST_BYTES_MAX, SESSION_CALLS_MAX};

/// The name of a session, drawn by its caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The number of a call within its session, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// What a message is. The opening of a session has kind 1 and a format of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Request = 2,
    Cancel = 3,
    Credit = 4,
    Chunk = 5,
    End = 6,
    Failed = 7,
    Goodbye = 8,
    Refused = 9,
}

pub(super) const KIND_OPENING: u8 = 1;
/// `kind u8 ‖ session [16] ‖ call u64`.
const FIXED_BYTES: usize = 1 + 16 + 8;
/// The call number of messages that belong to no call.
const NO_CALL: u64 = u64::MAX;

impl Kind {
    fn of(id: u8) -> Option<Self> {
        Some(match id {
            2 => Self::Request,
            3 => Self::Cancel,
            4 => Self::Credit,
            5 => Self::Chunk,
            6 => Self::End,
            7 => Self::Failed,
            8 => Self::Goodbye,
            9 => Self::Refused,
            _ => return None,
        })
    }

    /// Numbers of 32 bits behind the fixed part.
    const fn numbers(self) -> usize {
        match self {
            Self::Request | Self::Credit => 2,
            Self::Chunk | Self::End | Self::Failed | Self::Refused => 1,
            Self::Cancel | Self::Goodbye => 0,
        }
    }

    /// Bytes of the plaintext, least and most.
    const fn body_bytes(self) -> (usize, usize) {
        match self {
            Self::Request => (0, REQUEST_BYTES_MAX),
            Self::Chunk | Self::End => (0, CHUNK_BYTES_MAX),
            Self::Failed => (1, CHUNK_BYTES_MAX),
            Self::Goodbye => (1, 1),
            Self::Cancel | Self::Credit | Self::Refused => (0, 0),
        }
    }
}

/// What stands before the sealed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) session: SessionId,
    /// The call; the last one taken in a goodbye; zero in a refusal.
    pub(super) call: u64,
    /// Request: milliseconds since the opening, milliseconds left. Credit: index, chunks in all. Answers: index. Refusal: reason.
    pub(super) numbers: [u32; 2],
}

impl Header {
    /// A message of this kind, sealed. The caller of this seals each place once.
    pub(super) fn seal(&self, key: &CallKey, body: &[u8]) -> Bytes {
        let numbers = self.kind.numbers();
        let mut out =
            Vec::with_capacity(FIXED_BYTES + 4 * numbers + body.len() + CALL_SEAL_OVERHEAD);
        out.push(self.kind as u8);
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.call.to_le_bytes());
        for number in &self.numbers[..numbers] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        key.seal_behind(self.place(), body, &mut out);
        out.into()
    }

    /// Takes a message apart; nothing of it is believed yet.
    pub(super) fn decode(frame: &[u8]) -> Result<(Self, Sealed<'_>), FrameError> {
        let mut reader = Reader::new(frame);
        let kind = Kind::of(reader.u8()?).ok_or(FrameError::Malformed {
            what: "unknown kind",
        })?;
        let session = SessionId(reader.array()?);
        let call = reader.u64()?;
        let mut numbers = [0; 2];
        for number in &mut numbers[..kind.numbers()] {
            *number = reader.u32()?;
        }
        let ad = &frame[..reader.offset()];
        let bytes = reader.rest();
        let (least, most) = kind.body_bytes();
        if !(least + CALL_SEAL_OVERHEAD..=most + CALL_SEAL_OVERHEAD).contains(&bytes.len()) {
            return Err(FrameError::Limit {
                what: "length of a message",
            });
        }
        let in_order = match kind {
            Kind::Goodbye => call <= SESSION_CALLS_MAX,
            Kind::Refused => call == 0,
            // The first indices of the caller's direction belong to the request and its cancellation.
            Kind::Credit => (1..=SESSION_CALLS_MAX).contains(&call) && numbers[0] >= 2,
            _ => (1..=SESSION_CALLS_MAX).contains(&call),
        };
        if !in_order {
            return Err(FrameError::Malformed {
                what: "no such number",
            });
        }
        let header = Self {
            kind,
            session,
            call,
            numbers,
        };
        Ok((header, Sealed { ad, bytes }))
    }

    /// Opens the sealed bytes that came with this header.
    pub(super) fn open(&self, key: &CallKey, sealed: &Sealed<'_>) -> Result<Vec<u8>, FrameError> {
        key.open(self.place(), sealed.ad, sealed.bytes)
            .map_err(|_| FrameError::Forged)
    }

    /// Every message has a place of its own within its direction.
    fn place(&self) -> CallPlace {
        let (call, index) = match self.kind {
            Kind::Request => (self.call, 0),
            Kind::Cancel => (self.call, 1),
            Kind::Credit | Kind::Chunk | Kind::End | Kind::Failed => (self.call, self.numbers[0]),
            Kind::Goodbye | Kind::Refused => (NO_CALL, 0),
        };
        CallPlace { call, index }
    }
}

/// The part of a message that is opened.
pub(super) struct Sealed<'a> {
    ad: &'a [u8],
    bytes: &'a [u8],
}

impl Sealed<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Why a service takes no more calls in a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Parting {
    /// The caller may not call this service.
    Denied,
    /// There is no room for another session.
    Busy,
    /// The session's time is over.
    Expired,
    /// The service stops.
    Closing,
    /// Others needed the room.
    Evicted,
    /// The opening is too old: the clocks of the two sides are too far apart, or it was played again. It says nothing about whether calls were taken.
    Clock,
}

impl Parting {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Denied => 1,
            Self::Busy => 2,
            Self::Expired => 3,
            Self::Closing => 4,
            Self::Evicted => 5,
            Self::Clock => 6,
        }
    }

    pub(super) fn of(id: u32) -> Result<Self, FrameError> {
        Ok(match id {
            1 => Self::Denied,
            2 => Self::Busy,
            3 => Self::Expired,
            4 => Self::Closing,
            5 => Self::Evicted,
            6 => Self::Clock,
            _ => {
                return Err(FrameError::Malformed {
                    what: "unknown reason",
                });
            }
        })
    }
}
