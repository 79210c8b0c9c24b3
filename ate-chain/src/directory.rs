//! Which chains a log holds, by name: the genesis commits, gathered without judging them. Opening a chain judges its genesis.

use std::collections::HashSet;
use std::ops::ControlFlow;

use ate_crypto::{Hash, KeyId};
use ate_log::{Cursor, FrameKind, Location, Log, Scan};

use crate::codec::{Reader, put_bytes, put_varint};
use crate::commit::{Commit, PART_HEADS};
use crate::error::{FormatError, OpenError};
use crate::event::{CHAIN_NAME_BYTES_MAX, Change};
use crate::ids::ChainId;

const MAGIC: &[u8; 8] = b"ATEdir01";

/// One chain of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryEntry {
    /// Chain.
    pub chain: ChainId,
    /// Name that its genesis gives it.
    pub name: Box<str>,
    /// Root key that its genesis names.
    pub root: KeyId,
}

/// The chains of a log up to a cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    entries: Vec<DirectoryEntry>,
    /// The chains of `entries`: a hostile log may hold a genesis twice, and one that was noted is met again.
    known: HashSet<ChainId>,
    cursor: Cursor,
}

impl Directory {
    /// Nothing known yet.
    pub fn new(log: &dyn Log) -> Self {
        Self {
            entries: Vec::new(),
            known: HashSet::new(),
            cursor: log.start(),
        }
    }

    /// The chains, in order of birth.
    pub fn entries(&self) -> &[DirectoryEntry] {
        &self.entries
    }

    /// Reads on to the durable end of the log. Linear in what is new.
    ///
    /// # Errors
    /// The log's; what was found before stays.
    pub fn update(&mut self, log: &dyn Log) -> Result<(), OpenError> {
        let (entries, known) = (&mut self.entries, &mut self.known);
        self.cursor = log.scan(Scan::from(self.cursor), &mut |frame| {
            if frame.kind == FrameKind::Commit && frame.number == 0 {
                // What does not decode is no chain here; opening it by id says what is wrong.
                entries.extend(
                    frame
                        .part(PART_HEADS)
                        .and_then(genesis_of)
                        .filter(|entry| entry.chain.stream() == frame.stream)
                        .filter(|entry| known.insert(entry.chain)),
                );
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// Notes a chain whose genesis was just written, so that no scan is needed to find it.
    pub fn note(&mut self, entry: DirectoryEntry) {
        if self.known.insert(entry.chain) {
            self.entries.push(entry);
        }
    }

    /// Bytes for a sealed file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.cursor.file.to_le_bytes());
        out.extend_from_slice(&self.cursor.offset.to_le_bytes());
        put_varint(&mut out, self.entries.len() as u64);
        for entry in &self.entries {
            out.extend_from_slice(&entry.chain.0.0);
            out.extend_from_slice(&entry.root.0);
            put_bytes(&mut out, entry.name.as_bytes());
        }
        out
    }

    /// Reads back what [`Directory::encode`] gave.
    ///
    /// # Errors
    /// [`FormatError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let text = FormatError::Text {
            what: "directory",
            expected: "this version",
        };
        let mut reader = Reader::new(bytes);
        if reader.array()? != *MAGIC {
            return Err(text);
        }
        let cursor = Location {
            file: reader.u32()?,
            offset: reader.u32()?,
        };
        let (mut entries, mut known) = (Vec::new(), HashSet::new());
        for _ in 0..reader.varint()? {
            let (chain, root) = (ChainId(Hash(reader.array()?)), KeyId(reader.array()?));
            let name = std::str::from_utf8(reader.bytes(CHAIN_NAME_BYTES_MAX)?)
                .map_err(|_| text.clone())?;
            if !known.insert(chain) {
                return Err(text);
            }
            entries.push(DirectoryEntry {
                chain,
                name: name.into(),
                root,
            });
        }
        reader.finish()?;
        Ok(Self {
            entries,
            known,
            cursor,
        })
    }

    /// Where the log goes on.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

fn genesis_of(heads: &[u8]) -> Option<DirectoryEntry> {
    let commit = Commit::decode(&ChainId::UNBORN, heads).ok()?;
    match &commit.events.first()?.head.change {
        Change::Genesis(genesis) => Some(DirectoryEntry {
            chain: ChainId(commit.id),
            name: genesis.name.clone(),
            root: genesis.root.id(),
        }),
        _ => None,
    }
}
