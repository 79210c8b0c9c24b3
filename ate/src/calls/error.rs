//! Why a typed call has no answer.

use ate_net::calls::CallFailure;
use ate_view::BoxError;
use serde::de::DeserializeOwned;

use crate::error::ErrorKind;

/// Why a call has no answer; `E` is the service's own error. One `?` turns it into [`ate::Error`](crate::Error) if `E` is an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The service's own error.
    #[error("the service answered: {0}")]
    Handler(E),
    /// The service refuses this caller.
    #[error("the service refuses this caller")]
    Denied,
    /// The deadline went by. Whether the call was done is not known.
    #[error("the deadline went by; the call may have been done")]
    Deadline,
    /// No server has room. Nothing was done.
    #[error("no server of the service has room")]
    Unavailable,
    /// The request or the answer is too large.
    #[error("the request or the answer is too large")]
    TooLarge,
    /// The service reads other types than this program writes. Nothing was done.
    #[error("the service cannot read the request")]
    BadRequest,
    /// This program reads other types than the service writes. The call was done.
    #[error("the answer cannot be read")]
    BadAnswer,
    /// The request cannot be written. Nothing was done.
    #[error("the request cannot be encoded: {why}")]
    Encode {
        /// The encoder's words.
        why: String,
    },
    /// No server can be reached. Nothing was done.
    #[error("no server of the service can be reached: {why}")]
    Unreachable {
        /// What is in the way.
        why: String,
    },
    /// The server went away before it answered. Whether the call was done is not known.
    #[error("the server went away before it answered; the call may have been done")]
    Unknown,
}

impl<E> CallError<E> {
    pub(super) fn of(failure: CallFailure) -> Self
    where
        E: DeserializeOwned,
    {
        match failure {
            CallFailure::Handler(bytes) => {
                super::decode(&bytes).map_or(Self::BadAnswer, Self::Handler)
            }
            CallFailure::Denied => Self::Denied,
            CallFailure::Deadline => Self::Deadline,
            CallFailure::Unavailable => Self::Unavailable,
            CallFailure::TooLarge => Self::TooLarge,
            CallFailure::BadRequest => Self::BadRequest,
            CallFailure::Unreachable { why } => Self::Unreachable { why },
            _ => Self::Unknown,
        }
    }

    /// The same with the service's error turned into another.
    pub fn map_handler<F>(self, change: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Handler(error) => CallError::Handler(change(error)),
            Self::Denied => CallError::Denied,
            Self::Deadline => CallError::Deadline,
            Self::Unavailable => CallError::Unavailable,
            Self::TooLarge => CallError::TooLarge,
            Self::BadRequest => CallError::BadRequest,
            Self::BadAnswer => CallError::BadAnswer,
            Self::Encode { why } => CallError::Encode { why },
            Self::Unreachable { why } => CallError::Unreachable { why },
            Self::Unknown => CallError::Unknown,
        }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Handler(_) | Self::BadRequest | Self::BadAnswer | Self::Encode { .. } => {
                ErrorKind::Rejected
            }
            Self::Denied => ErrorKind::Denied,
            Self::Deadline | Self::Unknown => ErrorKind::Unknown,
            Self::TooLarge => ErrorKind::Limit,
            Self::Unreachable { .. } | Self::Unavailable => ErrorKind::Unreachable,
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<CallError<E>> for crate::Error {
    fn from(error: CallError<E>) -> Self {
        Self::Call(error.map_handler(|error| -> BoxError { Box::new(error) }))
    }
}
