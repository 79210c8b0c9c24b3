//! The last checkpoint of each chain at each node: what a later one must extend.

use ate_chain::ChainId;
use ate_crypto::Hash;
use ate_net::NodeId;

use super::KnownNodes;
use super::error::KnownNodesError;
use super::files::{FOLDER, Form, Held};

/// Longest signed note that is kept: two signatures and about a dozen cosignatures.
pub const CHECKPOINT_NOTE_BYTES_MAX: usize = 64 << 10;

/// Most checkpoints that are kept, of all chains and nodes. Beyond it a new one is an error: to give up an old one would be to forgive.
pub const CHECKPOINTS_MAX: usize = 65_536;

const PREFIX: &str = "checkpoint-";
const EVIDENCE_PREFIX: &str = "evidence-";
const FORM: Form = Form {
    head: "# ate checkpoint 1: size, root, signed note",
    kind: "# ate checkpoint ",
    bytes_max: CHECKPOINT_NOTE_BYTES_MAX + 256,
};
const EVIDENCE_FORM: Form = Form {
    head: "# ate evidence 1: two signed notes that contradict each other",
    kind: "# ate evidence ",
    bytes_max: 2 * CHECKPOINT_NOTE_BYTES_MAX + 512,
};

/// A checkpoint as it was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptCheckpoint {
    /// Commits.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
    /// The signed note, lines and all.
    pub note: String,
}

/// How a checkpoint stands to the one that was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// There was none.
    First,
    /// It is larger and took its place.
    Advanced,
    /// It is the same state.
    Same,
}

impl KnownNodes {
    /// The last checkpoint of a chain that a node has shown.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    pub fn kept(
        &self,
        node: NodeId,
        chain: ChainId,
    ) -> Result<Option<KeptCheckpoint>, KnownNodesError> {
        let name = file(PREFIX, node, chain);
        let Some(text) = self.files.read(&name, &FORM)? else {
            return Ok(None);
        };
        let parsed = parse(text.text());
        parsed
            .map(Some)
            .map_err(|(line, why)| self.files.damaged(&name, line, why))
    }

    /// The last checkpoint of a chain from every node that has shown one: those of honest nodes lie on one history.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    ///
    /// # Cost
    /// Looks at the name of everything that is kept.
    pub fn kept_of_chain(
        &self,
        chain: ChainId,
    ) -> Result<Vec<(NodeId, KeptCheckpoint)>, KnownNodesError> {
        let ending = format!("-{chain}");
        let mut found = Vec::new();
        for name in self.files.names(PREFIX)? {
            let node = name[PREFIX.len()..].strip_suffix(&ending);
            let Some(node) = node.and_then(|node| node.parse().ok()) else {
                continue;
            };
            found.extend(self.kept(node, chain)?.map(|kept| (node, kept)));
        }
        Ok(found)
    }

    /// Keeps a checkpoint whose signatures hold and which was *proven* to extend the kept one: this compares sizes and roots alone.
    ///
    /// # Errors
    /// [`KnownNodesError::RolledBack`], [`KnownNodesError::Contradiction`]: the kept one stays, and the other is laid beside it as evidence.
    /// [`KnownNodesError::Full`], [`KnownNodesError::Checkpoint`]; as [`KnownNodes::nodes`].
    pub fn keep(
        &self,
        node: NodeId,
        chain: ChainId,
        shown: &KeptCheckpoint,
    ) -> Result<Kept, KnownNodesError> {
        check(shown)?;
        let held = self.files.lock()?;
        let Some(kept) = self.kept(node, chain)? else {
            if self.files.names(PREFIX)?.len() >= CHECKPOINTS_MAX {
                return Err(KnownNodesError::Full {
                    what: "kept checkpoints",
                    max: CHECKPOINTS_MAX,
                });
            }
            held.write(&file(PREFIX, node, chain), &FORM, &print(shown))?;
            return Ok(Kept::First);
        };
        if shown.size > kept.size {
            held.write(&file(PREFIX, node, chain), &FORM, &print(shown))?;
            return Ok(Kept::Advanced);
        }
        if shown.size == kept.size && shown.root == kept.root {
            return Ok(Kept::Same);
        }
        self.lay_beside(&held, node, chain, &kept, shown)?;
        Err(if shown.size < kept.size {
            KnownNodesError::RolledBack {
                node,
                chain,
                kept: kept.size,
                shown: shown.size,
            }
        } else {
            KnownNodesError::Contradiction {
                node,
                chain,
                kept: Box::new(kept),
                shown: Box::new(shown.clone()),
            }
        })
    }

    /// Lays a checkpoint that cannot be proven to extend the kept one beside it, as evidence. The first such pair of a chain and node stays; nothing is written
    /// if no checkpoint is kept.
    ///
    /// # Errors
    /// [`KnownNodesError::Checkpoint`]; as [`KnownNodes::nodes`].
    pub fn accuse(
        &self,
        node: NodeId,
        chain: ChainId,
        shown: &KeptCheckpoint,
    ) -> Result<(), KnownNodesError> {
        check(shown)?;
        let held = self.files.lock()?;
        match self.kept(node, chain)? {
            Some(kept) => self.lay_beside(&held, node, chain, &kept, shown),
            None => Ok(()),
        }
    }

    /// The file in which evidence against a node would be kept; `None` in memory.
    #[must_use]
    pub fn evidence_file(&self, node: NodeId, chain: ChainId) -> Option<std::path::PathBuf> {
        self.files.path(&file(EVIDENCE_PREFIX, node, chain))
    }

    /// The pair of checkpoints that was kept as evidence: the earlier one first.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    pub fn evidence(
        &self,
        node: NodeId,
        chain: ChainId,
    ) -> Result<Option<(KeptCheckpoint, KeptCheckpoint)>, KnownNodesError> {
        let name = file(EVIDENCE_PREFIX, node, chain);
        let Some(text) = self.files.read(&name, &EVIDENCE_FORM)? else {
            return Ok(None);
        };
        let text = text.text();
        let damaged = |(line, why)| self.files.damaged(&name, line, why);
        let (first, rest) = parse_first(text).map_err(damaged)?;
        let second = parse(rest).map_err(|(line, why)| {
            damaged((line + text.lines().count() - rest.lines().count(), why))
        })?;
        Ok(Some((first, second)))
    }

    fn lay_beside(
        &self,
        held: &Held<'_>,
        node: NodeId,
        chain: ChainId,
        kept: &KeptCheckpoint,
        shown: &KeptCheckpoint,
    ) -> Result<(), KnownNodesError> {
        let name = file(EVIDENCE_PREFIX, node, chain);
        // A liar who goes on may not write over what convicts it.
        if self.files.read(&name, &EVIDENCE_FORM)?.is_some() {
            return Ok(());
        }
        held.write(&name, &EVIDENCE_FORM, &(print(kept) + &print(shown)))
    }
}

fn file(prefix: &str, node: NodeId, chain: ChainId) -> String {
    format!("{FOLDER}/{prefix}{node}-{chain}")
}

fn check(shown: &KeptCheckpoint) -> Result<(), KnownNodesError> {
    if shown.note.len() > CHECKPOINT_NOTE_BYTES_MAX || !shown.note.ends_with('\n') {
        return Err(KnownNodesError::Checkpoint);
    }
    Ok(())
}

/// The note stands as it is, so that other tools can check it; its length says where it ends.
fn print(shown: &KeptCheckpoint) -> String {
    let KeptCheckpoint { size, root, note } = shown;
    format!("size {size}\nroot {root}\nnote {}\n{note}", note.len())
}

type Wrong = (usize, &'static str);

fn parse(text: &str) -> Result<KeptCheckpoint, Wrong> {
    match parse_first(text)? {
        (kept, "") => Ok(kept),
        _ => Err((5, "more follows than the note")),
    }
}

/// A checkpoint, and what follows it.
fn parse_first(text: &str) -> Result<(KeptCheckpoint, &str), Wrong> {
    let mut rest = text;
    let mut word = |name: &str| {
        let (line, after) = rest.split_once('\n')?;
        rest = after;
        line.strip_prefix(name)
    };
    let size = word("size ").and_then(|text| text.parse().ok());
    let size = size.ok_or((2, "the size is no number"))?;
    let root = word("root ").and_then(|text| text.parse().ok());
    let root = root.ok_or((3, "the root is not 64 hex digits"))?;
    let length = word("note ").and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or((4, "the length of the note is no number"))?;
    let note = rest.get(..length).ok_or((5, "the note is cut"))?;
    let kept = KeptCheckpoint {
        size,
        root,
        note: note.to_owned(),
    };
    Ok((kept, &rest[length..]))
}
