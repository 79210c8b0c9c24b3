//! Validity: a pure, versioned function of (state, commit, order time). Every replica runs it and finds the same.
//!
//! Rights come from the state *before* the commit; only records that the commit creates use the policy it gives them. Admission, which may look at a
//! clock or a quota, is another thing and lives with whoever accepts commits.

use std::collections::HashMap;
use std::sync::Arc;

use ate_crypto::{Hash, KeyId, Who};

use crate::commit::{Commit, Event, Verified};
use crate::error::Reject;
use crate::event::{Change, Genesis};
use crate::head::Seen;
use crate::ids::{CollectionTag, Epoch, LaneId, RecordKey, Ref, SchemaTag};
use crate::policy::{ReadPolicy, WritePolicy};
use crate::scope::{EpochFacts, GrantFacts, Scope};
use crate::state::{Found, LANES_MAX, LaneBook, State};
use crate::table::{KeyMap, flag};

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
}

/// What the record tree says about writing and sealing at one record.
#[derive(Clone, Copy)]
struct Place {
    may_write: bool,
    scope: RecordKey,
    depth: u16,
    live: bool,
}

/// A record that the commit changes.
#[derive(Clone, Copy)]
struct Target {
    /// Index in `effects.rows`.
    row: usize,
    /// It comes into being here, or back, so the commit's own policy holds for what is created below it.
    created: bool,
}

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

impl Check<'_> {
    /// The first commit: it makes the root record and its scope, grants the scope's keys, and is signed by the root it names.
    fn genesis(&mut self) -> Result<(), Reject> {
        let head = &self.commit.head;
        let Some((first, rest)) = self.commit.events.split_first() else {
            return Err(invalid("a chain begins with a genesis event"));
        };
        let Change::Genesis(genesis) = &first.head.change else {
            return Err(invalid("a chain begins with a genesis event"));
        };
        if genesis.root.id() != head.author {
            return Err(invalid("the genesis is not signed by the root it names"));
        }
        if head.number != 1
            || head.after != 0
            || head.seen
                != (Seen {
                    size: 0,
                    root: self.state.root_at(0),
                })
        {
            return Err(invalid("a genesis has seen nothing"));
        }
        let (Some(write), Some(read)) = (&first.head.write, &first.head.read) else {
            return Err(invalid("a genesis needs both policies"));
        };
        if matches!(write, WritePolicy::Inherit) {
            return Err(invalid("the root record cannot inherit"));
        }
        if genesis.rule_version != head.rule_version {
            return Err(invalid("the chain follows other rules than its genesis"));
        }
        if !genesis.suites.is_sorted_by(|a, b| a.id() < b.id())
            || !genesis.suites.contains(&head.suite)
        {
            return Err(invalid("the chain does not list the suite of its genesis"));
        }
        let mut scope = Scope::default();
        if !scope.begin(read) {
            return Err(invalid("the root record cannot inherit"));
        }
        for (event, index) in rest.iter().zip(1..) {
            match &event.head.change {
                Change::Grant(grant) if grant.scope == RecordKey::ROOT && grant.epoch == 1 => {
                    scope.grants.push(GrantFacts {
                        epoch: 1,
                        recipient: grant.recipient,
                        at: crate::ids::Version {
                            seq: 0,
                            event: index,
                        },
                    });
                }
                _ => {
                    return Err(invalid(
                        "only grants of the root scope may follow a genesis event",
                    ));
                }
            }
        }
        if head
            .commitments
            .iter()
            .any(|commitment| commitment.scope != RecordKey::ROOT || commitment.epoch != 1)
        {
            return Err(invalid("a genesis knows one scope"));
        }
        self.effects.rows.push((
            RecordKey::ROOT,
            PendingRow {
                parent: RecordKey::ROOT,
                collection: CollectionTag::default(),
                schema: SchemaTag::default(),
                write: Some(Arc::new(write.clone())),
                sealed: (RecordKey::ROOT, 1),
                flags: flag::LIVE | flag::SCOPE,
                depth: 0,
                event: 0,
                event_hash: first.hash,
                head_start: first.start,
                head_bytes: first.bytes,
                content_start: 0,
                content_bytes: 0,
                above: RecordKey::ROOT,
            },
        ));
        self.effects.keys.push(genesis.root.clone());
        self.effects.genesis = Some(Arc::new((**genesis).clone()));
        self.effects.lane_book = Some(LaneBook {
            lanes: vec![head.lane],
            dropped_at: 0,
        });
        self.scopes.insert(RecordKey::ROOT, scope);
        Ok(())
    }

    /// Author, lane number and what the author has seen.
    fn lane(&mut self) -> Result<(), Reject> {
        let head = &self.commit.head;
        if self.state.keys.get(&head.author).is_none() {
            return Err(Reject::UnknownAuthor {
                author: head.author,
            });
        }
        let is_root =
            head.seen.size <= self.seq && head.seen.root == self.state.root_at(head.seen.size);
        #[cfg(ate_planted)]
        let is_root = is_root || ate_crypto::planted("skip-root-check");
        if !is_root {
            return Err(Reject::Seen);
        }
        if head.number == 0 {
            return Err(invalid("lane numbers start at 1"));
        }
        match self.state.lanes.get(&(head.author, head.lane)) {
            Some(lane) => {
                if head.number <= lane.last {
                    return Err(Reject::Spent {
                        number: head.number,
                        last: lane.last,
                    });
                }
                if head.seen.size < lane.seen.size {
                    return Err(Reject::Seen);
                }
                if head.after > lane.last {
                    return Err(Reject::After { after: head.after });
                }
            }
            None if head.after != 0 => return Err(Reject::After { after: head.after }),
            None => self.new_lane()?,
        }
        Ok(())
    }

    fn new_lane(&mut self) -> Result<(), Reject> {
        let head = &self.commit.head;
        let mut book = self
            .state
            .lane_books
            .get(&head.author)
            .map(|book| (**book).clone())
            .unwrap_or_default();
        if head.seen.size < book.dropped_at {
            return Err(Reject::Seen);
        }
        if book.lanes.len() == LANES_MAX {
            let last_used = |lane: &LaneId| {
                self.state
                    .lanes
                    .get(&(head.author, *lane))
                    .map_or(0, |lane| lane.seq)
            };
            let oldest = (0..book.lanes.len())
                .min_by_key(|&index| last_used(&book.lanes[index]))
                .expect("the book is full");
            self.effects.dropped_lane = Some(book.lanes.remove(oldest));
            book.dropped_at = self.seq;
        }
        // A dropped lane that returns starts anew: no commit of its former life can have seen the drop.
        book.lanes.push(head.lane);
        self.effects.lane_book = Some(book);
        Ok(())
    }

    /// Rotations first: bodies of this commit are sealed under the epochs that it leaves behind.
    fn key_events(&mut self) -> Result<(), Reject> {
        for event in &self.commit.events {
            match &event.head.change {
                Change::Genesis(_) => return Err(invalid("a second genesis")),
                Change::Rotate(rotate) => {
                    self.needs_write(&rotate.scope)?;
                    let scope = self.scope_mut(rotate.scope)?;
                    if rotate.epoch != scope.epoch.wrapping_add(1) {
                        return Err(Reject::StaleEpoch {
                            scope: rotate.scope,
                            current: scope.epoch,
                        });
                    }
                    if scope
                        .epochs
                        .last()
                        .is_none_or(|facts| facts.public.is_some())
                    {
                        return Err(invalid("a public scope has nothing to rotate"));
                    }
                    scope.epoch = rotate.epoch;
                    scope.epochs.push(EpochFacts {
                        commitment: Some(rotate.commitment),
                        public: None,
                        link: rotate.link,
                    });
                }
                // A record that becomes a scope opens its epoch before any grant of this commit is judged.
                Change::Create { key, .. } | Change::Update { key, .. } => {
                    let create = matches!(event.head.change, Change::Create { .. });
                    match &event.head.read {
                        Some(read) => self.change_scope(*key, read, create)?,
                        // A record that comes back without a scope of its own leaves the old one behind.
                        None if create && self.state.scopes.get(key).is_some() => {
                            self.change_scope(*key, &ReadPolicy::Inherit, true)?
                        }
                        None => {}
                    }
                    // A schema counts for the whole commit, so that the head of a new scope can use what is defined below it.
                    if let Change::Create { parent, schema, .. } = &event.head.change
                        && event.head.defines
                    {
                        self.scope_mut(*parent)?.define(*schema);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn change_scope(
        &mut self,
        key: RecordKey,
        read: &ReadPolicy,
        create: bool,
    ) -> Result<(), Reject> {
        let known = self
            .scopes
            .get(&key)
            .cloned()
            .or_else(|| self.state.scopes.get(&key).map(|scope| (**scope).clone()));
        match read {
            ReadPolicy::Inherit if key == RecordKey::ROOT => {
                return Err(invalid("the root record cannot inherit"));
            }
            ReadPolicy::Inherit => match known {
                Some(mut scope) if scope.active || create => {
                    scope.active = false;
                    self.scopes.insert(key, scope);
                }
                None if create => {}
                _ => return Err(invalid("the record has no scope to give up")),
            },
            _ => {
                let mut scope = known.unwrap_or_default();
                if scope.active && !create {
                    return Err(invalid(
                        "the record is a scope already: rotate it, or let it inherit first",
                    ));
                }
                scope.begin(read);
                self.scopes.insert(key, scope);
            }
        }
        Ok(())
    }

    /// Every read key used is the current one of its scope.
    fn commitments(&self) -> Result<(), Reject> {
        for commitment in &self.commit.head.commitments {
            match self.scope(&commitment.scope) {
                Some(scope) if scope.epoch == commitment.epoch => {}
                Some(scope) => {
                    return Err(Reject::StaleEpoch {
                        scope: commitment.scope,
                        current: scope.epoch,
                    });
                }
                None => {
                    return Err(Reject::NoRecord {
                        key: commitment.scope,
                    });
                }
            }
        }
        Ok(())
    }

    fn scope(&self, key: &RecordKey) -> Option<&Scope> {
        self.scopes
            .get(key)
            .or_else(|| self.state.scopes.get(key).map(|scope| &**scope))
    }

    fn scope_mut(&mut self, key: RecordKey) -> Result<&mut Scope, Reject> {
        let state = self.state;
        match self.scopes.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) if entry.get().active => {
                Ok(entry.into_mut())
            }
            std::collections::hash_map::Entry::Occupied(_) => Err(Reject::NoRecord { key }),
            std::collections::hash_map::Entry::Vacant(entry) => match state.scopes.get(&key) {
                Some(scope) if scope.active => Ok(entry.insert((**scope).clone())),
                _ => Err(Reject::NoRecord { key }),
            },
        }
    }

    fn event(&mut self, index: u32, event: &Event) -> Result<(), Reject> {
        let state = self.state;
        match &event.head.change {
            Change::Create {
                key,
                parent,
                collection,
                schema,
                supersedes,
                token: _,
            } => {
                let place = self.parent_place(parent)?;
                self.may_create(key, parent, &place, supersedes)?;
                let mut flags = flag::LIVE;
                if event.head.meta.is_some() {
                    self.sealed_under(place.scope)?;
                    flags |= flag::NAMED;
                }
                if event.head.defines {
                    flags |= flag::DEFINES;
                }
                let row = PendingRow {
                    parent: *parent,
                    collection: *collection,
                    schema: *schema,
                    write: event
                        .head
                        .write
                        .as_ref()
                        .filter(|write| **write != WritePolicy::Inherit)
                        .map(|write| Arc::new(write.clone())),
                    sealed: (place.scope, 0),
                    flags,
                    depth: place.depth + 1,
                    above: place.scope,
                    ..self.blank(index, event)
                };
                if *supersedes != Ref::Absent {
                    self.last_parent = None;
                }
                self.put(*key, row, event, place.scope)
            }
            Change::Update {
                key,
                schema,
                supersedes,
            } => {
                let found = self.existing(state, key, supersedes)?;
                if found.is(flag::DEFINES) {
                    return Err(invalid("a schema descriptor cannot change"));
                }
                self.update(*key, *schema, index, event, found)
            }
            Change::Remove { key, supersedes } => {
                let found = self.existing(state, key, supersedes)?;
                if *key == RecordKey::ROOT || found.is(flag::DEFINES) {
                    return Err(invalid("the root record and schema descriptors stay"));
                }
                let row = PendingRow {
                    parent: found.parent(self.state),
                    collection: found.collection(self.state),
                    schema: found.schema(self.state),
                    write: found.write(self.state).map(|write| Arc::new(write.clone())),
                    sealed: found.sealed(self.state),
                    flags: found.flags() & !(flag::LIVE | flag::CONTENT),
                    depth: found.depth(),
                    ..self.blank(index, event)
                };
                self.last_parent = None;
                self.target(*key, row, false)
            }
            Change::Introduce(who) => match self.state.keys.get(&who.id()) {
                Some(known) if known != who => Err(invalid("this key is known with other parts")),
                Some(_) => Ok(()),
                None => match self
                    .effects
                    .keys
                    .iter()
                    .find(|known| known.id() == who.id())
                {
                    Some(known) if known != who => {
                        Err(invalid("this key is known with other parts"))
                    }
                    Some(_) => Ok(()),
                    None => {
                        self.effects.keys.push(who.clone());
                        Ok(())
                    }
                },
            },
            Change::Grant(grant) => {
                self.needs_write(&grant.scope)?;
                let at = crate::ids::Version {
                    seq: self.seq,
                    event: index,
                };
                let scope = self.scope_mut(grant.scope)?;
                if grant.epoch != scope.epoch {
                    return Err(Reject::StaleEpoch {
                        scope: grant.scope,
                        current: scope.epoch,
                    });
                }
                scope.grants.push(GrantFacts {
                    epoch: grant.epoch,
                    recipient: grant.recipient,
                    at,
                });
                Ok(())
            }
            Change::Require { key, version } => self.at_version(key, version),
            Change::Rotate(_) | Change::Genesis(_) => Ok(()),
        }
    }

    fn may_create(
        &self,
        key: &RecordKey,
        parent: &RecordKey,
        place: &Place,
        supersedes: &Ref,
    ) -> Result<(), Reject> {
        if !place.live {
            return Err(Reject::NoRecord { key: *parent });
        }
        if !place.may_write {
            return Err(Reject::Denied {
                author: self.commit.head.author,
                key: *parent,
            });
        }
        if place.depth >= DEPTH_MAX {
            return Err(invalid("records are at most 64 deep"));
        }
        self.at_version(key, supersedes)?;
        match self.state.find(key) {
            Some(found) if found.is(flag::LIVE) => Err(Reject::Conflict {
                key: *key,
                expected: *supersedes,
                stored: Some(found.version()),
            }),
            // Only a collision of record keys could bring a record back elsewhere.
            Some(found) if found.parent(self.state) != *parent => {
                Err(invalid("a record stays below its parent"))
            }
            // A tombstone keeps its rights.
            Some(_) => self.needs_write(key),
            None => Ok(()),
        }
    }

    /// A live record at the version that the event supersedes, writable by the author.
    fn existing<'s>(
        &self,
        state: &'s State,
        key: &RecordKey,
        supersedes: &Ref,
    ) -> Result<Found<'s>, Reject> {
        self.at_version(key, supersedes)?;
        let found = state
            .find(key)
            .filter(|found| found.is(flag::LIVE))
            .ok_or(Reject::NoRecord { key: *key })?;
        self.needs_write(key)?;
        Ok(found)
    }

    fn update(
        &mut self,
        key: RecordKey,
        schema: SchemaTag,
        index: u32,
        event: &Event,
        found: Found<'_>,
    ) -> Result<(), Reject> {
        let state = self.state;
        let parent = found.parent(state);
        // The name belongs to the scope above, the content to the record's own.
        let above = if key == RecordKey::ROOT {
            RecordKey::ROOT
        } else {
            self.parent_place(&parent)?.scope
        };
        let mut flags = found.flags();
        let own = match &event.head.read {
            None if found.is(flag::SCOPE) => key,
            None => above,
            Some(ReadPolicy::Inherit) => {
                flags &= !flag::SCOPE;
                above
            }
            Some(_) => {
                flags |= flag::SCOPE;
                key
            }
        };
        if event.head.read.is_some() && found.is(flag::CONTENT) && event.head.content.is_none() {
            return Err(invalid("a change of scope carries the content sealed anew"));
        }
        if event.head.meta.is_some() {
            if !found.is(flag::NAMED) {
                return Err(invalid("a name is fixed when the record is created"));
            }
            self.sealed_under(above)?;
        }
        let write = match &event.head.write {
            None => found.write(state).map(|write| Arc::new(write.clone())),
            Some(WritePolicy::Inherit) if key == RecordKey::ROOT => {
                return Err(invalid("the root record cannot inherit"));
            }
            Some(WritePolicy::Inherit) => None,
            Some(write) => Some(Arc::new(write.clone())),
        };
        self.effects.authority_changed |= event.head.write.is_some();
        if event.head.read.is_some() {
            // The resolved parent may hang below this record.
            self.last_parent = None;
        }
        if event.head.content.is_none() && schema != found.schema(state) {
            return Err(invalid("a new schema needs new content"));
        }
        let row = PendingRow {
            parent,
            collection: found.collection(state),
            schema,
            write,
            sealed: found.sealed(state),
            flags,
            depth: found.depth(),
            above,
            ..self.blank(index, event)
        };
        if event.head.content.is_none() && found.is(flag::CONTENT) {
            return Err(invalid(
                "an update of a record with content carries content",
            ));
        }
        self.put_sealed(key, row, event, own, false)
    }

    /// Finishes a creation: scope, schema, content.
    fn put(
        &mut self,
        key: RecordKey,
        mut row: PendingRow,
        event: &Event,
        above: RecordKey,
    ) -> Result<(), Reject> {
        let own = match &event.head.read {
            None | Some(ReadPolicy::Inherit) => above,
            Some(_) => {
                row.flags |= flag::SCOPE;
                key
            }
        };
        if event.head.defines {
            let plain = event.head.content.is_some() && row.schema != SchemaTag::default();
            if !plain || own != above || own != row.parent {
                return Err(invalid(
                    "a schema descriptor is a plain record with content, right below the head of its scope",
                ));
            }
        }
        self.put_sealed(key, row, event, own, true)
    }

    fn put_sealed(
        &mut self,
        key: RecordKey,
        mut row: PendingRow,
        event: &Event,
        own: RecordKey,
        created: bool,
    ) -> Result<(), Reject> {
        if let Some(content) = &event.head.content {
            let epoch = self.sealed_under(own)?;
            if !self
                .scope(&own)
                .is_some_and(|scope| scope.defines(&row.schema))
            {
                return Err(Reject::UnknownSchema { key });
            }
            row.sealed = (own, epoch);
            row.flags |= flag::CONTENT;
            (row.content_start, row.content_bytes) = (self.content_start, content.bytes);
            const CRC_BYTES: u32 = 4;
            self.content_start += content.bytes + CRC_BYTES;
        } else if row.schema != SchemaTag::default() {
            return Err(invalid("a schema without content"));
        }
        self.target(key, row, created)
    }

    fn blank(&self, index: u32, event: &Event) -> PendingRow {
        PendingRow {
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
        }
    }

    fn target(&mut self, key: RecordKey, row: PendingRow, created: bool) -> Result<(), Reject> {
        let target = Target {
            row: self.effects.rows.len(),
            created,
        };
        if self.targets.insert(key, target).is_some() {
            return Err(invalid("a record is targeted twice"));
        }
        self.effects.rows.push((key, row));
        Ok(())
    }

    /// The head lists the current key of `scope`; yields its epoch.
    fn sealed_under(&self, scope: RecordKey) -> Result<Epoch, Reject> {
        let commitments = &self.commit.head.commitments;
        match commitments.binary_search_by_key(&scope, |commitment| commitment.scope) {
            Ok(index) => Ok(commitments[index].epoch),
            Err(_) => Err(invalid(
                "a body is sealed under a key that the head does not commit to",
            )),
        }
    }

    fn at_version(&self, key: &RecordKey, version: &Ref) -> Result<(), Reject> {
        let found = self.state.find(key);
        let holds = match (version, &found) {
            (Ref::Absent, None) => true,
            (Ref::At(version), Some(found)) => found.version() == *version,
            (Ref::Lane { number, event }, Some(found)) => {
                let head = &self.commit.head;
                found.version().event == *event
                    && found.came_from(self.state, &head.author, &head.lane, *number)
            }
            _ => false,
        };
        if holds {
            Ok(())
        } else {
            Err(Reject::Conflict {
                key: *key,
                expected: *version,
                stored: found.map(|found| found.version()),
            })
        }
    }

    fn needs_write(&self, key: &RecordKey) -> Result<(), Reject> {
        // A record that this very commit creates belongs to its author.
        if self.state.find(key).is_none() && self.scopes.contains_key(key) {
            return Ok(());
        }
        if self.before(key)?.may_write {
            Ok(())
        } else {
            Err(Reject::Denied {
                author: self.commit.head.author,
                key: *key,
            })
        }
    }

    /// Rights and scope at a parent, which may be a record of this commit.
    fn parent_place(&mut self, parent: &RecordKey) -> Result<Place, Reject> {
        if let Some((key, place)) = &self.last_parent
            && key == parent
        {
            return Ok(*place);
        }
        let place = self.resolve(parent, true)?;
        self.last_parent = Some((*parent, place));
        Ok(place)
    }

    /// Rights at a record as the chain stood before this commit.
    fn before(&self, key: &RecordKey) -> Result<Place, Reject> {
        self.resolve(key, false)
    }

    /// What the tree says at `key`. With `in_commit`, as the events so far leave it: records created here count with the policies they were given, and a
    /// record whose read policy changed here heads its new scope. Rights at records that were there before are always those from before.
    fn resolve(&self, key: &RecordKey, in_commit: bool) -> Result<Place, Reject> {
        let author: &KeyId = &self.commit.head.author;
        let (mut may_write, mut scope, mut first) = (None, None, None);
        let mut at = *key;
        loop {
            let target = if in_commit {
                self.targets.get(&at)
            } else {
                None
            };
            let changed = target.map(|target| &self.effects.rows[target.row].1);
            let created = target.is_some_and(|target| target.created);
            let (flags, depth, parent, policy);
            match (changed, self.state.find(&at)) {
                (Some(row), _) if created => {
                    (flags, depth, parent) = (row.flags, row.depth, row.parent);
                    policy = row.write.as_deref();
                }
                (changed, Some(found)) => {
                    flags = changed.map_or_else(|| found.flags(), |row| row.flags);
                    (depth, parent) = (found.depth(), found.parent(self.state));
                    policy = found.write(self.state);
                }
                (_, None) => return Err(Reject::NoRecord { key: at }),
            }
            first.get_or_insert((depth, flags & flag::LIVE != 0));
            if may_write.is_none() {
                may_write = policy.map(|policy| policy.admits(author));
            }
            if scope.is_none() && flags & flag::SCOPE != 0 {
                scope = Some(at);
            }
            if let (Some(may_write), Some(scope), Some((depth, live))) = (may_write, scope, first) {
                return Ok(Place {
                    may_write,
                    scope,
                    depth,
                    live,
                });
            }
            at = parent;
        }
    }
}
