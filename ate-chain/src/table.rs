//! The record table: one row of at most 96 bytes for every record that ever existed, tombstones included.
//!
//! Rows are numbered by *slots* that never move, so other structures refer to records by 4 bytes. A row carries the hash of its newest event head:
//! body bytes are read from the log and believed only through it.

use std::hash::{BuildHasher, Hasher};

use ate_crypto::Hash;
use hashbrown::HashTable;

use crate::ids::RecordKey;

/// Number of a row; stable for the life of the table.
pub type Slot = u32;

/// Row flags.
pub(crate) mod flag {
    /// The record exists; without it the row is a tombstone.
    pub(crate) const LIVE: u16 = 1;
    /// It is the head of a read scope.
    pub(crate) const SCOPE: u16 = 2;
    /// It has content.
    pub(crate) const CONTENT: u16 = 4;
    /// It is a schema descriptor.
    pub(crate) const DEFINES: u16 = 8;
    /// It was created with a name.
    pub(crate) const NAMED: u16 = 16;
    /// Bodies of earlier versions were erased.
    pub(crate) const ERASED: u16 = 32;
}

/// What the chain knows of one record. Indexes are into the interning tables of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) key: RecordKey,
    /// SHA-256 leaf hash of the newest event head.
    pub(crate) event_hash: Hash,
    pub(crate) parent: Slot,
    pub(crate) collection: u32,
    pub(crate) schema: u32,
    /// Write policy; 0 inherits.
    pub(crate) write: u32,
    /// (scope, epoch) that the content is sealed under.
    pub(crate) sealed: u32,
    /// Commit of the newest event.
    pub(crate) seq: u32,
    /// Index of that event in the commit.
    pub(crate) event: u16,
    pub(crate) flags: u16,
    /// Byte offset of the event head in the commit's segment file.
    pub(crate) head_offset: u32,
    pub(crate) head_bytes: u16,
    /// Depth below the root record.
    pub(crate) depth: u16,
    /// Byte offset of the sealed content in the same file.
    pub(crate) content_offset: u32,
    pub(crate) content_bytes: u32,
}

const _: () = assert!(size_of::<Row>() <= 96);

impl Row {
    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Hashes record keys. They are hash outputs already, but an author can grind tokens, so a secret of the process is mixed in.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    secret: u64,
}

/// A map by record key.
pub type KeyMap<V> = std::collections::HashMap<RecordKey, V, KeyHasher>;

impl KeyHasher {
    /// A hasher with a secret of its own.
    #[must_use]
    pub fn new() -> Self {
        Self {
            secret: std::collections::hash_map::RandomState::new().hash_one(0u8) | 1,
        }
    }

    /// The hash of a key: one multiplication.
    #[must_use]
    pub fn hash(&self, key: &RecordKey) -> u64 {
        let low = u64::from_le_bytes(key.0[..8].try_into().expect("8 of 16 bytes"));
        let high = u64::from_le_bytes(key.0[8..].try_into().expect("8 of 16 bytes"));
        let product =
            u128::from(low ^ self.secret) * u128::from(high ^ self.secret.rotate_left(32) | 1);
        product as u64 ^ (product >> 64) as u64
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = KeyState;

    fn build_hasher(&self) -> KeyState {
        KeyState {
            hasher: *self,
            hash: 0,
        }
    }
}

/// The state of a [`KeyHasher`] at work in a map.
#[derive(Clone, Copy, Debug)]
pub struct KeyState {
    hasher: KeyHasher,
    hash: u64,
}

impl Hasher for KeyState {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16) {
            let mut key = RecordKey::default();
            key.0[..chunk.len()].copy_from_slice(chunk);
            self.hash = self.hash.rotate_left(5) ^ self.hasher.hash(&key);
        }
    }

    /// The length that an array puts before its bytes: always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// Rows with an index by key: 4 bytes and a control byte for each.
pub(crate) struct Table {
    rows: Vec<Row>,
    index: HashTable<Slot>,
    hasher: KeyHasher,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            index: HashTable::new(),
            hasher: KeyHasher::new(),
        }
    }

    /// Rebuilds a table from rows in slot order; `None` if a key stands twice or a parent does not precede its child.
    pub(crate) fn from_rows(rows: Vec<Row>) -> Option<Self> {
        let hasher = KeyHasher::new();
        let mut index = HashTable::with_capacity(rows.len());
        for (slot, row) in rows.iter().enumerate() {
            if row.parent as usize > slot {
                return None;
            }
            let entry = index.entry(
                hasher.hash(&row.key),
                |&other: &Slot| rows[other as usize].key == row.key,
                |&other| hasher.hash(&rows[other as usize].key),
            );
            match entry {
                hashbrown::hash_table::Entry::Occupied(_) => return None,
                hashbrown::hash_table::Entry::Vacant(vacant) => {
                    vacant.insert(slot as Slot);
                }
            }
        }
        Some(Self {
            rows,
            index,
            hasher,
        })
    }

    pub(crate) fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn row(&self, slot: Slot) -> &Row {
        &self.rows[slot as usize]
    }

    pub(crate) fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.rows[slot as usize]
    }

    pub(crate) fn slot(&self, key: &RecordKey) -> Option<Slot> {
        self.index
            .find(self.hasher.hash(key), |&slot| {
                self.rows[slot as usize].key == *key
            })
            .copied()
    }

    /// Appends a row for a key that has none.
    pub(crate) fn push(&mut self, row: Row) -> Slot {
        let slot = Slot::try_from(self.rows.len())
            .expect("a chain of 2^32 records would need 400 GB of rows");
        let (rows, hasher) = (&self.rows, self.hasher);
        self.index
            .insert_unique(hasher.hash(&row.key), slot, |&other| {
                hasher.hash(&rows[other as usize].key)
            });
        self.rows.push(row);
        slot
    }

    /// Bytes held, allocation included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.index.allocation_size()
    }
}
