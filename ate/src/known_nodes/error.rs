//! What can be wrong with what is remembered, or with what was shown against it.

use std::path::{Path, PathBuf};

use ate_chain::ChainId;
use ate_net::NodeId;

use super::checkpoints::KeptCheckpoint;
use super::names::NamePin;

/// Why a node, a name or a checkpoint is not to be believed, or cannot be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownNodesError {
    /// Another key than the known one: the node has a new key, or somebody answers in its place.
    #[error(
        "the node at {address} has another key: {known} is known{}, {shown} is shown or named now",
        file.as_ref().map_or_else(String::new, |file| format!(" (in {})", file.display()))
    )]
    Changed {
        /// `host:port`.
        address: String,
        /// The key that is known, or that the address names.
        known: NodeId,
        /// The other one.
        shown: NodeId,
        /// Where the known one stands.
        file: Option<Box<Path>>,
    },
    /// A name stands for another chain than before.
    #[error(
        "`{}` of {} at node {} was chain {}, and is {shown} now",
        known.name, known.root, known.node, known.chain
    )]
    NameChanged {
        /// What it stood for.
        known: Box<NamePin>,
        /// What it is said to stand for.
        shown: ChainId,
    },
    /// A chain is shorter than the node has signed before.
    #[error("node {node} shows chain {chain} with {shown} commits, and has signed {kept} before")]
    RolledBack {
        /// The node.
        node: NodeId,
        /// The chain.
        chain: ChainId,
        /// Commits of the kept checkpoint.
        kept: u64,
        /// Commits of what it shows.
        shown: u64,
    },
    /// Two roots were signed for one size: two histories.
    #[error(
        "node {node} has signed two histories of chain {chain} with {} commits: root {} before, {} now",
        kept.size, kept.root, shown.root
    )]
    Contradiction {
        /// The node.
        node: NodeId,
        /// The chain.
        chain: ChainId,
        /// The kept checkpoint.
        kept: Box<KeptCheckpoint>,
        /// The other, of the same size.
        shown: Box<KeptCheckpoint>,
    },
    /// A file is not what this program writes.
    #[error("{file} is damaged in line {line}: {why}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A file of a later format.
    #[error("{file} was written by a newer program")]
    Newer {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {file}")]
    File {
        /// The operation.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no room for another one.
    #[error("there are {max} {what} already")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many may be.
        max: usize,
    },
    /// To pin takes a key.
    #[error("the address of {address} names no key to pin")]
    NoKey {
        /// `host:port`.
        address: String,
    },
    /// A note that is no line of text.
    #[error("a note is one line of at most 256 bytes")]
    Note,
    /// A checkpoint that cannot be kept.
    #[error("a checkpoint's note is text of at most 65,536 bytes")]
    Checkpoint,
}

impl KnownNodesError {
    /// What to do now.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Changed { address, shown, .. } => format!(
                "ask whoever runs that node; if it was given a new key on purpose: `ate nodes pin ate://{shown}@{address}`"
            ),
            Self::NameChanged { .. } => {
                "ask whoever owns that chain; if it was begun anew on purpose: `ate nodes forget ATE-URL-OF-THE-CHAIN`".to_owned()
            }
            Self::RolledBack { .. } => {
                "the node has lost history or hides it: do not write there, and ask whoever runs it; what it signed before is kept".to_owned()
            }
            Self::Contradiction { .. } => {
                "the node is not honest, or its key was stolen: do not use it; both signatures are kept as evidence".to_owned()
            }
            Self::Damaged { file, .. } => format!(
                "mend that line, or put {} back from a copy; without the file every node is a first use again",
                file.display()
            ),
            Self::Newer { .. } => "use a program as new as the one that wrote it".to_owned(),
            Self::File { .. } => {
                "check the path, its permissions and the free space of its disk".to_owned()
            }
            Self::Full { .. } => "`ate nodes forget` those that are used no more".to_owned(),
            Self::NoKey { .. } => {
                "write ate://NODE@host:port, with the node id of the first line of `ate serve`".to_owned()
            }
            Self::Note => "give a shorter note, without line breaks".to_owned(),
            Self::Checkpoint => "nothing was kept; the node's checkpoint is not acceptable".to_owned(),
        }
    }
}
