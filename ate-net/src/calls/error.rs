//! What is refused, and how a call ends that has no answer.

use bytes::Bytes;

/// Bytes that are not what the other side of a session said here and now. Nothing was changed by them.
///
/// Whoever forwards can always cause this, so it says nothing about the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// No side of this protocol makes such bytes.
    #[error("not a message of a call: {what}")]
    Malformed {
        /// The rule that is broken.
        what: &'static str,
    },
    /// It belongs to another chain, service, instance or session.
    #[error("the message belongs elsewhere: to another {what}")]
    Elsewhere {
        /// What differs.
        what: &'static str,
    },
    /// Key, place or bytes are wrong: changed, forged, swapped or turned back.
    #[error("the message was not sealed by the other side for this place")]
    Forged,
    /// A signature does not hold.
    #[error("the signature does not hold")]
    Signature,
    /// The signing key is not one that may say this.
    #[error("the signing key is not known here")]
    UnknownKey,
    /// It was taken before, or is out of its order.
    #[error("the message is a repetition or out of order")]
    Replayed,
    /// Its time is over or has not come.
    #[error("the message is outside its time")]
    Expired,
    /// There is no such call, or it has ended.
    #[error("there is no such call")]
    NoCall,
    /// A limit is exceeded.
    #[error("the message exceeds a limit: {what}")]
    Limit {
        /// Which.
        what: &'static str,
    },
}

/// Why no message can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SayError {
    /// The session takes no more calls: it is over, spent, or the other side has said goodbye. Open another one.
    #[error("the session takes no more calls")]
    Over,
    /// As many calls are open as the session allows.
    #[error("too many calls are open in the session")]
    Full,
    /// The body is larger than a message may be.
    #[error("the body has {got} bytes, at most {max}")]
    TooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The call has ended or was cancelled.
    #[error("the call has ended")]
    NoCall,
    /// The caller has not asked for more yet.
    #[error("the caller has not taken what was sent before")]
    NoCredit,
    /// The other side's key cannot keep a secret.
    #[error("the service's key cannot be used")]
    Key,
}

/// Why a service has no answer, as it says it, sealed. The caller's word for it is [`CallFailure`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The handler's own error, in the service's encoding.
    Handler(Bytes),
    /// The caller may not call this.
    Denied,
    /// The deadline went by.
    Deadline,
    /// No room: the handler did not run, another server may have room.
    Unavailable,
    /// The request, or the answer, is larger than allowed.
    TooLarge,
    /// The request cannot be decoded.
    BadRequest,
    /// The caller took the call back.
    Cancelled,
    /// The handler broke in the middle; what it did is not known.
    Broken,
}

impl Fault {
    /// `code u8 ‖ bytes of the handler's error`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (code, body): (u8, &[u8]) = match self {
            Self::Handler(body) => (1, body),
            Self::Denied => (2, &[]),
            Self::Deadline => (3, &[]),
            Self::Unavailable => (4, &[]),
            Self::TooLarge => (5, &[]),
            Self::BadRequest => (6, &[]),
            Self::Cancelled => (7, &[]),
            Self::Broken => (8, &[]),
        };
        [&[code], body].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed {
            what: "unknown fault",
        };
        let (code, body) = bytes.split_first().ok_or(malformed)?;
        Ok(match (code, body) {
            (1, body) => Self::Handler(Bytes::copy_from_slice(body)),
            (2, []) => Self::Denied,
            (3, []) => Self::Deadline,
            (4, []) => Self::Unavailable,
            (5, []) => Self::TooLarge,
            (6, []) => Self::BadRequest,
            (7, []) => Self::Cancelled,
            (8, []) => Self::Broken,
            _ => return Err(malformed),
        })
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// The handler says so: its own error, in the service's encoding.
    #[error("the service answered with an error")]
    Handler(Bytes),
    /// The service refuses this caller. Nothing was done (nor will be, unless the service lets the caller in within the next two minutes and whoever forwards
    /// plays the request again).
    #[error("the service refuses this caller")]
    Denied,
    /// The deadline went by. Whether the handler ran is not known.
    #[error("the deadline went by")]
    Deadline,
    /// No server with room, after trying those there are. Nothing was done.
    #[error("no server of the service has room")]
    Unavailable,
    /// The request or the answer is too large.
    #[error("the request or the answer is too large")]
    TooLarge,
    /// The service cannot decode the request. Nothing was done.
    #[error("the service cannot read the request")]
    BadRequest,
    /// No server of the service can be reached. Nothing was done.
    #[error("no server of the service can be reached: {why}")]
    Unreachable {
        /// What is in the way.
        why: String,
    },
    /// The server vanished, or broke, after the request left: it may have been done, or not.
    #[error("the server went away before it answered: the call may have been done")]
    Unknown,
}

/// Frames do not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct PathError {
    /// What is in the way.
    pub why: String,
}

impl PathError {
    /// An error with these words.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}
