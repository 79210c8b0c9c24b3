//! Which changes of a commit a subscription wants.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use ate_chain::{
    Change as Event, CollectionTag, CommitHead, CommitInfo, EventHead, ReadError as ChainError,
    RecordInfo, RecordKey, SchemaTag, Slot, Version,
};

use crate::error::ReadError;
use crate::index::NAMED;
use crate::key::Target;
use crate::session::{Session, shown};

/// Answers about types kept: beyond that they are found again.
const KNOWN_MAX: usize = 4096;

/// Which records a subscription is about.
#[derive(Clone, Debug)]
pub(super) enum Part {
    All,
    Record(Target),
    Children { parent: Target, collection: String },
    Prefix(String),
}

/// A [`Part`] in the terms of the chain as it stands.
enum Wanted {
    All,
    Record(RecordKey),
    /// Below the record in this row, in one of these collections.
    Children(Slot, Vec<CollectionTag>),
    Prefix(Vec<CollectionTag>, String),
    /// There are none yet, or they are none of this session's business.
    Nothing,
}

/// What became of the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Put,
    Removed,
    Erased,
}

/// A change that is wanted. Its content has not been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) key: RecordKey,
    pub(super) version: Version,
    pub(super) kind: Kind,
    /// It may have had a name that is wanted: only its erasure can tell why it has none now.
    pub(super) is_nameless: bool,
}

pub(super) struct Matcher {
    pub(super) session: Arc<Session>,
    pub(super) part: Part,
    pub(super) type_name: Option<Box<str>>,
    wanted: Wanted,
    /// Whether records of a schema are wanted. A schema of a scope whose keys are not held is not.
    known: HashMap<(RecordKey, SchemaTag), bool>,
    /// Schemas that could not be read: they may be, when keys have come.
    closed: Vec<(RecordKey, SchemaTag)>,
}

impl Matcher {
    pub(super) fn new(session: Arc<Session>, type_name: Option<&str>) -> Self {
        Self {
            session,
            part: Part::All,
            type_name: type_name.map(Into::into),
            wanted: Wanted::Nothing,
            known: HashMap::new(),
            closed: Vec::new(),
        }
    }

    /// Takes in what the chain knows now: keys, names and parents may have come since.
    pub(super) fn prepare(&mut self) -> Result<(), ReadError> {
        for closed in self.closed.drain(..) {
            self.known.remove(&closed);
        }
        let session = &self.session;
        let below = |parent: &RecordKey, collection: &str, shown: &dyn Fn() -> String| {
            // Nothing is wanted below what is not there, or not granted.
            match session.collection_tags(parent, collection, &shown) {
                Ok(found) => Ok(Some(found)),
                Err(error) if is_hidden(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.wanted = match &self.part {
            Part::All => Wanted::All,
            Part::Record(target) => match session.resolve(target) {
                Ok(key) => Wanted::Record(key),
                Err(error) if is_hidden(&error) => Wanted::Nothing,
                Err(error) => return Err(error),
            },
            Part::Children { parent, collection } => match session.resolve(parent) {
                Ok(key) => match below(&key, collection, &|| shown(parent))? {
                    Some((slot, tags)) => Wanted::Children(slot, tags),
                    None => Wanted::Nothing,
                },
                Err(error) if is_hidden(&error) => Wanted::Nothing,
                Err(error) => return Err(error),
            },
            Part::Prefix(prefix) => {
                session.refresh_names()?;
                match below(&RecordKey::ROOT, NAMED, &String::new)? {
                    Some((_, tags)) => Wanted::Prefix(tags, prefix.clone()),
                    None => Wanted::Nothing,
                }
            }
        };
        Ok(())
    }

    /// Whether no commit from number `seq` on, of those confirmed by now, can hold anything that is wanted. One look at a row at most.
    pub(super) fn is_done(&self, seq: u64) -> bool {
        match &self.wanted {
            Wanted::Record(key) => {
                let record = self.session.record(key);
                record.is_none_or(|record| record.version.seq < seq)
            }
            Wanted::Nothing => true,
            _ => false,
        }
    }

    /// Appends the changes of a commit that are wanted, from event number `skip` on.
    pub(super) fn take(
        &mut self,
        commit: &CommitInfo,
        skip: u32,
        found: &mut impl Extend<Found>,
    ) -> Result<(), ReadError> {
        for (index, event) in commit.events.iter().enumerate().skip(skip as usize) {
            let version = Version {
                seq: commit.seq,
                event: index as u32,
            };
            found.extend(self.change(&commit.head, event, version)?);
        }
        Ok(())
    }

    fn change(
        &mut self,
        head: &CommitHead,
        event: &EventHead,
        version: Version,
    ) -> Result<Option<Found>, ReadError> {
        let (key, kind, schema) = match &event.change {
            // A record without content is nobody's value: the root record, or one that only carries policies.
            Event::Create { key, schema, .. } | Event::Update { key, schema, .. }
                if event.content.is_some() && !event.defines =>
            {
                (*key, Kind::Put, Some(*schema))
            }
            Event::Remove { key, .. } => (*key, Kind::Removed, None),
            Event::Erase { key, .. } => (*key, Kind::Erased, None),
            _ => return Ok(None),
        };
        if matches!(&self.wanted, Wanted::Record(wanted) if *wanted != key) {
            return Ok(None);
        }
        let Some(record) = self.session.record(&key) else {
            return Ok(None);
        };
        let Some(is_nameless) = self.is_in_part(&record) else {
            return Ok(None);
        };
        let is_wanted = match schema {
            Some(schema) => self.is_wanted_type(head, schema, key)?,
            None => self.was_wanted_type(&record, version)?,
        };
        Ok(is_wanted.then_some(Found {
            key,
            version,
            kind,
            is_nameless,
        }))
    }

    /// Whether the record belongs to the part; if so, whether only a name that it lost could tell for sure.
    fn is_in_part(&self, record: &RecordInfo) -> Option<bool> {
        let index = || self.session.index.read();
        let is_below = |parent: Slot, tags: &[CollectionTag]| {
            let index = index();
            // In order of creation, which is the order of rows.
            tags.iter().any(|tag| {
                let slots = index.children(parent, *tag);
                slots.binary_search(&record.slot).is_ok()
            })
        };
        match &self.wanted {
            Wanted::All => Some(false),
            Wanted::Record(key) => (record.key == *key).then_some(false),
            Wanted::Children(parent, tags) => is_below(*parent, tags).then_some(false),
            Wanted::Prefix(tags, prefix) => {
                let starts = index()
                    .name_of(record.slot)
                    .map(|name| name.starts_with(&**prefix));
                match starts {
                    Some(starts) => starts.then_some(false),
                    None => is_below(0, tags).then_some(true),
                }
            }
            Wanted::Nothing => None,
        }
    }

    /// Whether records of this schema are wanted, in a commit that was sealed under these scopes: which of them the content is sealed under is not said.
    fn is_wanted_type(
        &mut self,
        head: &CommitHead,
        schema: SchemaTag,
        key: RecordKey,
    ) -> Result<bool, ReadError> {
        for sealed in &head.commitments {
            if self.knows(sealed.scope, schema, key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn knows(
        &mut self,
        scope: RecordKey,
        schema: SchemaTag,
        key: RecordKey,
    ) -> Result<bool, ReadError> {
        if let Some(known) = self.known.get(&(scope, schema)) {
            return Ok(*known);
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
            self.closed.clear();
        }
        let is_wanted = match self.session.descriptor(&scope, schema, key) {
            Ok(descriptor) => self
                .type_name
                .as_deref()
                .is_none_or(|name| descriptor.name() == name),
            Err(ReadError::Chain(error)) if error.is_transient() => return Err(error.into()),
            // What is damaged may be wanted, and is told when it is opened.
            Err(error) => {
                self.closed.push((scope, schema));
                !is_hidden(&error)
            }
        };
        self.known.insert((scope, schema), is_wanted);
        Ok(is_wanted)
    }

    /// Whether what `version` ended was wanted. The row knows, unless the record came back since: then its history does.
    fn was_wanted_type(
        &mut self,
        record: &RecordInfo,
        version: Version,
    ) -> Result<bool, ReadError> {
        if record.version == version {
            return self.knows(record.sealed.0, record.schema, record.key);
        }
        let local = self.session.local().clone();
        let mut written = None;
        local.history(&record.key, |entry| {
            if entry.version.seq < version.seq && entry.live {
                written = Some(entry.version);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        let Some(written) = written else {
            return Ok(false);
        };
        let commit = local.commit_at(written.seq)?;
        let event = commit.events.get(written.event as usize);
        match event.map(|event| &event.change) {
            Some(Event::Create { schema, .. } | Event::Update { schema, .. }) => {
                self.is_wanted_type(&commit.head, *schema, record.key)
            }
            _ => Ok(false),
        }
    }
}

/// Whether an error only says that something is not there, or not for this session's eyes.
pub(super) const fn is_hidden(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::NotFound { .. }
            | ReadError::Descriptor { source: None, .. }
            | ReadError::Chain(ChainError::NoKey { .. } | ChainError::NotFound { .. })
    )
}
