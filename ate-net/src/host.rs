//! What a node hosts, and whom it lets do what. Both come from outside: this crate has no files and no policy.

use std::net::IpAddr;
use std::sync::Arc;

use ate_chain::{ChainId, Local};
use ate_crypto::{KeyId, Who};

/// The chains of a node. All methods may block on a disk; they are called where that is allowed.
pub trait Host: Send + Sync + 'static {
    /// The chain of that name: of this root, or the only one of that name.
    ///
    /// # Errors
    /// The store failed.
    fn find(&self, name: &str, root: Option<KeyId>) -> Result<Option<ChainId>, String>;

    /// A chain that exists here.
    ///
    /// # Errors
    /// The store failed.
    fn open(&self, chain: ChainId) -> Result<Option<Arc<Local>>, String>;

    /// A chain that somebody founds. Two callers for the same chain get the same.
    ///
    /// # Errors
    /// The store failed, or is full.
    fn begin(&self, chain: ChainId, name: &str) -> Result<Arc<Local>, String>;
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Act<'a> {
    /// To speak with the node at all.
    Connect,
    /// To found a chain.
    Create {
        /// Its id.
        chain: ChainId,
        /// Its name.
        name: &'a str,
        /// Sealed bytes that come with it.
        bytes: u64,
    },
    /// To follow a chain and fetch contents.
    Read {
        /// Which.
        chain: ChainId,
    },
    /// To have commits ordered. What the chain's own rules say comes after.
    Write {
        /// Which.
        chain: ChainId,
        /// Bytes of the batch.
        bytes: u64,
    },
    /// To call a service.
    Call {
        /// On which chain.
        chain: ChainId,
    },
    /// To offer a service.
    Serve {
        /// On which chain.
        chain: ChainId,
    },
}

/// A peer that has shown who it is.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its public identity.
    pub who: Who,
    /// Where it is, if the transport knows.
    pub address: Option<IpAddr>,
}

/// What a node says to an act.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on.
    Admit,
    /// Not this identity. For chains it looks like absence.
    Deny,
    /// Not now.
    Busy {
        /// The limit that was reached.
        why: String,
    },
}

/// Node-local, before any rule of a chain, and able to refuse only: it may look at clocks, quotas and lists.
pub trait Admission: Send + Sync + 'static {
    /// Judges. Must not block.
    fn judge(&self, peer: &Peer, act: Act<'_>) -> Verdict;
}

/// Lets everybody do everything, within the limits of the node.
#[derive(Clone, Copy, Default, Debug)]
pub struct Everybody;

impl Admission for Everybody {
    fn judge(&self, _: &Peer, _: Act<'_>) -> Verdict {
        Verdict::Admit
    }
}
