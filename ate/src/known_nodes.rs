//! What this store remembers of the nodes it has met: their keys, what their names stand for, and the last checkpoint of each chain.
//!
//! All of it is plain text in the store's directory, for people to read and to mend: `known-nodes`, and in `known-nodes.d` a file of names for each node and a file
//! for each kept checkpoint. Nothing here is secret, and nothing is believed because it stands here *and* somebody says so: it can only make a later answer an error.
//! A file that cannot be understood is an error, never an empty list: otherwise damage would make a stranger a first use.
//!
//! A file is replaced whole, under a lock that all processes of the directory share, and is durable when a call returns. Reading takes no lock.

mod checkpoints;
mod error;
mod files;
mod names;
mod seconds;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ate_net::{NodeAddress, NodeId};

pub use checkpoints::{CHECKPOINT_NOTE_BYTES_MAX, CHECKPOINTS_MAX, Kept, KeptCheckpoint};
pub use error::KnownNodesError;
pub use names::{NAMES_MAX, NamePin};

use files::{Files, Form};

/// Most nodes that are known at one time.
pub const NODES_MAX: usize = 4096;

/// Longest note of a node.
pub const NODE_NOTE_BYTES_MAX: usize = 256;

const FILE: &str = "known-nodes";
const FORM: Form = Form {
    head: "# ate known-nodes 1: host:port node-id first-seen note",
    kind: "# ate known-nodes ",
    // The longest line is about 600 bytes.
    bytes_max: NODES_MAX * 1024,
};

/// The memory of a store. Cheap to make; every call looks at the files anew.
#[derive(Debug)]
pub struct KnownNodes {
    files: Files,
}

/// A node that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownNode {
    /// Where it answers, with its key.
    pub address: NodeAddress,
    /// Its key.
    pub node: NodeId,
    /// When it was met first, or pinned, in seconds since 1970.
    pub first_seen: u64,
    /// How it became known, in a person's or this program's words.
    pub note: String,
}

/// A node answered whose key nobody had named: it is trusted from now on, because it was the first. Whoever gets this must tell it to a person.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a person must be told whom is trusted from now on"]
pub struct FirstUse {
    /// Where, with the key that is trusted now.
    pub address: NodeAddress,
    /// The key.
    pub node: NodeId,
    /// The file that remembers it; `None` in memory.
    pub file: Option<PathBuf>,
}

impl fmt::Display for FirstUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FIRST USE of {}: no key was known for it, and it shows {}, which is trusted from now on",
            self.address.host_port(),
            self.node
        )?;
        if let Some(file) = &self.file {
            write!(f, " (kept in {})", file.display())?;
        }
        write!(
            f,
            "\n  compare it with the first line that `ate serve` prints there; if it is another, somebody answers in its place: `ate nodes forget {}`",
            self.address.host_port()
        )
    }
}

impl KnownNodes {
    /// The memory in a store's directory. Nothing is read or made yet.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            files: Files::in_dir(dir),
        }
    }

    /// A memory that is gone with this value.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            files: Files::in_memory(),
        }
    }

    /// All nodes, by place.
    ///
    /// # Errors
    /// [`KnownNodesError::Damaged`], [`KnownNodesError::Newer`], [`KnownNodesError::File`].
    pub fn nodes(&self) -> Result<Vec<KnownNode>, KnownNodesError> {
        Ok(self.load()?.into_values().collect())
    }

    /// The key that must answer at an address: the one that it names, else the one that is known; `None` before the first use.
    ///
    /// # Errors
    /// [`KnownNodesError::Changed`] if it names another key than is known; as [`KnownNodes::nodes`].
    pub fn expected(&self, address: &NodeAddress) -> Result<Option<NodeId>, KnownNodesError> {
        let known = self.load()?.remove(&address.host_port());
        let known = known.map(|known| known.node);
        match address.node() {
            Some(named) => {
                self.compare(address, known, named)?;
                Ok(Some(named))
            }
            None => Ok(known),
        }
    }

    /// Records who answered at an address, after it has proven its key. [`FirstUse`] if it is trusted for that alone; a key that the address names, or that is
    /// known, needs no words.
    ///
    /// # Errors
    /// [`KnownNodesError::Changed`]: the connection must not be used. [`KnownNodesError::Full`]; as [`KnownNodes::nodes`].
    pub fn meet(
        &self,
        address: &NodeAddress,
        shown: NodeId,
        now_ms: u64,
    ) -> Result<Option<FirstUse>, KnownNodesError> {
        self.compare(address, address.node(), shown)?;
        let place = address.host_port();
        // The usual case takes no lock and writes nothing.
        if let Some(known) = self.load()?.get(&place) {
            self.compare(address, Some(known.node), shown)?;
            return Ok(None);
        }
        let held = self.files.lock()?;
        let mut nodes = self.load()?;
        // Another process may have met it at the same moment.
        if let Some(known) = nodes.get(&place) {
            self.compare(address, Some(known.node), shown)?;
            return Ok(None);
        }
        let note = match address.node() {
            Some(_) => "named by its address",
            None => "trusted on first use",
        };
        let met = KnownNode {
            address: address.clone().with_node(Some(shown)),
            node: shown,
            first_seen: now_ms / 1000,
            note: note.to_owned(),
        };
        let first = FirstUse {
            address: met.address.clone(),
            node: shown,
            file: self.files.path(FILE),
        };
        nodes.insert(place, met);
        held.write(FILE, &FORM, &print(&nodes)?)?;
        Ok(address.node().is_none().then_some(first))
    }

    /// Records a key that a person vouches for, in place of what was known. Returns what was replaced.
    ///
    /// # Errors
    /// [`KnownNodesError::NoKey`] if the address names none, [`KnownNodesError::Note`], [`KnownNodesError::Full`]; as [`KnownNodes::nodes`].
    pub fn pin(
        &self,
        address: &NodeAddress,
        note: &str,
        now_ms: u64,
    ) -> Result<Option<KnownNode>, KnownNodesError> {
        let node = address.node().ok_or_else(|| KnownNodesError::NoKey {
            address: address.host_port(),
        })?;
        check_note(note)?;
        let held = self.files.lock()?;
        let mut nodes = self.load()?;
        let pinned = KnownNode {
            address: address.clone(),
            node,
            first_seen: now_ms / 1000,
            note: note.to_owned(),
        };
        let before = nodes.insert(address.host_port(), pinned);
        held.write(FILE, &FORM, &print(&nodes)?)?;
        Ok(before)
    }

    /// Forgets the key of a place: the next meeting is a first use again. What is remembered of the *node* under that key, names and checkpoints, stays, and holds
    /// again when it shows the same key. Returns what was known.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    pub fn forget(&self, address: &NodeAddress) -> Result<Option<KnownNode>, KnownNodesError> {
        let held = self.files.lock()?;
        let mut nodes = self.load()?;
        let known = nodes.remove(&address.host_port());
        if known.is_some() {
            held.write(FILE, &FORM, &print(&nodes)?)?;
        }
        Ok(known)
    }

    fn load(&self) -> Result<BTreeMap<String, KnownNode>, KnownNodesError> {
        let mut nodes = BTreeMap::new();
        let Some(text) = self.files.read(FILE, &FORM)? else {
            return Ok(nodes);
        };
        for (number, line) in text.lines() {
            let damaged = |why| self.files.damaged(FILE, number, why);
            let known = parse(line).map_err(damaged)?;
            if nodes.insert(known.address.host_port(), known).is_some() {
                return Err(damaged("this host and port stand in the file twice"));
            }
        }
        if nodes.len() > NODES_MAX {
            return Err(self
                .files
                .damaged(FILE, NODES_MAX + 2, "there are too many nodes"));
        }
        Ok(nodes)
    }

    fn compare(
        &self,
        address: &NodeAddress,
        known: Option<NodeId>,
        shown: NodeId,
    ) -> Result<(), KnownNodesError> {
        match known {
            Some(known) if known != shown => Err(KnownNodesError::Changed {
                address: address.host_port(),
                known,
                shown,
                file: self.files.path(FILE).map(Into::into),
            }),
            _ => Ok(()),
        }
    }
}

fn parse(line: &str) -> Result<KnownNode, &'static str> {
    let mut words = line.splitn(4, ' ');
    let (place, node, seen, note) = (words.next(), words.next(), words.next(), words.next());
    let (Some(place), Some(node), Some(seen)) = (place, node, seen) else {
        return Err("a line is `host:port node-id first-seen note`");
    };
    let node: NodeId = node
        .parse()
        .map_err(|_| "the node id is not 64 hex digits")?;
    let address =
        NodeAddress::from_host_port(place).map_err(|_| "the first word is no host and port")?;
    let first_seen = seconds::parse(seen).ok_or("the time is not like 2026-01-31T12:00:00Z")?;
    let note = note.unwrap_or_default();
    check_note(note).map_err(|_| "the note is too long")?;
    Ok(KnownNode {
        address: address.with_node(Some(node)),
        node,
        first_seen,
        note: note.to_owned(),
    })
}

fn print(nodes: &BTreeMap<String, KnownNode>) -> Result<String, KnownNodesError> {
    if nodes.len() > NODES_MAX {
        return Err(KnownNodesError::Full {
            what: "known nodes",
            max: NODES_MAX,
        });
    }
    let mut text = String::new();
    for (place, known) in nodes {
        let (node, seen) = (known.node, seconds::print(known.first_seen));
        let line = format!("{place} {node} {seen} {}", known.note);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn check_note(note: &str) -> Result<(), KnownNodesError> {
    if note.len() > NODE_NOTE_BYTES_MAX || note.chars().any(char::is_control) {
        return Err(KnownNodesError::Note);
    }
    Ok(())
}
