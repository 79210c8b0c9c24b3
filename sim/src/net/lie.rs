//! What a node that lies may do: to what it says on its streams ([`liar`](super::liar)), and with its disk.

/// A way to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lie {
    /// A byte of the frames that are shown is another one.
    ChangedFrames,
    /// The signature over the last commits that are shown is none.
    ForgedSignature,
    /// A commit in the middle is not shown.
    DroppedCommit,
    /// Frames are shown a second time.
    Replayed,
    /// The root that is told is not that of the commits.
    FalseRoot,
    /// A root that is none is signed, with the node's own key.
    SignedFalseRoot,
    /// The checkpoint is signed by somebody whom the chain does not list.
    ForeignNote,
    /// The chain is said to be shorter than it was.
    Shrunk,
    /// Answers come in another order than the batches.
    SwappedAnswers,
    /// A commit is said to stand where it will never stand.
    FalsePlace,
    /// A commit is acknowledged, and nobody orders it.
    NeverOrdered,
    /// Nothing is shown any more.
    Frozen,
    /// Contents are others than those that were signed.
    ForgedContent,
    /// Contents are said not to be there.
    WithheldContent,
    /// The node goes back to an older state of its disk, behind what it acknowledged.
    RolledBack,
    /// Two devices are shown two orders; one of them later sees the other.
    Forked,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::ChangedFrames,
        Self::ForgedSignature,
        Self::DroppedCommit,
        Self::Replayed,
        Self::FalseRoot,
        Self::SignedFalseRoot,
        Self::ForeignNote,
        Self::Shrunk,
        Self::SwappedAnswers,
        Self::FalsePlace,
        Self::NeverOrdered,
        Self::Frozen,
        Self::ForgedContent,
        Self::WithheldContent,
        Self::RolledBack,
        Self::Forked,
    ];

    /// Whether design and protocol promise that the device which was lied to finds it out, and keeps evidence.
    pub(super) const fn is_found_out(self) -> bool {
        matches!(
            self,
            Self::ForgedSignature
                | Self::DroppedCommit
                | Self::Replayed
                | Self::FalseRoot
                | Self::SignedFalseRoot
                | Self::ForeignNote
                | Self::Shrunk
                | Self::RolledBack
                | Self::Forked
        )
    }
}
