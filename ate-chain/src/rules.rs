//! Validity: a pure, versioned function of (state, commit, order time). Every replica runs it and finds the same.
//!
//! Rights come from the state *before* the commit; only records that the commit creates use the policy it gives them. Admission, which may look at a
//! clock or a quota, is another thing and lives with whoever accepts commits.

use std::collections::HashMap;
use std::sync::Arc;

use ate_crypto::{Hash, Who};
use places::Place;

use crate::commit::{Commit, Event, Verified};
use crate::error::Reject;
use crate::event::Genesis;
use crate::ids::{CollectionTag, Epoch, LaneId, Position, RecordKey, SchemaTag};
use crate::policy::WritePolicy;
use crate::scope::Scope;
use crate::state::{LaneBook, State};
use crate::table::KeyMap;

mod erasure;
mod genesis;
mod lanes;
mod places;
mod records;
mod scopes;

/// Deepest record below the root.
pub const DEPTH_MAX: u16 = 64;

/// A record as a pending commit leaves it.
#[derive(Clone, Debug)]
pub(crate) struct PendingRow {
    pub(crate) parent: RecordKey,
    pub(crate) collection: CollectionTag,
    pub(crate) schema: SchemaTag,
    pub(crate) write: Option<Arc<WritePolicy>>,
    pub(crate) sealed: (RecordKey, Epoch),
    pub(crate) flags: u16,
    pub(crate) depth: u16,
    pub(crate) event: u32,
    pub(crate) event_hash: Hash,
    pub(crate) head_start: u32,
    pub(crate) head_bytes: u32,
    /// Offset of the content from the start of the first content part.
    pub(crate) content_start: u32,
    pub(crate) content_bytes: u32,
    /// Scope that a name in this event is sealed under.
    pub(crate) above: RecordKey,
    /// The event erases the bodies of all versions before it.
    pub(crate) erases: bool,
}

impl PendingRow {
    /// The row of `event`, number `index` of its commit, with nothing in it yet: a record without content right below the root.
    fn of(index: u32, event: &Event) -> Self {
        Self {
            parent: RecordKey::ROOT,
            collection: CollectionTag::default(),
            schema: SchemaTag::default(),
            write: None,
            sealed: (RecordKey::ROOT, 0),
            flags: 0,
            depth: 0,
            event: index,
            event_hash: event.hash,
            head_start: event.start,
            head_bytes: event.bytes,
            content_start: 0,
            content_bytes: 0,
            above: RecordKey::ROOT,
            erases: false,
        }
    }
}

/// What a valid commit changes.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) genesis: Option<Arc<Genesis>>,
    pub(crate) rows: Vec<(RecordKey, PendingRow)>,
    pub(crate) keys: Vec<Who>,
    pub(crate) scopes: Vec<(RecordKey, Scope)>,
    pub(crate) lane_book: Option<LaneBook>,
    /// The author's least recently used lane, forgotten in favour of a new one.
    pub(crate) dropped_lane: Option<LaneId>,
    pub(crate) authority_changed: bool,
    /// The position that contents superseded before it need not be kept for.
    pub(crate) horizon: Option<Position>,
}

/// A record that the commit changes.
#[derive(Clone, Copy)]
struct Target {
    /// Index in `effects.rows`.
    row: usize,
    /// It comes into being here, or back, so the commit's own policy holds for what is created below it.
    created: bool,
}

/// The judgement of one commit, as far as it has come. Each file below holds the rules of one thing.
struct Check<'s> {
    state: &'s State,
    commit: &'s Commit<Verified>,
    seq: u64,
    /// Records that this commit targets.
    targets: KeyMap<Target>,
    /// Scopes that this commit changes.
    scopes: HashMap<RecordKey, Scope>,
    /// The last parent resolved: siblings come in runs.
    last_parent: Option<(RecordKey, Place)>,
    effects: Effects,
    content_start: u32,
}

/// Judges `commit` as number `seq` of the chain.
///
/// # Errors
/// The first rule broken.
pub(crate) fn check(state: &State, commit: &Commit<Verified>, seq: u64) -> Result<Effects, Reject> {
    let mut check = Check {
        state,
        commit,
        seq,
        targets: KeyMap::with_capacity_and_hasher(commit.events.len(), state.table.hasher()),
        scopes: HashMap::new(),
        last_parent: None,
        effects: Effects {
            rows: Vec::with_capacity(commit.events.len()),
            ..Effects::default()
        },
        content_start: 0,
    };
    if seq == 0 {
        check.genesis()?;
    } else {
        check.lane()?;
        check.key_events()?;
        check.commitments()?;
        for (index, event) in commit.events.iter().enumerate() {
            check.event(index as u32, event)?;
        }
    }
    let mut effects = check.effects;
    effects.scopes = check.scopes.into_iter().collect();
    Ok(effects)
}

const fn invalid(why: &'static str) -> Reject {
    Reject::Invalid { why }
}
