//! From a record to its value: the body that stood at some time, opened, and read under the descriptor that its writer knew.

use std::any::TypeId;
use std::sync::Arc;

use ate_chain::{
    CollectionTag, Kept, Opened, Position, ReadError as ChainError, RecordKey, SchemaTag, Version,
};

use super::{Session, facts_of, name_it, seal_to_read};
use crate::cache::Ticket;
use crate::dao::{Dao, DaoInner, Facts};
use crate::error::ReadError;
use crate::index::SCHEMAS;
use crate::schema::{Descriptor, Plan, Record, Unknown, decode};

/// Descriptors and plans kept: beyond that they are read again. Records that head a scope have one each.
const SCHEMAS_MAX: usize = 4096;

impl Session {
    /// The body of exactly this version, and whether it is the newest.
    pub(crate) fn open_exactly(
        &self,
        key: &RecordKey,
        version: Version,
        shown: &impl Fn() -> String,
    ) -> Result<(Opened, bool), ReadError> {
        let local = self.local();
        if self.live(key).is_some_and(|row| row.version == version) {
            match local.open_content(&self.author, key) {
                Ok(opened) if opened.version == version => return Ok((opened, true)),
                // It changed between the two looks, or ended.
                Ok(_) | Err(ChainError::NotFound { .. } | ChainError::Erased { .. }) => {}
                Err(error) => return Err(name_it(error, shown)),
            }
        }
        let opened = local
            .open_version(&self.author, key, version)
            .map_err(|error| name_it(error, shown))?;
        Ok((opened, false))
    }

    /// A body as a value, which is kept in the cache if there is a ticket for it.
    pub(super) fn decoded<T: Record>(
        &self,
        key: &RecordKey,
        opened: &Opened,
        ticket: Option<&Ticket>,
        shown: &impl Fn() -> String,
    ) -> Result<Dao<T>, ReadError> {
        let (value, unknown) = self.decode::<T>(opened, key, shown)?;
        let bytes = opened.content.len() + size_of::<DaoInner<T>>() + unknown.heap_bytes();
        let facts = facts_of(key, opened);
        let dao = Arc::new(DaoInner {
            value,
            facts,
            unknown,
        });
        if let Some(ticket) = ticket {
            self.cache
                .insert(ticket, *key, facts.version, bytes, dao.clone());
        }
        Ok(Dao(dao))
    }

    /// The newest version of a record as a value of the caller's own: to be changed, so the cache has no use for it.
    pub(crate) fn open_owned<T: Record>(
        &self,
        key: &RecordKey,
        shown: impl Fn() -> String,
    ) -> Result<(T, Facts, Unknown), ReadError> {
        let (opened, _) = self.open_at(key, None, &shown)?;
        let (value, unknown) = self.decode::<T>(&opened, key, &shown)?;
        Ok((value, facts_of(key, &opened), unknown))
    }

    /// The body that stood at `position`, and whether it is the newest.
    pub(crate) fn open_at(
        &self,
        key: &RecordKey,
        position: Option<Position>,
        shown: &impl Fn() -> String,
    ) -> Result<(Opened, bool), ReadError> {
        let local = self.local();
        let is_newest = |position: Position| {
            self.record(key)
                .is_some_and(|record| record.version.seq < position.0)
        };
        if position.is_none_or(is_newest) {
            let opened = local
                .open_content(&self.author, key)
                .map_err(|error| name_it(error, shown));
            match (opened, position) {
                (Ok(opened), None) => {
                    let is_confirmed = !opened.version.is_staged();
                    return Ok((opened, is_confirmed));
                }
                (Ok(opened), Some(position)) if opened.version.seq < position.0 => {
                    return Ok((opened, true));
                }
                // It changed or went between the two looks.
                (Ok(_), Some(_)) => {}
                (Err(ReadError::NotFound { .. }), Some(position)) if !is_newest(position) => {}
                (Err(error), _) => return Err(error),
            }
        }
        let entry = position.map_or(Ok(None), |position| local.entry_at(key, position))?;
        let entry = entry.filter(|entry| entry.live || entry.kept == Kept::Erased);
        let entry = entry.ok_or_else(|| ReadError::NotFound { name: shown() })?;
        let opened = local
            .open_version(&self.author, key, entry.version)
            .map_err(|error| name_it(error, shown))?;
        Ok((opened, false))
    }

    pub(super) fn decode<T: Record>(
        &self,
        opened: &Opened,
        key: &RecordKey,
        shown: &impl Fn() -> String,
    ) -> Result<(T, Unknown), ReadError> {
        let plan = self.plan::<T>(&opened.scope, opened.schema, *key)?;
        decode::<T>(&opened.content, &plan).map_err(|source| ReadError::Schema {
            name: shown(),
            source,
        })
    }

    /// Takes in a descriptor whose definition was refused, to read what was refused with it.
    pub(crate) fn learn(&self, scope: RecordKey, tag: SchemaTag, bytes: &[u8]) {
        let descriptor = Descriptor::from_bytes(bytes).ok().filter(|descriptor| {
            let own = self.author.schema_tag(&scope, &descriptor.id());
            own.is_ok_and(|own| own == tag)
        });
        if let Some(descriptor) = descriptor {
            let mut descriptors = self.descriptors.write();
            if descriptors.len() < SCHEMAS_MAX {
                descriptors.insert((scope, tag), Arc::new(descriptor));
            }
        }
    }

    /// How to read records of a stored schema as `T`.
    pub(crate) fn plan<T: Record>(
        &self,
        scope: &RecordKey,
        tag: SchemaTag,
        record: RecordKey,
    ) -> Result<Arc<Plan>, ReadError> {
        let key = (TypeId::of::<T>(), *scope, tag);
        if let Some(plan) = self.plans.read().get(&key) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(Plan::of::<T>(&self.descriptor(scope, tag, record)?));
        let mut plans = self.plans.write();
        if plans.len() >= SCHEMAS_MAX {
            plans.clear();
        }
        plans.insert(key, plan.clone());
        Ok(plan)
    }

    /// The descriptor behind a schema tag: a record below the head of the scope.
    pub(crate) fn descriptor(
        &self,
        scope: &RecordKey,
        tag: SchemaTag,
        record: RecordKey,
    ) -> Result<Arc<Descriptor>, ReadError> {
        if let Some(descriptor) = self.descriptors.read().get(&(*scope, tag)) {
            return Ok(descriptor.clone());
        }
        let (_, name_key) = self
            .author
            .name_key_below(scope)
            .map_err(|error| seal_to_read(error, "schema"))?;
        let parent = self.record(scope).ok_or(ReadError::Descriptor {
            key: record,
            source: None,
        })?;
        let schemas = CollectionTag(name_key.collection_tag(SCHEMAS));
        let slots = self.index.read().children(parent.slot, schemas).to_vec();
        let staged = self.local().staged_children(scope, schemas);
        // The tag is a keyed hash of the descriptor: another record that claims it cannot stand in its place.
        let mut source = None;
        let claims = slots
            .into_iter()
            .map(|slot| self.local().record_at(slot))
            .chain(staged.iter().filter_map(|key| self.record(key)))
            .filter(|found| found.schema == tag);
        for found in claims {
            let bytes = self.local().open_content(&self.author, &found.key)?.content;
            match Descriptor::from_bytes(&bytes) {
                Ok(descriptor) if name_key.schema_tag(&descriptor.id()) == tag.0 => {
                    let descriptor = Arc::new(descriptor);
                    let mut descriptors = self.descriptors.write();
                    if descriptors.len() >= SCHEMAS_MAX {
                        descriptors.clear();
                    }
                    descriptors.insert((*scope, tag), descriptor.clone());
                    return Ok(descriptor);
                }
                Ok(_) => {}
                Err(error) => source = Some(error),
            }
        }
        Err(ReadError::Descriptor {
            key: record,
            source,
        })
    }
}
