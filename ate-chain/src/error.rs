//! What can go wrong, one enum per family of operations.

use ate_crypto::{Hash, KeyId};
use ate_log::{AppendError, Location};

use crate::ids::{ChainId, Position, RecordKey, Ref, Version};

/// Bytes that are not the canonical encoding of anything known. Nothing is changed by a failed decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The input ends too early.
    #[error("input ends at byte {offset}")]
    Truncated {
        /// Where more was needed.
        offset: usize,
    },
    /// Input is left over.
    #[error("unexpected bytes from {offset} on")]
    Trailing {
        /// First byte left over.
        offset: usize,
    },
    /// A number not in its shortest form, or too large.
    #[error("bad number at byte {offset}")]
    Varint {
        /// Its first byte.
        offset: usize,
    },
    /// A count or length over its limit.
    #[error("{what} is {got}, at most {max} allowed")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// Found.
        got: u64,
        /// Allowed.
        max: u64,
        /// Where.
        offset: usize,
    },
    /// A value that no version defines.
    #[error("unknown {what} {got}")]
    Unknown {
        /// Kind of value.
        what: &'static str,
        /// Found.
        got: u64,
    },
    /// A value reserved for a later version.
    #[error("{what} is reserved for a later version")]
    Reserved {
        /// Kind of value.
        what: &'static str,
    },
    /// Written by a later version of the format or the rules.
    #[error("format {found} is newer than {known}, the newest this build knows")]
    NewerFormat {
        /// Found.
        found: u64,
        /// Newest known.
        known: u64,
    },
    /// Flags that this kind of event cannot have, or lacks.
    #[error("flags {flags:#04x} do not fit event kind {kind}")]
    Flags {
        /// Event kind.
        kind: u8,
        /// Found.
        flags: u8,
    },
    /// Entries not strictly ascending.
    #[error("{what} are not strictly ascending")]
    Order {
        /// What must ascend.
        what: &'static str,
    },
    /// A malformed public key or signature.
    #[error("malformed key or signature")]
    Key,
    /// Text that does not parse.
    #[error("bad {what}: expected {expected}")]
    Text {
        /// What was read.
        what: &'static str,
        /// What it should look like.
        expected: &'static str,
    },
}

/// Why the rules of a chain refuse a commit. A pure function of (state, commit, order time): every replica finds the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// A record is no longer at the version that the commit supersedes or requires.
    #[error("record {key} is at {stored:?}, the commit expects {expected:?}")]
    Conflict {
        /// Record.
        key: RecordKey,
        /// What the commit says.
        expected: Ref,
        /// What the chain holds; `None` if it never existed.
        stored: Option<Version>,
    },
    /// The author may not write here.
    #[error("{author} may not write at record {key}")]
    Denied {
        /// Signing key.
        author: KeyId,
        /// Record.
        key: RecordKey,
    },
    /// The key was never introduced to this chain.
    #[error("{author} is not known to this chain")]
    UnknownAuthor {
        /// Signing key.
        author: KeyId,
    },
    /// A record is named that does not exist.
    #[error("record {key} does not exist")]
    NoRecord {
        /// Record.
        key: RecordKey,
    },
    /// A body is sealed under an old epoch of its scope.
    #[error("scope {scope} is in epoch {current}")]
    StaleEpoch {
        /// Scope.
        scope: RecordKey,
        /// Epoch in force.
        current: u32,
    },
    /// The schema tag was not brought into being in this scope.
    #[error("the schema of record {key} is not defined in its scope")]
    UnknownSchema {
        /// Record.
        key: RecordKey,
    },
    /// The commit binds itself to another history, or to one that goes back.
    #[error("the commit has seen another history of this chain")]
    Seen,
    /// The commit has seen less of this chain than its lane had before: its store lost what it had received, with its power. A commit that is placed anew has seen
    /// more. Said by a replica that has caught up, never by the rules, which say [`Reject::Seen`].
    #[error("the commit has seen {seen} commits of this chain, its lane had seen more before")]
    Behind {
        /// Commits that it has seen.
        seen: u64,
    },
    /// This lane number was used, or passed over.
    #[error("lane number {number} is spent, the last is {last}")]
    Spent {
        /// Offered.
        number: u64,
        /// Last used.
        last: u64,
    },
    /// The commit it must follow has not arrived.
    #[error("the commit follows lane number {after}, which is not there")]
    After {
        /// Lane number.
        after: u64,
    },
    /// The events do not form a valid commit.
    #[error("invalid commit: {why}")]
    Invalid {
        /// The rule broken.
        why: &'static str,
    },
    /// Whoever decides the order says so in words, perhaps for reasons of its own: a quota, or who may write there at all.
    #[error("refused where the chain is ordered: {why}")]
    Elsewhere {
        /// Its words.
        why: String,
    },
}

/// Why a batch of commits is none. Nothing was done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Bytes that do not decode.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its parts do not fit together.
    #[error("{why}")]
    Invalid {
        /// What does not fit.
        why: &'static str,
    },
}

/// Why frames that were shown were not taken in. The chain is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// They break a limit of frames.
    #[error("what was shown is no frame: {0}")]
    Shown(#[source] AppendError),
    /// A hash, a signature or a rule does not hold, or commits are missing.
    #[error("what was shown does not verify: {0}")]
    Invalid(#[source] OpenError),
    /// The own log did not take them.
    #[error("the replica's log: {0}")]
    Log(#[source] AppendError),
}

/// How a commit ended without a receipt.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Refused by the rules; nothing was written.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// Over a limit of the log; nothing was written.
    #[error("commit is too large: {why}")]
    TooLarge {
        /// Limit and size.
        why: String,
    },
    /// The disk is full; nothing was changed, reads go on, and so do writes once there is space.
    #[error("{why}")]
    Full {
        /// The log's words.
        why: String,
    },
    /// Handed to the disk, whose answer was an error: whether it is there shows when the store is opened again.
    #[error("outcome unknown until the store is opened again: {why}")]
    Unknown {
        /// Commit id, to ask for later.
        commit: Hash,
        /// The log's words.
        why: String,
    },
    /// An earlier write failed; nothing more is written until the store is opened again. Reads go on.
    #[error("the log is closed for writing after an earlier failure: {why}")]
    Poisoned {
        /// The log's words.
        why: String,
    },
    /// This store was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// As many bytes are staged, or refused and kept, as may be; nothing was written. They go when the order is reached again, or when what was refused is
    /// dismissed ([`Local::dismiss_refused`](crate::Local::dismiss_refused)).
    #[error(
        "{staged} bytes wait to be ordered or were refused and are kept, {max} may, and the commit has {bytes}"
    )]
    StagedFull {
        /// Bytes that are staged or kept.
        staged: u64,
        /// Most that may be.
        max: u64,
        /// Bytes of this commit.
        bytes: u64,
    },
    /// A record is changed by a commit that another identity of this store has staged: only the one who staged it can build on it before it is ordered.
    /// Nothing was written.
    #[error("record {key} is changed by a commit of another identity that is not ordered yet")]
    StagedByOther {
        /// Record.
        key: RecordKey,
    },
}

/// Why a body or an older version cannot be had. The store is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such record at this position.
    #[error("record {key} does not exist")]
    NotFound {
        /// Record.
        key: RecordKey,
    },
    /// A replica that fetches contents when they are read does not hold this one, and did not get it.
    #[error("content {}.{} is elsewhere: {source}", content.seq, content.event)]
    Elsewhere {
        /// Which.
        content: crate::replica::ContentId,
        /// Why it did not come.
        source: crate::replica::FetchError,
    },
    /// No key for the scope and epoch is held.
    #[error("no key for epoch {epoch} of scope {scope} is held")]
    NoKey {
        /// Scope.
        scope: RecordKey,
        /// Epoch.
        epoch: u32,
    },
    /// The record was erased: names and contents from before are gone for good, wherever the chain is followed.
    #[error("record {key} was erased, version {version} is gone")]
    Erased {
        /// Record.
        key: RecordKey,
        /// Version asked for.
        version: Version,
    },
    /// The content was superseded before the chain's horizon and is not kept.
    #[error(
        "version {version} of record {key} was superseded before the horizon {horizon} and is gone"
    )]
    Dropped {
        /// Record.
        key: RecordKey,
        /// Version asked for.
        version: Version,
        /// The chain's horizon.
        horizon: Position,
    },
    /// Stored bytes do not match what was signed.
    #[error("damaged at {at}: {why}")]
    Damaged {
        /// Where.
        at: Location,
        /// The check that failed.
        why: &'static str,
    },
    /// The log's error.
    #[error(transparent)]
    Log(#[from] ate_log::ReadError),
}

impl ReadError {
    /// Whether asking again may help: the storage failed or nobody can be asked, and nothing is known about the bytes.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        use crate::replica::FetchError::{NotFetched, Unreachable};
        matches!(
            self,
            Self::Log(ate_log::ReadError::Io { .. })
                | Self::Elsewhere {
                    source: NotFetched | Unreachable { .. },
                    ..
                }
        )
    }
}

/// Why a mark could not be kept, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The log did not take it: it is open for reading only, closed, or the disk failed.
    #[error("the log did not keep the place of a consumer")]
    Write(#[from] AppendError),
    /// The log did not give it.
    #[error("the place of a consumer cannot be read")]
    Read(#[from] ate_log::ReadError),
}

/// Why erased bodies could not be destroyed. They stay unreadable through the chain, and are tried again at the next call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// Where they stand could not be found out.
    #[error("where the erased bodies stand cannot be read")]
    Read(#[from] ReadError),
    /// The log did not destroy them.
    #[error("the log did not destroy the erased bodies")]
    Log(#[from] AppendError),
    /// What was kept at rest still holds names.
    #[error("the chain's state at rest, which holds names, cannot be removed")]
    Rest(#[source] AppendError),
}

/// Why a chain cannot be opened. Nothing is exposed, nothing is changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A frame does not decode.
    #[error("chain {chain}: bad bytes at {at}")]
    Format {
        /// Chain.
        chain: ChainId,
        /// Frame.
        at: Location,
        /// Why.
        source: FormatError,
    },
    /// A commit that the rules refuse stands in the log.
    #[error("chain {chain}: commit {seq} at {at} is invalid")]
    Invalid {
        /// Chain.
        chain: ChainId,
        /// Leaf number.
        seq: u64,
        /// Frame.
        at: Location,
        /// Rule broken.
        source: Reject,
    },
    /// A proof, hash or number does not fit.
    #[error("chain {chain}: {why} at commit {seq}, {at}")]
    Damaged {
        /// Chain.
        chain: ChainId,
        /// Leaf number reached.
        seq: u64,
        /// Frame.
        at: Location,
        /// The check that failed.
        why: &'static str,
    },
    /// The log ends before a state that this store sealed itself: it was rolled back or replaced.
    #[error(
        "chain {chain}: the log holds {found} commits, but this store has sealed a state of {sealed}: the log was rolled back or replaced"
    )]
    RolledBack {
        /// Chain.
        chain: ChainId,
        /// Commits in the log.
        found: u64,
        /// Commits in the sealed state.
        sealed: u64,
    },
    /// No chain of that id in this log.
    #[error("chain {chain} is not in this store")]
    NotFound {
        /// Chain.
        chain: ChainId,
    },
    /// The log's error.
    #[error(transparent)]
    Log(#[from] ate_log::ReadError),
}

/// Why a draft cannot be sealed. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A record is named that does not exist.
    #[error("record {key} does not exist")]
    NoRecord {
        /// Record.
        key: RecordKey,
    },
    /// The author holds no key for the scope it wants to write into.
    #[error("no key for scope {scope} is held")]
    NoKey {
        /// Scope.
        scope: RecordKey,
    },
    /// A limit of the format.
    #[error("{what} is {got}, at most {max} allowed")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// Found.
        got: u64,
        /// Allowed.
        max: u64,
    },
    /// Keys of the scope could not be read from the log.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A public key that cannot be wrapped to.
    #[error("the public key of {recipient} cannot receive keys")]
    Recipient {
        /// Reader.
        recipient: KeyId,
    },
}

/// A checkpoint that does not hold. See [`crate::Checkpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note does not parse, or a signature is missing or wrong.
    #[error("the note is not signed by this chain's sequencer")]
    Note,
    /// The body does not parse.
    #[error("the note's body is not a checkpoint of this chain")]
    Body,
    /// The chain has another root at that size.
    #[error("the checkpoint says root {claimed:?} at size {size}, the chain has {actual:?}")]
    Root {
        /// Size.
        size: u64,
        /// In the note.
        claimed: Hash,
        /// Of the chain, `None` if it is shorter.
        actual: Option<Hash>,
    },
}
