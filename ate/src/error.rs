//! The umbrella error.

use std::path::PathBuf;

use ate_chain::Reject;
use ate_crypto::KeystoreError;
use ate_view::{CommitError, ReadError, SubscribeError, TransactError};

use crate::backup::Standing;

/// What kind of trouble it is, for those who branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such store, chain or record.
    NotFound,
    /// It was there, and was erased or dropped below the chain's horizon.
    Gone,
    /// Somebody else changed what the commit depends on.
    Conflict,
    /// Refused by the chain's rules, or by a condition of the caller's.
    Rejected,
    /// The outcome is not known yet.
    Unknown,
    /// Stored bytes are not what was written.
    Damaged,
    /// An earlier write failed: open the store again.
    Poisoned,
    /// Written by a newer program or format.
    NewerSchema,
    /// Another process has the store open for writing.
    Locked,
    /// A key or passphrase is missing or wrong.
    Denied,
    /// A limit is exceeded, or the input has no acceptable form.
    Limit,
    /// The disk has no room for it. Nothing was changed; with room, the same succeeds.
    Full,
    /// The system's files.
    Io,
    /// A node cannot be reached, or did not answer in time.
    Unreachable,
}

impl ErrorKind {
    /// One or two words for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown outcome",
            Self::Damaged => "damaged",
            Self::Poisoned => "poisoned",
            Self::NewerSchema => "newer schema",
            Self::Locked => "locked",
            Self::Denied => "denied",
            Self::Limit => "limit",
            Self::Full => "disk full",
            Self::Io => "input or output",
            Self::Unreachable => "unreachable",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Anything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record cannot be had.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A commit has no receipt.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A transaction closure has no receipt.
    #[error(transparent)]
    Transact(#[from] TransactError),
    /// A subscription has no next change.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// A chain cannot be opened or does not verify.
    #[error(transparent)]
    Chain(#[from] ate_chain::OpenError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] ate_log::OpenError),
    /// The log cannot be closed cleanly.
    #[error(transparent)]
    Close(#[from] ate_log::AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    LogRead(#[from] ate_log::ReadError),
    /// A backup was not made or put back.
    #[error(transparent)]
    Backup(#[from] ate_log::BackupError),
    /// There is a store where a backup was to be put back.
    #[error("{dir} holds a store {standing}")]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// How its history stands to that of the backup.
        standing: Standing,
    },
    /// A repaired chain would not be what was signed: the other copy has something else.
    #[error(
        "what would be mended of chain `{chain}` passes its checksums and is not what was signed"
    )]
    Foreign {
        /// Its name.
        chain: String,
        /// What does not hold.
        source: Box<ate_chain::OpenError>,
    },
    /// A store in memory has no files.
    #[error("a store in memory has no files")]
    InMemory,
    /// The identity file cannot be unlocked.
    #[error("the identity in {path} cannot be unlocked")]
    Keystore {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeystoreError,
    },
    /// The identity file cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no identity in the directory.
    #[error("there is no identity in {path}")]
    NoIdentity {
        /// The file looked for.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is an identity in {path} already")]
    IdentityExists {
        /// The file.
        path: PathBuf,
    },
    /// No such chain in this store.
    #[error("no chain `{name}` in this store")]
    NoChain {
        /// Name or id.
        name: String,
    },
    /// Several chains of that name, none of them of the own root.
    #[error("`{name}` names several chains: give one of the ids {ids}")]
    AmbiguousChain {
        /// Name.
        name: String,
        /// Ids, separated by commas.
        ids: String,
    },
    /// A name that no chain can have.
    #[error("`{name}` is not a chain name: 1 to 1024 bytes without control characters")]
    ChainName {
        /// As given.
        name: String,
    },
    /// Bodies that are to go could not be destroyed; they stay due.
    #[error(transparent)]
    Erase(#[from] ate_chain::EraseError),
    /// A new chain cannot be planned.
    #[error(transparent)]
    Seal(#[from] ate_chain::SealError),
    /// The store was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// A call has no answer.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Call(crate::calls::CallError<ate_view::BoxError>),
    /// A node was not reached, did not answer, or said no.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Net(#[from] ate_net::NetError),
    /// An address is none.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Address(#[from] ate_net::AddressError),
    /// A node is not the one that was known, or what is known of nodes cannot be read.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Nodes(#[from] crate::known_nodes::KnownNodesError),
}

impl Error {
    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => read_kind(error),
            Self::Commit(error) | Self::Transact(TransactError::Commit(error)) => {
                commit_kind(error)
            }
            Self::Transact(_) => ErrorKind::Rejected,
            Self::Subscribe(error) => subscribe_kind(error),
            Self::Chain(error) => open_kind(error),
            Self::Log(error) => log_kind(error),
            Self::Close(ate_log::AppendError::Poisoned { .. }) => ErrorKind::Poisoned,
            Self::Close(ate_log::AppendError::DiskFull { .. }) => ErrorKind::Full,
            Self::File { source, .. } if is_full(source) => ErrorKind::Full,
            Self::LogRead(ate_log::ReadError::Corrupt { .. }) => ErrorKind::Damaged,
            Self::Keystore { source, .. } => match source {
                KeystoreError::Newer { .. } => ErrorKind::NewerSchema,
                KeystoreError::PassphraseNeeded | KeystoreError::Refused => ErrorKind::Denied,
                _ => ErrorKind::Damaged,
            },
            Self::NoIdentity { .. } | Self::NoChain { .. } | Self::AmbiguousChain { .. } => {
                ErrorKind::NotFound
            }
            Self::IdentityExists { .. } | Self::Occupied { .. } => ErrorKind::Rejected,
            Self::Backup(error) => backup_kind(error),
            Self::InMemory => ErrorKind::Limit,
            Self::Foreign { .. } => ErrorKind::Rejected,
            Self::ChainName { .. } => ErrorKind::Limit,
            Self::Seal(error) => seal_kind(error),
            Self::ReadOnly => ErrorKind::Denied,
            #[cfg(feature = "net")]
            Self::Call(error) => error.kind(),
            #[cfg(feature = "net")]
            Self::Nodes(error) => nodes_kind(error),
            #[cfg(feature = "net")]
            Self::Net(error) => net_kind(error),
            #[cfg(feature = "net")]
            Self::Address(_) => ErrorKind::Limit,
            Self::Erase(ate_chain::EraseError::Read(error)) => chain_read_kind(error),
            Self::Erase(ate_chain::EraseError::Log(ate_log::AppendError::Poisoned { .. })) => {
                ErrorKind::Poisoned
            }
            Self::Erase(_) | Self::Close(_) | Self::LogRead(_) | Self::File { .. } => ErrorKind::Io,
        }
    }

    /// What to do about it, if there is something that always helps.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match (self, self.kind()) {
            (
                Self::Keystore {
                    source: KeystoreError::PassphraseNeeded,
                    ..
                },
                _,
            ) => "give the passphrase the identity was sealed with",
            (
                Self::Keystore {
                    source: KeystoreError::Refused,
                    ..
                },
                _,
            ) => "the passphrase is wrong or the file is damaged: try again, or restore the file",
            (Self::NoIdentity { .. }, _) => {
                "write something first, or import an identity from its 24 words"
            }
            (Self::IdentityExists { .. }, _) => {
                "choose another directory: an identity is never overwritten"
            }
            (
                Self::Commit(CommitError::Store(ate_chain::SubmitError::Closed))
                | Self::Transact(TransactError::Commit(CommitError::Store(
                    ate_chain::SubmitError::Closed,
                ))),
                _,
            ) => "keep the store, or a clone of it, for as long as you write",
            (
                Self::Log(ate_log::OpenError::Unfinished { .. })
                | Self::Backup(ate_log::BackupError::Source(_)),
                ErrorKind::Rejected,
            ) => "restore into it again: what an interrupted restore has left is removed first",
            (Self::Log(ate_log::OpenError::Backup { .. }), _) => {
                "restore it into a directory of its own: `restore`"
            }
            (Self::Occupied { .. }, _) => {
                "restore into an empty directory: a store is never overwritten"
            }
            (Self::Backup(error), ErrorKind::Rejected) => backup_remedy(error)?,
            (Self::Backup(ate_log::BackupError::SourceDamaged { .. }), _) => {
                "repair the store from a backup first"
            }
            (Self::Backup(ate_log::BackupError::Damaged { .. }), _) => {
                "use another backup, or remove the named file and make this one again from the store"
            }
            #[cfg(feature = "net")]
            (Self::Nodes(_), ErrorKind::Denied | ErrorKind::Rejected) => {
                "do not go on with that node before whoever runs it has explained it; `ate nodes` pins what was changed on purpose"
            }
            #[cfg(feature = "net")]
            (Self::Nodes(_), ErrorKind::Damaged) => {
                "mend the named line, or put the file back from a copy: without it every node is a first use again"
            }
            (_, ErrorKind::Locked) => "wait for the other process to end, or open for reading",
            (_, ErrorKind::Poisoned | ErrorKind::Unknown) => {
                "open the store again: what was acknowledged is there, the rest shows then"
            }
            (_, ErrorKind::Conflict) => "read again and try again",
            (_, ErrorKind::NewerSchema) => "use a program as new as the one that wrote it",
            (_, ErrorKind::Full) => {
                "free space on that disk, or move the store directory to another one, then try again"
            }
            (_, ErrorKind::Damaged) => "verify the store, and restore the named file from a copy",
            _ => return None,
        })
    }
}

fn read_kind(error: &ReadError) -> ErrorKind {
    match error {
        ReadError::NotFound { .. } => ErrorKind::NotFound,
        ReadError::Erased { .. } | ReadError::Dropped { .. } => ErrorKind::Gone,
        ReadError::Schema { .. } => ErrorKind::Rejected,
        ReadError::Name { .. } | ReadError::Collection { .. } => ErrorKind::Limit,
        ReadError::Chain(error) => chain_read_kind(error),
        _ => ErrorKind::Damaged,
    }
}

fn subscribe_kind(error: &SubscribeError) -> ErrorKind {
    use ate_chain::MarkError;
    match error {
        SubscribeError::Read(error) => read_kind(error),
        SubscribeError::Running { .. } => ErrorKind::Conflict,
        SubscribeError::Mark(MarkError::Write(ate_log::AppendError::DiskFull { .. })) => {
            ErrorKind::Full
        }
        SubscribeError::Mark(MarkError::Write(
            ate_log::AppendError::ReadOnly | ate_log::AppendError::Closed,
        )) => ErrorKind::Denied,
        _ => ErrorKind::Io,
    }
}

fn chain_read_kind(error: &ate_chain::ReadError) -> ErrorKind {
    match error {
        ate_chain::ReadError::NotFound { .. } => ErrorKind::NotFound,
        ate_chain::ReadError::Erased { .. } | ate_chain::ReadError::Dropped { .. } => {
            ErrorKind::Gone
        }
        ate_chain::ReadError::NoKey { .. } => ErrorKind::Denied,
        ate_chain::ReadError::Log(ate_log::ReadError::Io { .. }) => ErrorKind::Io,
        ate_chain::ReadError::Elsewhere { source, .. } => match source {
            ate_chain::FetchError::Forged => ErrorKind::Damaged,
            ate_chain::FetchError::NotKept { .. } => ErrorKind::Io,
            _ => ErrorKind::Unreachable,
        },
        _ => ErrorKind::Damaged,
    }
}

fn commit_kind(error: &CommitError) -> ErrorKind {
    match error {
        CommitError::Conflict(_)
        | CommitError::Exists { .. }
        | CommitError::NotAtVersion { .. } => ErrorKind::Conflict,
        CommitError::Rejected {
            reason: Reject::Denied { .. } | Reject::UnknownAuthor { .. },
        } => ErrorKind::Denied,
        CommitError::Rejected { .. } | CommitError::Spent { .. } | CommitError::Encode(_) => {
            ErrorKind::Rejected
        }
        CommitError::Unknown { .. } => ErrorKind::Unknown,
        CommitError::Store(error) => match error {
            ate_chain::SubmitError::Poisoned { .. } => ErrorKind::Poisoned,
            ate_chain::SubmitError::TooLarge { .. } | ate_chain::SubmitError::StagedFull { .. } => {
                ErrorKind::Limit
            }
            ate_chain::SubmitError::StagedByOther { .. } => ErrorKind::Conflict,
            ate_chain::SubmitError::Full { .. } => ErrorKind::Full,
            ate_chain::SubmitError::ReadOnly | ate_chain::SubmitError::Closed => ErrorKind::Denied,
            _ => ErrorKind::Io,
        },
        CommitError::NotDestroyed { source, .. } => match source {
            ate_chain::EraseError::Read(error) => chain_read_kind(error),
            ate_chain::EraseError::Log(ate_log::AppendError::Poisoned { .. }) => {
                ErrorKind::Poisoned
            }
            _ => ErrorKind::Io,
        },
        CommitError::Unwitnessed { source, .. } => match source {
            ate_chain::WitnessError::OtherHistory { .. } => ErrorKind::Damaged,
            _ => ErrorKind::Unreachable,
        },
        CommitError::Read(error) => read_kind(error),
        CommitError::NewerSchema(_) => ErrorKind::NewerSchema,
        CommitError::Seal(error) => seal_kind(error),
        _ => ErrorKind::Rejected,
    }
}

fn seal_kind(error: &ate_chain::SealError) -> ErrorKind {
    match error {
        ate_chain::SealError::NoRecord { .. } => ErrorKind::NotFound,
        ate_chain::SealError::Limit { .. } => ErrorKind::Limit,
        ate_chain::SealError::Read(error) => chain_read_kind(error),
        _ => ErrorKind::Denied,
    }
}

fn open_kind(error: &ate_chain::OpenError) -> ErrorKind {
    use ate_chain::{FormatError, OpenError};
    match error {
        OpenError::NotFound { .. } => ErrorKind::NotFound,
        OpenError::Format {
            source: FormatError::NewerFormat { .. } | FormatError::Reserved { .. },
            ..
        } => ErrorKind::NewerSchema,
        OpenError::Log(ate_log::ReadError::Io { .. }) => ErrorKind::Io,
        _ => ErrorKind::Damaged,
    }
}

fn log_kind(error: &ate_log::OpenError) -> ErrorKind {
    use ate_log::OpenError;
    match error {
        OpenError::Locked { .. } => ErrorKind::Locked,
        OpenError::NotFound { .. } => ErrorKind::NotFound,
        OpenError::NewerFormat { .. } | OpenError::UnknownFrame { .. } => ErrorKind::NewerSchema,
        OpenError::Unfinished { .. } | OpenError::Backup { .. } => ErrorKind::Rejected,
        OpenError::DiskFull { .. } => ErrorKind::Full,
        OpenError::Io { source, .. } if is_full(source) => ErrorKind::Full,
        OpenError::NotADirectory { .. } | OpenError::Io { .. } => ErrorKind::Io,
        _ => ErrorKind::Damaged,
    }
}

#[cfg(feature = "net")]
fn nodes_kind(error: &crate::known_nodes::KnownNodesError) -> ErrorKind {
    use crate::known_nodes::KnownNodesError;
    match error {
        KnownNodesError::Changed { .. } | KnownNodesError::NameChanged { .. } => ErrorKind::Denied,
        KnownNodesError::RolledBack { .. } | KnownNodesError::Contradiction { .. } => {
            ErrorKind::Rejected
        }
        KnownNodesError::Damaged { .. } => ErrorKind::Damaged,
        KnownNodesError::Newer { .. } => ErrorKind::NewerSchema,
        KnownNodesError::File { source, .. } if is_full(source) => ErrorKind::Full,
        KnownNodesError::File { .. } => ErrorKind::Io,
        _ => ErrorKind::Limit,
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn backup_kind(error: &ate_log::BackupError) -> ErrorKind {
    use ate_log::BackupError;
    match error {
        BackupError::Source(ate_log::ReadError::Corrupt { .. })
        | BackupError::SourceDamaged { .. }
        | BackupError::Damaged { .. } => ErrorKind::Damaged,
        BackupError::NotABackup { .. } => ErrorKind::NotFound,
        BackupError::Locked { .. } => ErrorKind::Locked,
        BackupError::DiskFull { .. } => ErrorKind::Full,
        BackupError::NewerFormat { .. } => ErrorKind::NewerSchema,
        BackupError::HoldsAStore { .. }
        | BackupError::Written { .. }
        | BackupError::OtherLog { .. }
        | BackupError::OtherStore { .. }
        | BackupError::Newer { .. }
        | BackupError::Diverged { .. } => ErrorKind::Rejected,
        _ => ErrorKind::Io,
    }
}

const fn backup_remedy(error: &ate_log::BackupError) -> Option<&'static str> {
    use ate_log::BackupError;
    Some(match error {
        BackupError::HoldsAStore { .. } => {
            "name an empty directory, or one with a backup of this store"
        }
        BackupError::Written { .. } => "keep it, and name another directory for the backup",
        BackupError::OtherLog { .. } | BackupError::OtherStore { .. } => {
            "name another directory for the backups of this store"
        }
        BackupError::Newer { .. } => {
            "if the store was put back from an older copy, keep the backup: it has more; name another directory"
        }
        BackupError::Diverged { .. } => {
            "verify the store, and the backup; name another directory for a new one"
        }
        _ => return None,
    })
}

#[cfg(feature = "net")]
fn net_kind(error: &ate_net::NetError) -> ErrorKind {
    use ate_net::{NetError, RefusalCode, TransportError};
    match error {
        NetError::Transport(TransportError::WrongNode { .. }) => ErrorKind::Denied,
        NetError::Transport(TransportError::Unusable { .. }) => ErrorKind::Limit,
        NetError::Transport(_) | NetError::TimedOut { .. } => ErrorKind::Unreachable,
        NetError::Refused { code, .. } => match code {
            RefusalCode::Absent => ErrorKind::NotFound,
            RefusalCode::Denied => ErrorKind::Denied,
            RefusalCode::Busy | RefusalCode::Leaving => ErrorKind::Unreachable,
            RefusalCode::Version => ErrorKind::NewerSchema,
            _ => ErrorKind::Rejected,
        },
        NetError::TooLarge { .. } => ErrorKind::Limit,
        NetError::Store(_) => ErrorKind::Io,
        _ => ErrorKind::Rejected,
    }
}
