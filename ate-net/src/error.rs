//! What can go wrong between two nodes.

use ate_chain::{FollowError, OpenError, ReadError};

use crate::transport::TransportError;
use crate::wire::RefusalCode;

/// Why something that another node was asked for did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Bytes do not move.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What came is no message, or none that belongs there.
    #[error("the peer does not speak the protocol: {what}")]
    Protocol {
        /// What does not fit.
        what: &'static str,
    },
    /// A message is longer than it may be.
    #[error("the peer sent a message of {bytes} bytes, at most {max} are taken here")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// Allowed.
        max: u64,
    },
    /// The peer says no.
    #[error("refused: {why}")]
    Refused {
        /// Its reason, for programs.
        code: RefusalCode,
        /// Its reason, for people; at most 256 bytes.
        why: String,
    },
    /// No answer came in time.
    #[error("no answer within {ms} ms")]
    TimedOut {
        /// How long was waited.
        ms: u64,
    },
    /// What the peer shows of a chain is not the chain: evidence against it.
    #[error("the node shows another history than it signed or than verifies: {0}")]
    Diverged(String),
    /// The own store failed.
    #[error("the own store: {0}")]
    Store(String),
}

impl From<FollowError> for NetError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Log(error) => Self::Store(error.to_string()),
            error => Self::Diverged(error.to_string()),
        }
    }
}

impl From<ReadError> for NetError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<OpenError> for NetError {
    fn from(error: OpenError) -> Self {
        Self::Store(error.to_string())
    }
}
