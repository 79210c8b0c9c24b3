//! Contents that are brought here before they are read: partial replication by subtree, type, name or key.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use ate_chain::{
    ContentId, Dropped, EraseError, FetchError, Pending, Position, ReadError as ChainError,
    RecordInfo, RecordKey, SchemaTag, Slot,
};
use parking_lot::Mutex;

use crate::chain::Chain;
use crate::error::ReadError;
use crate::session::Session;
use crate::write::FutureSource;

/// Contents that are asked for at once.
const BATCH_CONTENTS: usize = 256;
/// Rows looked at between two looks at whether the chain is still wanted.
const BATCH_ROWS: Slot = 16 << 10;
/// Commits whose records are looked at at once.
const BATCH_COMMITS: u64 = 1024;
/// A pass over all rows costs about as much as reading back one commit for so many rows.
const ROWS_FOR_A_COMMIT: u64 = 16;

/// Which records' newest contents are to be here. Schema descriptors are in any case.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Prefetch {
    /// All.
    Everything,
    /// None but schema descriptors.
    Nothing,
    /// These.
    Keys(Vec<RecordKey>),
    /// Records put by a name that begins so.
    Names(String),
    /// Those pushed into a collection below a record.
    Children {
        /// The record.
        parent: RecordKey,
        /// The collection.
        collection: String,
    },
    /// A record, and all below it however deep.
    Below(RecordKey),
    /// Those of a record type, by its name in the schema; `json` for documents.
    Type(String),
    /// What any of these selects.
    AnyOf(Vec<Self>),
    /// All but what this selects.
    Except(Box<Self>),
}

/// How much of a selection is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// Commits that were looked at.
    pub position: Position,
    /// Records with content that are selected, schema descriptors left out, and those of which it cannot be told while a schema descriptor is elsewhere.
    pub selected: u64,
    /// Those among them whose newest content is here.
    pub here: u64,
}

impl Coverage {
    /// Whether every selected record can be read without the upstream.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.here == self.selected
    }
}

/// How far a [`Keeper`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Up to here every selected record's newest content is here, but for those that are absent.
    pub complete: Option<Position>,
    /// Contents that it brought.
    pub fetched: u64,
    /// Contents that the upstream does not have, or not as they were signed. They are not asked for again by this keeper unless the record changes.
    pub absent: u64,
}

/// Keeps the contents of a selection here. It has no thread and no clock: it works while [`Keeper::step`] or [`Keeper::run`] is polled or waited for, by one caller at
/// a time. It keeps no chain alive. Cheap to clone.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    session: Weak<Session>,
    chosen: Prefetch,
    progress: Mutex<Progress>,
}

/// A selection, made ready for one pass.
struct Selector<'a> {
    session: &'a Session,
    chosen: &'a Prefetch,
    /// The children of each collection that is chosen.
    children: Vec<(&'a Prefetch, Vec<Slot>)>,
    /// Names of record types by scope and tag; `None` where the descriptor cannot be read.
    types: HashMap<(RecordKey, SchemaTag), Option<String>>,
}

/// Descriptors remembered in one pass.
const TYPES_MAX: usize = 4096;

/// Whether a record is selected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Selected {
    Yes,
    No,
    /// Its descriptor is elsewhere.
    Unsure,
}

impl Selected {
    const fn when(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

impl Chain {
    /// Brings the newest contents of the chosen records here; how many came. For those that come later see [`Chain::keep`].
    ///
    /// # Errors
    /// In the answer: as [`Keeper::step`].
    ///
    /// # Cost
    /// A pass over the rows; a request for each 256 contents or 4 MiB, one after the other.
    ///
    /// # Cancel safety
    /// What came is kept.
    pub fn prefetch(&self, chosen: Prefetch) -> Pending<Result<u64, ReadError>> {
        let step = self.keep(chosen).step();
        step.map(|progress| progress.map(|progress| progress.fetched))
    }

    /// A keeper for the chosen records. Nothing happens before it is run.
    #[must_use]
    pub fn keep(&self, chosen: Prefetch) -> Keeper {
        Keeper(Arc::new(Inner {
            session: Arc::downgrade(self.session()),
            chosen,
            progress: Mutex::default(),
        }))
    }

    /// How much of the chosen records can be read without the upstream. Fetches nothing.
    ///
    /// # Errors
    /// [`ReadError`] if names cannot be read.
    ///
    /// # Cost
    /// A pass over the rows.
    pub fn coverage(&self, chosen: &Prefetch) -> Result<Coverage, ReadError> {
        let session = self.session();
        let mut coverage = Coverage {
            position: session.position(),
            selected: 0,
            here: 0,
        };
        let mut selector = Selector::new(session, chosen)?;
        for slot in 0..session.local().row_count() {
            let record = session.local().record_at(slot);
            let has_content = record.live && record.schema != SchemaTag::default();
            let counts = has_content && !session.local().is_schema(&record.key);
            if !counts || selector.selects(&record) == Selected::No {
                continue;
            }
            coverage.selected += 1;
            coverage.here += u64::from(session.local().lacks(&record.key).is_none());
        }
        Ok(coverage)
    }

    /// Gives back the disk space of contents that were fetched for the chosen records, older versions too. Whoever reads them fetches them again. Contents that came
    /// with their commits, and schema descriptors, stay. A [`Keeper`] that has passed does not bring them back.
    ///
    /// # Errors
    /// [`EraseError`]; some may be gone.
    ///
    /// # Cost
    /// As [`ate_chain::Local::drop_fetched`]. Blocks.
    pub fn drop_fetched(&self, chosen: &Prefetch) -> Result<Dropped, EraseError> {
        let session = self.session();
        let mut selector = match Selector::new(session, chosen) {
            Ok(selector) => selector,
            Err(ReadError::Chain(error)) => return Err(error.into()),
            // There is no such record or collection.
            Err(_) => return Ok(Dropped::default()),
        };
        session.local().drop_fetched(|key, _| {
            let record = session.record(key);
            record.is_some_and(|record| selector.selects(&record) == Selected::Yes)
        })
    }
}

impl Keeper {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.0.progress.lock()
    }

    /// Brings here what is selected and elsewhere, up to the chain's position at the call, and says how far that is. The first time it passes over all rows, later
    /// over what was written since.
    ///
    /// # Errors
    /// In the answer: [`ReadError::Chain`], with [`ate_chain::ReadError::Elsewhere`] if the upstream cannot be reached. What came is kept; the next call goes on.
    ///
    /// # Cancel safety
    /// As with an error.
    pub fn step(&self) -> Pending<Result<Progress, ReadError>> {
        let inner = self.0.clone();
        Pending::new(FutureSource(Box::pin(async move { inner.step().await })))
    }

    /// Steps, and again whenever the chain has moved, until the chain is let go.
    ///
    /// # Errors
    /// In the answer: as [`Keeper::step`]. Pause, then run it again: it has no clock to do so itself.
    ///
    /// # Cancel safety
    /// As [`Keeper::step`].
    pub fn run(&self) -> Pending<Result<(), ReadError>> {
        let inner = self.0.clone();
        Pending::new(FutureSource(Box::pin(async move {
            loop {
                let done = inner.step().await?.complete.unwrap_or_default();
                let Some(session) = inner.session.upgrade() else {
                    return Ok(());
                };
                // Whoever waits for the chain to move holds nothing of it.
                let moved = session.local().past(done);
                drop(session);
                if moved.await.is_none() {
                    return Ok(());
                }
            }
        })))
    }
}

impl Inner {
    async fn step(&self) -> Result<Progress, ReadError> {
        let Some(session) = self.session.upgrade() else {
            return Ok(*self.progress.lock());
        };
        self.bring(&session, session.lacking_schemas()).await?;
        // Read before the rows: they are at least as new.
        let (end, done) = (session.position(), self.progress.lock().complete);
        let rows = session.local().row_count();
        match done {
            Some(done) if (end.0 - done.0) * ROWS_FOR_A_COMMIT < u64::from(rows) => {
                self.changed(&session, done, end).await?;
            }
            _ => self.all(&session, rows).await?,
        }
        let mut progress = self.progress.lock();
        progress.complete = Some(end);
        Ok(*progress)
    }

    /// Looks at every row.
    async fn all(&self, session: &Session, rows: Slot) -> Result<(), ReadError> {
        let mut next = 0;
        let mut lacking = Vec::new();
        while next < rows {
            {
                let mut selector = Selector::new(session, &self.chosen)?;
                let end = rows.min(next + BATCH_ROWS);
                while next < end && lacking.len() < BATCH_CONTENTS {
                    let record = session.local().record_at(next);
                    lacking.extend(selector.lacking(&record));
                    next += 1;
                }
            }
            if lacking.len() >= BATCH_CONTENTS || next == rows {
                self.bring(session, std::mem::take(&mut lacking)).await?;
            }
        }
        Ok(())
    }

    /// Looks at the records that were written between two positions.
    async fn changed(
        &self,
        session: &Session,
        from: Position,
        end: Position,
    ) -> Result<(), ReadError> {
        let mut next = from.0;
        while next < end.0 {
            let mut lacking = Vec::new();
            {
                let mut selector = Selector::new(session, &self.chosen)?;
                let until = end.0.min(next + BATCH_COMMITS);
                next = session.local().visit_commits(next, until, |commit| {
                    for event in &commit.events {
                        let record = event.target().and_then(|key| session.record(&key));
                        lacking.extend(record.and_then(|record| selector.lacking(&record)));
                    }
                    match lacking.len() < BATCH_CONTENTS {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })?;
            }
            self.bring(session, lacking).await?;
        }
        Ok(())
    }

    /// Fetches contents; those that are nowhere to be had are counted.
    async fn bring(&self, session: &Session, mut lacking: Vec<ContentId>) -> Result<(), ReadError> {
        lacking.sort_unstable();
        lacking.dedup();
        if lacking.is_empty() {
            return Ok(());
        }
        let (local, asked) = (session.local(), lacking.len() as u64);
        let before = local.fetched_count();
        let outcome = local.fetch(lacking).await;
        let came = (local.fetched_count().saturating_sub(before) as u64).min(asked);
        let mut progress = self.progress.lock();
        progress.fetched += came;
        match outcome {
            Err(ChainError::Elsewhere {
                source: FetchError::NotThere | FetchError::Forged,
                ..
            }) => progress.absent += asked - came,
            outcome => outcome?,
        }
        Ok(())
    }
}

impl<'a> Selector<'a> {
    fn new(session: &'a Session, chosen: &'a Prefetch) -> Result<Self, ReadError> {
        let mut selector = Self {
            session,
            chosen,
            children: Vec::new(),
            types: HashMap::new(),
        };
        selector.prepare(chosen)?;
        Ok(selector)
    }

    fn prepare(&mut self, chosen: &'a Prefetch) -> Result<(), ReadError> {
        match chosen {
            Prefetch::Names(_) => self.session.refresh_names(),
            Prefetch::Children { parent, collection } => {
                let shown = || parent.to_string();
                let (slot, tags) = self.session.collection_tags(parent, collection, &shown)?;
                let slots = self.session.child_slots(slot, &tags);
                self.children.push((chosen, slots));
                Ok(())
            }
            Prefetch::AnyOf(choices) => choices.iter().try_for_each(|chosen| self.prepare(chosen)),
            Prefetch::Except(chosen) => self.prepare(chosen),
            _ => Ok(()),
        }
    }

    /// The newest content of a record, if it is selected and elsewhere.
    fn lacking(&mut self, record: &RecordInfo) -> Option<ContentId> {
        let lacking = self.session.local().lacks(&record.key)?;
        (self.selects(record) == Selected::Yes).then_some(lacking)
    }

    fn selects(&mut self, record: &RecordInfo) -> Selected {
        self.judge(self.chosen, record)
    }

    fn judge(&mut self, chosen: &'a Prefetch, record: &RecordInfo) -> Selected {
        match chosen {
            Prefetch::Everything => Selected::Yes,
            Prefetch::Nothing => Selected::No,
            Prefetch::Keys(keys) => Selected::when(keys.contains(&record.key)),
            Prefetch::Names(prefix) => {
                let index = self.session.index.read();
                let name = index.name_of(record.slot);
                Selected::when(name.is_some_and(|name| name.starts_with(prefix.as_str())))
            }
            Prefetch::Children { .. } => {
                let slots = self
                    .children
                    .iter()
                    .find(|(known, _)| std::ptr::eq(*known, chosen))
                    .is_some_and(|(_, slots)| slots.binary_search(&record.slot).is_ok());
                Selected::when(slots)
            }
            Prefetch::Below(key) => Selected::when(self.is_below(record, key)),
            Prefetch::Type(name) => self.is_of_type(record, name),
            Prefetch::AnyOf(choices) => {
                let mut any = Selected::No;
                for chosen in choices {
                    match self.judge(chosen, record) {
                        Selected::Yes => return Selected::Yes,
                        Selected::Unsure => any = Selected::Unsure,
                        Selected::No => {}
                    }
                }
                any
            }
            Prefetch::Except(chosen) => match self.judge(chosen, record) {
                Selected::Yes => Selected::No,
                Selected::No => Selected::Yes,
                Selected::Unsure => Selected::Unsure,
            },
        }
    }

    /// Walks up: at most 64 steps.
    fn is_below(&self, record: &RecordInfo, key: &RecordKey) -> bool {
        let mut at = record.key;
        let mut above = record.parent;
        loop {
            if at == *key {
                return true;
            }
            if at == RecordKey::ROOT {
                return false;
            }
            at = above;
            above = match self.session.record(&at) {
                Some(parent) => parent.parent,
                None => return at == *key,
            };
        }
    }

    fn is_of_type(&mut self, record: &RecordInfo, name: &str) -> Selected {
        if record.schema == SchemaTag::default() {
            return Selected::No;
        }
        let id = (record.sealed.0, record.schema);
        if self.types.len() >= TYPES_MAX {
            self.types.clear();
        }
        let session = self.session;
        let found = self.types.entry(id).or_insert_with(|| {
            let descriptor = session.descriptor(&id.0, id.1, record.key);
            descriptor.ok().map(|known| known.name().to_owned())
        });
        match found {
            Some(found) => Selected::when(found == name),
            None => Selected::Unsure,
        }
    }
}
