//! A state at rest: the bytes from which a chain opens without replaying its history.
//!
//! They are a disposable cache. Whoever stores them seals them with the store's own key, so that only a state which this very store verified comes back;
//! they are bound to chain, size, root, rule version and [`VERIFIER_VERSION`], and anything that does not fit is thrown away and rebuilt.

use std::sync::Arc;

use ate_crypto::merkle::Tree;
use ate_crypto::{Hash, KeyId, Salt, Who};
use ate_log::{Cursor, Location};

use crate::codec::{Reader, put_bytes, put_varint};
use crate::erasure::Gone;
use crate::error::FormatError;
use crate::event::{Change, EventHead};
use crate::head::{RULE_VERSION, Seen};
use crate::ids::{ChainId, CollectionTag, LaneId, Position, RecordKey, SchemaTag, Version};
use crate::intern::Interner;
use crate::layered::Layered;
use crate::local::Local;
use crate::policy::WritePolicy;
use crate::scope::{EpochFacts, GrantFacts, Scope};
use crate::state::{CommitRow, Lane, LaneBook, State};
use crate::table::{Row, Slot, Table, flag};

/// Version of this layout and of the verification behind it: a state from another version is rebuilt.
pub const VERIFIER_VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"ATErest1";
const ROW_BYTES: usize = 16 + 32 + 6 * 4 + 2 + 2 + 4 + 2 + 2 + 4 + 4;
const COMMIT_BYTES: usize = 32 + 8 + 8 + 6 * 4;

/// A state at rest, read back.
pub struct Rest {
    pub(crate) state: State,
    /// Where the log goes on.
    pub(crate) cursor: Cursor,
}

impl Rest {
    /// The position that it holds.
    pub fn position(&self) -> Position {
        Position(self.state.confirmed())
    }

    /// Where the log goes on.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Reads back what [`Local::at_rest`] gave. The bytes must have been sealed by this store: shapes are checked, hashes are not.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are of another chain or version, or of no shape that could have been written.
    pub fn decode(chain: ChainId, bytes: &[u8]) -> Result<Self, FormatError> {
        let misfit = FormatError::Text {
            what: "state at rest",
            expected: "this chain and this version",
        };
        let mut reader = Reader::new(bytes);
        let fits = reader.array()? == *MAGIC
            && reader.u32()? == VERIFIER_VERSION
            && reader.u64()? == RULE_VERSION
            && reader.array()? == chain.0.0;
        if !fits {
            return Err(misfit);
        }
        let (size, root) = (reader.u64()?, Hash(reader.array()?));
        let cursor = Location {
            file: reader.u32()?,
            offset: reader.u32()?,
        };
        let mut state = State::new(chain);
        state.live = reader.u64()?;
        let genesis = reader.bytes(bytes.len())?;
        if let (
            EventHead {
                change: Change::Genesis(genesis),
                ..
            },
            _,
        ) = EventHead::decode(genesis)?
        {
            state.genesis = Some(Arc::new(*genesis));
        }
        let table = Table::from_rows(rows(&mut reader)?);
        state.table = table.ok_or_else(|| misfit.clone())?;
        state.commits = commits(&mut reader)?;
        state.tree = tree(&mut reader)?.ok_or_else(|| misfit.clone())?;
        interned(&mut state, &mut reader)?.ok_or_else(|| misfit.clone())?;
        layered(&mut state, &mut reader)?;
        state.gone = gone(&mut reader)?;
        reader.finish()?;
        let whole = state.confirmed() == size
            && state.tree.len() == size
            && state.tree.root() == root
            && references_hold(&state);
        if whole {
            Ok(Self { state, cursor })
        } else {
            Err(misfit)
        }
    }
}

impl Local {
    /// The confirmed state as bytes, and what `beside` makes of the same moment: no commit is confirmed in between. `None` before the first commit.
    ///
    /// # Cost
    /// 90 bytes a record, 140 a commit; commits wait meanwhile.
    pub fn at_rest<T>(&self, beside: impl FnOnce() -> T) -> Option<(Vec<u8>, T)> {
        let state = self.state.read();
        // Only a state with nothing pending has a cursor that all of it lies before.
        if state.confirmed() == 0 || !state.pending.is_empty() {
            return None;
        }
        let read_to = self.read_to.lock();
        if read_to.is_within_batch() {
            return None;
        }
        // Only the writer knows that its state holds everything durable; others may have read on for another chain.
        let cursor = if self.log.writable() {
            read_to.cursor.max(self.log.durable())
        } else {
            read_to.cursor
        };
        drop(read_to);
        let mut out = Vec::with_capacity(
            state.table.len() * ROW_BYTES + state.commits.len() * (COMMIT_BYTES + 64) + 4096,
        );
        encode(&state, cursor, &mut out);
        Some((out, beside()))
    }
}

fn encode(state: &State, cursor: Cursor, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERIFIER_VERSION.to_le_bytes());
    out.extend_from_slice(&RULE_VERSION.to_le_bytes());
    out.extend_from_slice(&state.chain.0.0);
    out.extend_from_slice(&state.confirmed().to_le_bytes());
    out.extend_from_slice(&state.root_at(state.confirmed()).0);
    out.extend_from_slice(&cursor.file.to_le_bytes());
    out.extend_from_slice(&cursor.offset.to_le_bytes());
    out.extend_from_slice(&state.live.to_le_bytes());
    let mut genesis = Vec::new();
    if let Some(found) = &state.genesis {
        let mut head = EventHead::of(Change::Genesis(Box::new((**found).clone())));
        head.write = Some(WritePolicy::Nobody);
        head.read = Some(crate::policy::ReadPolicy::Inherit);
        head.encode_prefix(false, false, &mut genesis);
    }
    put_bytes(out, &genesis);
    put_varint(out, state.table.len() as u64);
    state
        .table
        .rows()
        .iter()
        .for_each(|row| encode_row(row, out));
    put_varint(out, state.commits.len() as u64);
    state.commits.iter().for_each(|row| encode_commit(row, out));
    put_varint(out, state.tree.levels().len() as u64);
    for level in state.tree.levels() {
        put_varint(out, level.len() as u64);
        level.iter().for_each(|hash| out.extend_from_slice(&hash.0));
    }
    encode_interned(state, out);
    encode_layered(state, out);
    encode_gone(&state.gone, out);
}

fn encode_row(row: &Row, out: &mut Vec<u8>) {
    let mut bytes = [0u8; ROW_BYTES];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(&row.key.0);
    put(&row.event_hash.0);
    [
        row.parent,
        row.collection,
        row.schema,
        row.write,
        row.sealed,
        row.seq,
    ]
    .iter()
    .for_each(|field| put(&field.to_le_bytes()));
    put(&row.event.to_le_bytes());
    put(&row.flags.to_le_bytes());
    put(&row.head_offset.to_le_bytes());
    put(&row.head_bytes.to_le_bytes());
    put(&row.depth.to_le_bytes());
    put(&row.content_offset.to_le_bytes());
    put(&row.content_bytes.to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// Fields of a fixed-size entry, in order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .expect("entries are cut to their size");
        self.0 = rest;
        *head
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

/// `varint count ‖ entries of `entry_bytes` each`, without trusting the count.
fn entries<'a>(
    reader: &mut Reader<'a>,
    entry_bytes: usize,
) -> Result<std::slice::ChunksExact<'a, u8>, FormatError> {
    let offset = reader.offset();
    let count = reader.varint()?;
    let bytes = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(entry_bytes));
    let bytes = bytes.ok_or(FormatError::Limit {
        what: "entries",
        got: count,
        max: u64::MAX / entry_bytes as u64,
        offset,
    })?;
    Ok(reader.take(bytes)?.chunks_exact(entry_bytes))
}

fn rows(reader: &mut Reader<'_>) -> Result<Vec<Row>, FormatError> {
    let decode = |bytes| {
        let mut fields = Fields(bytes);
        Row {
            key: RecordKey(fields.array()),
            event_hash: Hash(fields.array()),
            parent: fields.u32(),
            collection: fields.u32(),
            schema: fields.u32(),
            write: fields.u32(),
            sealed: fields.u32(),
            seq: fields.u32(),
            event: fields.u16(),
            flags: fields.u16(),
            head_offset: fields.u32(),
            head_bytes: fields.u16(),
            depth: fields.u16(),
            content_offset: fields.u32(),
            content_bytes: fields.u32(),
        }
    };
    Ok(entries(reader, ROW_BYTES)?.map(decode).collect())
}

fn encode_commit(row: &CommitRow, out: &mut Vec<u8>) {
    out.extend_from_slice(&row.salt.0);
    out.extend_from_slice(&row.order_time_ms.to_le_bytes());
    out.extend_from_slice(&row.number.to_le_bytes());
    for field in [
        row.author,
        row.lane,
        row.file,
        row.frame,
        row.heads,
        row.heads_and_kind,
    ] {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

fn commits(reader: &mut Reader<'_>) -> Result<Vec<CommitRow>, FormatError> {
    let decode = |bytes| {
        let mut fields = Fields(bytes);
        CommitRow {
            salt: Salt(fields.array()),
            order_time_ms: fields.u64(),
            number: fields.u64(),
            author: fields.u32(),
            lane: fields.u32(),
            file: fields.u32(),
            frame: fields.u32(),
            heads: fields.u32(),
            heads_and_kind: fields.u32(),
        }
    };
    Ok(entries(reader, COMMIT_BYTES)?.map(decode).collect())
}

fn tree(reader: &mut Reader<'_>) -> Result<Option<Tree>, FormatError> {
    const LEVELS_MAX: u64 = 64;
    let offset = reader.offset();
    let count = reader.varint()?;
    if count > LEVELS_MAX {
        return Err(FormatError::Limit {
            what: "tree levels",
            got: count,
            max: LEVELS_MAX,
            offset,
        });
    }
    let level = |reader: &mut Reader<'_>| {
        Ok(entries(reader, 32)?
            .map(|hash| Hash(hash.try_into().expect("chunks of 32")))
            .collect())
    };
    let levels = (0..count)
        .map(|_| level(reader))
        .collect::<Result<Vec<Vec<Hash>>, FormatError>>()?;
    Ok(Tree::from_levels(levels))
}

fn encode_interned(state: &State, out: &mut Vec<u8>) {
    fn list<T>(values: &[T], out: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
        put_varint(out, values.len() as u64);
        values.iter().for_each(|value| each(value, out));
    }
    list(state.collections.values(), out, |tag, out| {
        out.extend_from_slice(&tag.0)
    });
    list(state.schemas.values(), out, |tag, out| {
        out.extend_from_slice(&tag.0)
    });
    list(state.policies.values(), out, |policy, out| {
        policy.encode(out)
    });
    list(state.seals.values(), out, |(scope, epoch), out| {
        out.extend_from_slice(&scope.0);
        out.extend_from_slice(&epoch.to_le_bytes());
    });
    list(state.authors.values(), out, |key, out| {
        out.extend_from_slice(&key.0)
    });
    list(state.lane_ids.values(), out, |lane, out| {
        out.extend_from_slice(&lane.0)
    });
}

fn interned(state: &mut State, reader: &mut Reader<'_>) -> Result<Option<()>, FormatError> {
    let collections = entries(reader, 8)?
        .map(|tag| CollectionTag(tag.try_into().expect("chunks of 8")))
        .collect();
    let schemas = entries(reader, 8)?
        .map(|tag| SchemaTag(tag.try_into().expect("chunks of 8")))
        .collect();
    let policy_count = reader.varint()?;
    let mut policies = Vec::new();
    for _ in 0..policy_count {
        policies.push(WritePolicy::decode(reader)?);
    }
    let seal = |bytes: &[u8]| {
        let mut fields = Fields(bytes);
        (RecordKey(fields.array()), fields.u32())
    };
    let seals = entries(reader, 20)?.map(seal).collect();
    let authors = entries(reader, 32)?
        .map(|key| KeyId(key.try_into().expect("chunks of 32")))
        .collect();
    let lanes = entries(reader, 16)?
        .map(|lane| LaneId(lane.try_into().expect("chunks of 16")))
        .collect();
    let fill = || -> Option<()> {
        state.collections = Interner::from_values(collections)?;
        state.schemas = Interner::from_values(schemas)?;
        state.policies = Interner::from_values(policies)?;
        state.seals = Interner::from_values(seals)?;
        state.authors = Interner::from_values(authors)?;
        state.lane_ids = Interner::from_values(lanes)?;
        Some(())
    };
    Ok(fill())
}

/// Entries in the order of their keys, so that one state has one snapshot.
fn ordered<K: Eq + std::hash::Hash + Ord + Clone, V: Clone>(map: &Layered<K, V>) -> Vec<(&K, &V)> {
    let mut entries: Vec<_> = map.iter_confirmed().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

fn encode_layered(state: &State, out: &mut Vec<u8>) {
    put_varint(out, state.keys.iter_confirmed().count() as u64);
    ordered(&state.keys)
        .into_iter()
        .for_each(|(_, who)| out.extend_from_slice(who.as_bytes()));
    put_varint(out, state.scopes.iter_confirmed().count() as u64);
    for (key, scope) in ordered(&state.scopes) {
        out.extend_from_slice(&key.0);
        encode_scope(scope, out);
    }
    put_varint(out, state.lanes.iter_confirmed().count() as u64);
    for ((author, id), lane) in ordered(&state.lanes) {
        out.extend_from_slice(&author.0);
        out.extend_from_slice(&id.0);
        [lane.last, lane.seq, lane.seen.size]
            .iter()
            .for_each(|field| put_varint(out, *field));
        out.extend_from_slice(&lane.seen.root.0);
    }
    put_varint(out, state.lane_books.iter_confirmed().count() as u64);
    for (author, book) in ordered(&state.lane_books) {
        out.extend_from_slice(&author.0);
        put_varint(out, book.dropped_at);
        put_varint(out, book.lanes.len() as u64);
        book.lanes
            .iter()
            .for_each(|lane| out.extend_from_slice(&lane.0));
    }
}

fn layered(state: &mut State, reader: &mut Reader<'_>) -> Result<(), FormatError> {
    for bytes in entries(reader, ate_crypto::WHO_BYTES)? {
        let who = Who::from_bytes(bytes).map_err(|_| FormatError::Key)?;
        state.keys.set(who.id(), who);
    }
    for _ in 0..reader.varint()? {
        let key = RecordKey(reader.array()?);
        state.scopes.set(key, Arc::new(decode_scope(reader)?));
    }
    for _ in 0..reader.varint()? {
        let key = (KeyId(reader.array()?), LaneId(reader.array()?));
        let (last, seq, size) = (reader.varint()?, reader.varint()?, reader.varint()?);
        state.lanes.set(
            key,
            Lane {
                last,
                seq,
                seen: Seen {
                    size,
                    root: Hash(reader.array()?),
                },
            },
        );
    }
    for _ in 0..reader.varint()? {
        let (author, dropped_at) = (KeyId(reader.array()?), reader.varint()?);
        let lanes = entries(reader, 16)?
            .map(|lane| LaneId(lane.try_into().expect("chunks of 16")))
            .collect();
        state
            .lane_books
            .set(author, Arc::new(LaneBook { lanes, dropped_at }));
    }
    Ok(())
}

fn encode_gone(gone: &Gone, out: &mut Vec<u8>) {
    put_varint(out, gone.horizon.0);
    put_varint(out, gone.erased.len() as u64);
    for (slot, before) in &gone.erased {
        out.extend_from_slice(&slot.to_le_bytes());
        out.extend_from_slice(&before.to_le_bytes());
    }
    put_varint(out, gone.due.len() as u64);
    gone.due
        .iter()
        .for_each(|slot| out.extend_from_slice(&slot.to_le_bytes()));
}

fn gone(reader: &mut Reader<'_>) -> Result<Gone, FormatError> {
    let horizon = Position(reader.varint()?);
    let erased = |bytes| {
        let mut fields = Fields(bytes);
        (fields.u32(), fields.u64())
    };
    let erased = entries(reader, 12)?.map(erased).collect();
    let due = entries(reader, 4)?
        .map(|bytes| Fields(bytes).u32())
        .collect();
    Ok(Gone {
        horizon,
        erased,
        due,
    })
}

fn encode_scope(scope: &Scope, out: &mut Vec<u8>) {
    out.push(scope.active.into());
    put_varint(out, scope.epoch.into());
    put_varint(out, scope.epochs.len() as u64);
    for facts in &scope.epochs {
        let flags = u8::from(facts.commitment.is_some())
            | u8::from(facts.public.is_some()) << 1
            | u8::from(facts.link.is_some()) << 2;
        out.push(flags);
        facts
            .commitment
            .iter()
            .for_each(|hash| out.extend_from_slice(&hash.0));
        facts
            .public
            .iter()
            .for_each(|(read, name)| out.extend([read, name].into_iter().flatten()));
        facts
            .link
            .iter()
            .for_each(|link| out.extend_from_slice(link));
    }
    put_varint(out, scope.grants.len() as u64);
    for grant in &scope.grants {
        put_varint(out, grant.epoch.into());
        out.extend_from_slice(&grant.recipient.0);
        put_varint(out, grant.at.seq);
        put_varint(out, grant.at.event.into());
    }
    put_varint(out, scope.schemas.len() as u64);
    scope
        .schemas
        .iter()
        .for_each(|tag| out.extend_from_slice(&tag.0));
}

fn decode_scope(reader: &mut Reader<'_>) -> Result<Scope, FormatError> {
    let (active, epoch) = (reader.u8()? != 0, reader.varint32()?);
    let mut scope = Scope {
        active,
        epoch,
        ..Scope::default()
    };
    for _ in 0..reader.varint()? {
        let flags = reader.u8()?;
        let commitment = if flags & 1 != 0 {
            Some(Hash(reader.array()?))
        } else {
            None
        };
        let public = if flags & 2 != 0 {
            Some((reader.array()?, reader.array()?))
        } else {
            None
        };
        let link = if flags & 4 != 0 {
            Some(reader.array()?)
        } else {
            None
        };
        scope.epochs.push(EpochFacts {
            commitment,
            public,
            link,
        });
    }
    for _ in 0..reader.varint()? {
        let (epoch, recipient) = (reader.varint32()?, KeyId(reader.array()?));
        scope.grants.push(GrantFacts {
            epoch,
            recipient,
            at: Version {
                seq: reader.varint()?,
                event: reader.varint32()?,
            },
        });
    }
    scope.schemas = entries(reader, 8)?
        .map(|tag| SchemaTag(tag.try_into().expect("chunks of 8")))
        .collect();
    Ok(scope)
}

/// Every number in a row points at something.
fn references_hold(state: &State) -> bool {
    let commits = state.commits.len();
    let row_holds = |row: &Row| {
        (row.collection as usize) < state.collections.values().len()
            && (row.schema as usize) < state.schemas.values().len()
            && (row.write as usize) < state.policies.values().len()
            && (row.sealed as usize) < state.seals.values().len()
            && (row.seq as usize) < commits
    };
    let commit_holds = |row: &CommitRow| {
        (row.author as usize) < state.authors.values().len()
            && (row.lane as usize) < state.lane_ids.values().len()
    };
    let scope_holds = |scope: &Scope| scope.epochs.len() as u64 == u64::from(scope.epoch);
    let (gone, rows) = (&state.gone, state.table.rows());
    let erased_holds = |(slot, before): (&Slot, &u64)| {
        rows.get(*slot as usize)
            .is_some_and(|row| row.is(flag::ERASED) && *before <= row.seq.into())
    };
    // As many rows say that they were erased as are listed.
    let flagged = rows.iter().filter(|row| row.is(flag::ERASED)).count();
    let gone_holds = gone.horizon.0 <= commits as u64
        && gone.erased.len() == flagged
        && gone.erased.iter().all(erased_holds)
        && gone.due.iter().all(|slot| gone.erased.contains_key(slot));
    state
        .scopes
        .iter_confirmed()
        .all(|(_, scope)| scope_holds(scope))
        && gone_holds
        && state.table.rows().iter().all(row_holds)
        && state.commits.iter().all(commit_holds)
        && state
            .table
            .rows()
            .first()
            .is_some_and(|root| root.key == RecordKey::ROOT && root.is(flag::SCOPE))
}
