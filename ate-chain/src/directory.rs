//! Which chains a log holds, by name: the genesis commits, gathered without judging them. Opening a chain judges its genesis.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;

use ate_crypto::{Hash, KeyId};
use ate_log::{Cursor, FrameKind, Location, Log, Scan};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::codec::{Reader, put_bytes, put_varint};
use crate::commit::{Commit, PART_HEADS};
use crate::committer::Committer;
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

/// The chains of a log up to a cursor: 56 bytes for each, its name, and about 20 in the indexes by id and by name.
///
/// A chain stands in it once: a hostile log may hold a genesis twice, and one that was noted is met again.
#[derive(Clone)]
pub struct Directory {
    chains: Vec<Known>,
    /// All names, one after the other.
    names: String,
    roots: Vec<KeyId>,
    /// Numbers of chains by id.
    by_id: HashTable<u32>,
    /// The youngest chain of each name; the others of that name hang on it.
    by_name: HashTable<u32>,
    by_root: HashTable<u32>,
    hasher: RandomState,
    cursor: Cursor,
}

/// A chain as the directory keeps it.
#[derive(Clone, Copy)]
struct Known {
    chain: ChainId,
    name_start: u64,
    name_bytes: u16,
    /// Number in the list of roots.
    root: u32,
    /// The next older chain of the same name; its own number if there is none.
    older: u32,
}

const _: () = assert!(size_of::<Known>() <= 56);
const _: () = assert!(CHAIN_NAME_BYTES_MAX <= u16::MAX as usize);

impl Directory {
    /// Nothing known yet.
    pub fn new(log: &dyn Log) -> Self {
        Self::empty(log.start())
    }

    fn empty(cursor: Cursor) -> Self {
        Self {
            chains: Vec::new(),
            names: String::new(),
            roots: Vec::new(),
            by_id: HashTable::new(),
            by_name: HashTable::new(),
            by_root: HashTable::new(),
            hasher: RandomState::new(),
            cursor,
        }
    }

    /// How many chains are known.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Whether no chain is known.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// The chains, in order of birth.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = DirectoryEntry> + '_ {
        self.chains.iter().map(|known| self.entry(known))
    }

    /// The chain with this id.
    pub fn by_id(&self, chain: &ChainId) -> Option<DirectoryEntry> {
        let hash = self.hasher.hash_one(chain);
        let number = self
            .by_id
            .find(hash, |&other| self.known(other).chain == *chain)?;
        Some(self.entry(self.known(*number)))
    }

    /// The chains of this name, in order of birth. Linear in them.
    pub fn named(&self, name: &str) -> Vec<DirectoryEntry> {
        let hash = self.hasher.hash_one(name);
        let youngest = self
            .by_name
            .find(hash, |&other| self.name(self.known(other)) == name);
        let mut found = Vec::new();
        let mut next = youngest.copied();
        while let Some(number) = next {
            let known = self.known(number);
            found.push(self.entry(known));
            next = Some(known.older).filter(|older| *older != number);
        }
        found.reverse();
        found
    }

    /// Reads on to the durable end of the log. Linear in what is new.
    ///
    /// # Errors
    /// The log's; what was found before stays.
    pub fn update(&mut self, log: &dyn Log) -> Result<(), OpenError> {
        let from = Scan::from(self.cursor);
        self.cursor = log.scan(from, &mut |frame| {
            if frame.kind == FrameKind::Commit && frame.number == 0 {
                // What does not decode is no chain here; opening it by id says what is wrong.
                let found = frame.part(PART_HEADS).and_then(genesis_of);
                if let Some(entry) = found.filter(|entry| entry.chain.stream() == frame.stream) {
                    self.note(entry);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// As [`Directory::update`] for the log's only writer: what `committer` wrote itself is known without reading it again, so all but the first call cost
    /// what is new of chains, not of log. The chains are handed over: one directory may follow a committer.
    ///
    /// # Errors
    /// As [`Directory::update`].
    pub fn follow(&mut self, committer: &Committer) -> Result<(), OpenError> {
        if self.cursor < committer.from() {
            self.update(&**committer.log())?;
        }
        let (born, to) = committer.take_born();
        born.into_iter().for_each(|entry| self.note(entry));
        self.cursor = self.cursor.max(to);
        Ok(())
    }

    /// Notes a chain whose genesis was just written, so that no scan is needed to find it.
    ///
    /// # Panics
    /// If the name is longer than a genesis can have it.
    pub fn note(&mut self, entry: DirectoryEntry) {
        assert!(entry.name.len() <= CHAIN_NAME_BYTES_MAX, "names are capped");
        let number = u32::try_from(self.chains.len())
            .expect("a genesis takes kilobytes: 2^32 of them do not fit a log");
        let (hasher, chains) = (&self.hasher, &self.chains);
        match self.by_id.entry(
            hasher.hash_one(entry.chain),
            |&other| chains[other as usize].chain == entry.chain,
            |&other| hasher.hash_one(chains[other as usize].chain),
        ) {
            Entry::Occupied(_) => return,
            Entry::Vacant(vacant) => drop(vacant.insert(number)),
        }
        let root = self.root(entry.root);
        let (hasher, chains, names) = (&self.hasher, &self.chains, &self.names);
        let name_of = |other: u32| name_in(names, &chains[other as usize]);
        let older = match self.by_name.entry(
            hasher.hash_one(&*entry.name),
            |&other| name_of(other) == &*entry.name,
            |&other| hasher.hash_one(name_of(other)),
        ) {
            Entry::Occupied(mut youngest) => std::mem::replace(youngest.get_mut(), number),
            Entry::Vacant(vacant) => {
                vacant.insert(number);
                number
            }
        };
        self.chains.push(Known {
            chain: entry.chain,
            name_start: self.names.len() as u64,
            name_bytes: entry.name.len() as u16,
            root,
            older,
        });
        self.names.push_str(&entry.name);
    }

    /// Makes room for so many more chains at once.
    fn reserve(&mut self, count: usize) {
        let (hasher, chains, names) = (&self.hasher, &self.chains, &self.names);
        self.by_id.reserve(count, |&other| {
            hasher.hash_one(chains[other as usize].chain)
        });
        self.by_name.reserve(count, |&other| {
            hasher.hash_one(name_in(names, &chains[other as usize]))
        });
        self.chains.reserve_exact(count);
    }

    /// The number of a root; roots are few, most chains of a store have its own.
    fn root(&mut self, root: KeyId) -> u32 {
        let number = self.roots.len() as u32;
        let (hasher, roots) = (&self.hasher, &self.roots);
        let known = self.by_root.entry(
            hasher.hash_one(root),
            |&other| roots[other as usize] == root,
            |&other| hasher.hash_one(roots[other as usize]),
        );
        match known {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                vacant.insert(number);
                self.roots.push(root);
                number
            }
        }
    }

    /// Bytes for a sealed file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.chains.len() * 66 + self.names.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.cursor.file.to_le_bytes());
        out.extend_from_slice(&self.cursor.offset.to_le_bytes());
        put_varint(&mut out, self.chains.len() as u64);
        for known in &self.chains {
            out.extend_from_slice(&known.chain.0.0);
            out.extend_from_slice(&self.roots[known.root as usize].0);
            put_bytes(&mut out, self.name(known).as_bytes());
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
        let mut directory = Self::empty(Location {
            file: reader.u32()?,
            offset: reader.u32()?,
        });
        let count = reader.varint()?;
        // An entry takes more than its id, so a false count takes no memory.
        directory.reserve((bytes.len() / size_of::<ChainId>()).min(count as usize));
        for count in 1..=count {
            let (chain, root) = (ChainId(Hash(reader.array()?)), KeyId(reader.array()?));
            let name = std::str::from_utf8(reader.bytes(CHAIN_NAME_BYTES_MAX)?)
                .map_err(|_| text.clone())?;
            directory.note(DirectoryEntry {
                chain,
                name: name.into(),
                root,
            });
            if directory.len() as u64 != count {
                return Err(text);
            }
        }
        reader.finish()?;
        Ok(directory)
    }

    /// Where the log goes on.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Bytes held, allocations included.
    pub fn memory_bytes(&self) -> usize {
        self.chains.capacity() * size_of::<Known>()
            + self.names.capacity()
            + self.roots.capacity() * size_of::<KeyId>()
            + [&self.by_id, &self.by_name, &self.by_root]
                .map(HashTable::allocation_size)
                .iter()
                .sum::<usize>()
    }

    fn known(&self, number: u32) -> &Known {
        &self.chains[number as usize]
    }

    fn name(&self, known: &Known) -> &str {
        name_in(&self.names, known)
    }

    fn entry(&self, known: &Known) -> DirectoryEntry {
        DirectoryEntry {
            chain: known.chain,
            name: self.name(known).into(),
            root: self.roots[known.root as usize],
        }
    }
}

fn name_in<'a>(names: &'a str, known: &Known) -> &'a str {
    let start = known.name_start as usize;
    &names[start..start + usize::from(known.name_bytes)]
}

impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        self.cursor == other.cursor && self.entries().eq(other.entries())
    }
}

impl Eq for Directory {}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("chains", &self.chains.len())
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
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
