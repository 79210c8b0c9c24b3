//! What the node counts of requests and commits.

use ate_chain::{Reject, SubmitError};

use crate::error::NetError;
use crate::metrics::{CommitRefusal, HandshakeEnd, RequestEnd, RequestKind};
use crate::wire::{RefusalCode, Request};

pub(super) fn kind_of(request: &Request) -> RequestKind {
    match request {
        Request::Find { .. } => RequestKind::Find,
        Request::Follow { .. } => RequestKind::Follow,
        Request::Submit { .. } => RequestKind::Submit,
        Request::Fetch { .. } => RequestKind::Fetch,
        Request::Standing { .. } => RequestKind::Standing,
        Request::Witness { .. } => RequestKind::Witness,
        Request::Ping => RequestKind::Ping,
        Request::Call { .. } | Request::Announcements { .. } => RequestKind::Call,
        Request::Serve { .. } => RequestKind::Serve,
        Request::Hello(_) | Request::Called { .. } => RequestKind::Other,
    }
}

/// How a request ended of which this was said.
pub(super) fn refused(code: RefusalCode) -> RequestEnd {
    match code {
        RefusalCode::Busy => RequestEnd::Limited,
        RefusalCode::Protocol | RefusalCode::Version => RequestEnd::Malformed,
        RefusalCode::Failed => RequestEnd::Failed,
        RefusalCode::Absent | RefusalCode::Denied => RequestEnd::Refused,
        // Both sides go on as they should.
        RefusalCode::Behind | RefusalCode::Leaving => RequestEnd::Done,
    }
}

/// How a request ended that could not be answered.
pub(super) fn ended(error: &NetError) -> RequestEnd {
    match error {
        NetError::Transport(_) => RequestEnd::Cancelled,
        NetError::Protocol { .. } | NetError::TooLarge { .. } => RequestEnd::Malformed,
        NetError::Refused { code, .. } => refused(*code),
        NetError::TimedOut { .. } => RequestEnd::TimedOut,
        NetError::Diverged(_) | NetError::Store(_) => RequestEnd::Failed,
    }
}

/// How a handshake ended that came to nothing.
pub(super) fn handshake(error: &NetError) -> HandshakeEnd {
    match error {
        NetError::Transport(_) => HandshakeEnd::Broken,
        NetError::TimedOut { .. } => HandshakeEnd::TimedOut,
        _ => HandshakeEnd::Refused,
    }
}

pub(super) fn refusal(error: &SubmitError) -> CommitRefusal {
    match error {
        SubmitError::Rejected(reject) => match reject {
            Reject::Conflict { .. } => CommitRefusal::Conflict,
            Reject::Denied { .. } | Reject::UnknownAuthor { .. } | Reject::Elsewhere { .. } => {
                CommitRefusal::Denied
            }
            Reject::StaleEpoch { .. } => CommitRefusal::StaleEpoch,
            Reject::Seen | Reject::Behind { .. } | Reject::Spent { .. } | Reject::After { .. } => {
                CommitRefusal::Lane
            }
            Reject::Invalid { .. } => CommitRefusal::Malformed,
            _ => CommitRefusal::Rule,
        },
        SubmitError::TooLarge { .. } => CommitRefusal::Limit,
        _ => CommitRefusal::Storage,
    }
}
