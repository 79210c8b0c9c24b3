//! Records: what an event may create, change and end, and the row it leaves.

use std::sync::Arc;

use crate::bodies::content_bytes_in_frame;
use crate::commit::Event;
use crate::error::Reject;
use crate::event::Change;
use crate::ids::{RecordKey, Ref, SchemaTag};
use crate::policy::{ReadPolicy, WritePolicy};
use crate::state::{Found, State};
use crate::table::flag;

use super::places::Place;
use super::{Check, DEPTH_MAX, PendingRow, Target, invalid};

impl<'s> Check<'s> {
    /// One event after the first pass, which has dealt with scopes, rotations and schemas.
    pub(super) fn event(&mut self, index: u32, event: &Event) -> Result<(), Reject> {
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
                if *supersedes != Ref::Absent {
                    self.last_parent = None;
                }
                let row = PendingRow {
                    parent: *parent,
                    collection: *collection,
                    schema: *schema,
                    ..PendingRow::of(index, event)
                };
                self.create(*key, row, event, &place)
            }
            Change::Update {
                key,
                schema,
                supersedes,
            } => {
                let found = self.existing(key, supersedes)?;
                self.update(*key, *schema, index, event, found)
            }
            Change::Remove { key, supersedes } => {
                let found = self.existing(key, supersedes)?;
                self.end(*key, index, event, found)
            }
            Change::Erase { key, supersedes } => self.erase(key, supersedes, index, event),
            Change::Horizon { position } => self.horizon(*position),
            Change::Introduce(who) => self.introduce(who),
            Change::Grant(grant) => self.grant(index, grant),
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
    fn existing(&self, key: &RecordKey, supersedes: &Ref) -> Result<Found<'s>, Reject> {
        self.at_version(key, supersedes)?;
        let found = self
            .state
            .find(key)
            .filter(|found| found.is(flag::LIVE))
            .ok_or(Reject::NoRecord { key: *key })?;
        self.needs_write(key)?;
        Ok(found)
    }

    /// A new record at `place`, or one that comes back: name, policies, scope, schema, content.
    fn create(
        &mut self,
        key: RecordKey,
        mut row: PendingRow,
        event: &Event,
        place: &Place,
    ) -> Result<(), Reject> {
        // What was erased of a record stays known when it comes back.
        let erased = self
            .state
            .find(&key)
            .map_or(0, |found| found.flags() & flag::ERASED);
        row.flags = flag::LIVE | erased;
        row.sealed = (place.scope, 0);
        row.depth = place.depth + 1;
        row.above = place.scope;
        if event.head.meta.is_some() {
            self.sealed_under(place.scope)?;
            row.flags |= flag::NAMED;
        }
        row.write = event
            .head
            .write
            .as_ref()
            .filter(|write| **write != WritePolicy::Inherit)
            .map(|write| Arc::new(write.clone()));
        let own = match &event.head.read {
            None | Some(ReadPolicy::Inherit) => place.scope,
            Some(_) => {
                row.flags |= flag::SCOPE;
                key
            }
        };
        if event.head.defines {
            row.flags |= flag::DEFINES;
            let plain = event.head.content.is_some() && row.schema != SchemaTag::default();
            if !plain || own != place.scope || own != row.parent {
                return Err(invalid(
                    "a schema descriptor is a plain record with content, right below the head of its scope",
                ));
            }
        }
        self.put(key, row, event, own, true)
    }

    /// New content or policies, or both.
    fn update(
        &mut self,
        key: RecordKey,
        schema: SchemaTag,
        index: u32,
        event: &Event,
        found: Found<'_>,
    ) -> Result<(), Reject> {
        if found.is(flag::DEFINES) {
            return Err(invalid("a schema descriptor cannot change"));
        }
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
        let write = updated_policy(state, key, event, &found)?;
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
            ..PendingRow::of(index, event)
        };
        if event.head.content.is_none() && found.is(flag::CONTENT) {
            return Err(invalid(
                "an update of a record with content carries content",
            ));
        }
        self.put(key, row, event, own, false)
    }

    /// A tombstone: it keeps place, policy and rights.
    pub(super) fn end(
        &mut self,
        key: RecordKey,
        index: u32,
        event: &Event,
        found: Found<'_>,
    ) -> Result<(), Reject> {
        if key == RecordKey::ROOT || found.is(flag::DEFINES) {
            return Err(invalid("the root record and schema descriptors stay"));
        }
        let erases = matches!(event.head.change, Change::Erase { .. });
        let erased = if erases { flag::ERASED } else { 0 };
        let row = PendingRow {
            parent: found.parent(self.state),
            collection: found.collection(self.state),
            schema: found.schema(self.state),
            write: found.write(self.state).map(|write| Arc::new(write.clone())),
            sealed: found.sealed(self.state),
            flags: found.flags() & !(flag::LIVE | flag::CONTENT) | erased,
            depth: found.depth(),
            erases,
            ..PendingRow::of(index, event)
        };
        self.last_parent = None;
        self.target(key, row, false)
    }

    /// Finishes a row with the content, which is sealed under the scope `own`.
    fn put(
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
            self.content_start += content_bytes_in_frame(content.bytes);
        } else if row.schema != SchemaTag::default() {
            return Err(invalid("a schema without content"));
        }
        self.target(key, row, created)
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
}

/// The write policy that an update leaves a record with.
fn updated_policy(
    state: &State,
    key: RecordKey,
    event: &Event,
    found: &Found<'_>,
) -> Result<Option<Arc<WritePolicy>>, Reject> {
    Ok(match &event.head.write {
        None => found.write(state).map(|write| Arc::new(write.clone())),
        Some(WritePolicy::Inherit) if key == RecordKey::ROOT => {
            return Err(invalid("the root record cannot inherit"));
        }
        Some(WritePolicy::Inherit) => None,
        Some(write) => Some(Arc::new(write.clone())),
    })
}
