//! What becomes of a commit that was staged, was refused, and has nobody who waits for it: what it meant is merged with what stands there now, and written again.
//!
//! A commit that only creates, changes and ends records is written again record by record. Where nobody else changed a record, or both did the same, that needs
//! no judgement; where two changed it, the hook of its type decides. A commit that does more (grants, policies, scopes, erasures, preconditions), or for one record of which
//! nobody can decide, is kept as refused as a whole.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate_chain::{Change, EventHead, RecordInfo, RecordKey, Ref, RefusedCommit, SchemaTag};
use ate_crypto::{Hash, KeyId};
use parking_lot::Mutex;

use crate::commit::Submitted;
use crate::error::{CommitError, ReadError};
use crate::key::{Key, Target};
use crate::schema::{Descriptor, Encoded, Plan, Record, Unknown, decode, encode_spliced};
use crate::session::{Session, Shared};
use crate::staging::{Access, Base, State};
use crate::transaction::Transaction;

/// One record that two have changed: what both began with, and what each made of it. `None` stands for "no such record".
#[derive(Debug)]
#[non_exhaustive]
pub struct Merge<'a, T> {
    /// The record.
    pub key: Key<T>,
    /// What the refused commit was based on; also `None` if that is not known any more.
    pub base: Option<&'a T>,
    /// What the refused commit was to leave.
    pub yours: Option<&'a T>,
    /// What stands there now.
    pub theirs: Option<&'a T>,
}

/// What is to stand there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Merged<T> {
    /// What stands there already.
    Theirs,
    /// What the refused commit was to leave.
    Yours,
    /// This.
    Value(T),
    /// It cannot be said: the whole commit is kept as refused.
    Refuse,
}

/// A content with its descriptor.
#[derive(Clone)]
pub(crate) struct Side {
    content: Vec<u8>,
    descriptor: Arc<Descriptor>,
}

/// The three sides of a record; `None` for one that does not exist.
pub(crate) struct Sides {
    key: RecordKey,
    base: Option<Side>,
    yours: Option<Side>,
    theirs: Option<Side>,
}

pub(crate) enum Resolution {
    Theirs,
    Yours,
    Value(Encoded),
    Refuse,
}

/// A merge hook without its type.
pub(crate) trait Hook: Send + Sync {
    fn merge(&self, sides: &Sides) -> Resolution;
}

pub(crate) struct Typed<T, F> {
    decide: F,
    record: PhantomData<fn() -> T>,
}

impl<T: Record, F: Fn(Merge<'_, T>) -> Merged<T> + Send + Sync> Typed<T, F> {
    pub(crate) fn of(decide: F) -> Arc<Self> {
        Arc::new(Self {
            decide,
            record: PhantomData,
        })
    }
}

impl<T: Record, F: Fn(Merge<'_, T>) -> Merged<T> + Send + Sync> Hook for Typed<T, F> {
    fn merge(&self, sides: &Sides) -> Resolution {
        let read = |side: &Option<Side>| {
            let Some(side) = side else {
                return Ok(None);
            };
            decode::<T>(&side.content, &Plan::of::<T>(&side.descriptor)).map(Some)
        };
        let (Ok(base), Ok(yours), Ok(theirs)) =
            (read(&sides.base), read(&sides.yours), read(&sides.theirs))
        else {
            return Resolution::Refuse;
        };
        fn value<T>(side: &Option<(T, Unknown)>) -> Option<&T> {
            side.as_ref().map(|(value, _)| value)
        }
        let merged = (self.decide)(Merge {
            key: Key::from_raw(sides.key),
            base: value(&base),
            yours: value(&yours),
            theirs: value(&theirs),
        });
        match merged {
            Merged::Theirs => Resolution::Theirs,
            Merged::Yours => Resolution::Yours,
            Merged::Value(value) => {
                let unknown = theirs.or(yours).map(|(_, unknown)| unknown);
                match encode_spliced(&value, &unknown.unwrap_or_default()) {
                    Ok(encoded) => Resolution::Value(encoded),
                    Err(_) => Resolution::Refuse,
                }
            }
            Merged::Refuse => Resolution::Refuse,
        }
    }
}

/// What a chain remembers of refused commits while they are written again.
#[derive(Default)]
pub(crate) struct Resolving {
    turn: Mutex<()>,
    due: AtomicU64,
    /// Refused commits by author and lane number: what comes after them in the lane may build upon them.
    before: Mutex<BTreeMap<(KeyId, u64), RefusedCommit>>,
}

impl Resolving {
    /// Refused commits remembered: beyond that a merge finds no base.
    const BEFORE_MAX: usize = 4096;

    fn remember(&self, place: (KeyId, u64), commit: RefusedCommit) {
        let mut before = self.before.lock();
        before.insert(place, commit);
        if before.len() > Self::BEFORE_MAX {
            before.pop_first();
        }
    }
}

/// Why a refused commit stays what it is.
struct Stays;

impl From<CommitError> for Stays {
    fn from(_: CommitError) -> Self {
        Self
    }
}

impl From<ReadError> for Stays {
    fn from(_: ReadError) -> Self {
        Self
    }
}

impl Shared {
    /// Writes refused commits again that nobody waits for, as far as the merge hooks know how.
    pub(crate) fn resolve_refused(self: &Arc<Self>) {
        let resolving = &self.resolving;
        let mut due = resolving.due.fetch_add(1, Ordering::AcqRel) + 1;
        loop {
            // Whoever is at it, perhaps this very thread further up, sees that there is more.
            let Some(turn) = resolving.turn.try_lock() else {
                return;
            };
            for commit in self.local.take_refused() {
                if let Some(session) = self.session_of(&commit.author()) {
                    self.resolve(&session, commit);
                }
            }
            if self.local.staged().is_empty() && self.local.refused().is_empty() {
                resolving.before.lock().clear();
            }
            drop(turn);
            let now = resolving.due.load(Ordering::Acquire);
            if now == due {
                return;
            }
            due = now;
        }
    }

    fn resolve(&self, session: &Arc<Session>, commit: RefusedCommit) {
        let id = commit.id();
        let place = (commit.author(), commit.number());
        self.resolving.remember(place, commit.clone());
        let transaction = Transaction::new(session.clone());
        let rewritten = {
            let mut state = transaction.state.lock();
            Rewrite {
                session,
                commit: &commit,
                state: &mut state,
            }
            .run()
        };
        match rewritten {
            Ok(true) => {
                // Nobody waits for it: the answer is seen to as any whose caller went away. An error leaves the refused commit where it is.
                drop(Submitted::begin(transaction, Some(id)));
            }
            // What it meant is there already.
            Ok(false) => {
                self.local.dismiss_refused(&id);
            }
            Err(Stays) => {}
        }
    }
}

struct Rewrite<'a> {
    session: &'a Arc<Session>,
    commit: &'a RefusedCommit,
    state: &'a mut State,
}

impl Rewrite<'_> {
    /// Puts what the commit meant into the transaction; `false` if nothing is left to be done.
    fn run(mut self) -> Result<bool, Stays> {
        let commit = self.commit.clone();
        for (index, event) in (0..).zip(commit.events()) {
            if event.write.is_some() || event.read.is_some() {
                return Err(Stays);
            }
            if let (true, Change::Create { parent, schema, .. }) = (event.defines, &event.change) {
                let opened = self.open(&commit, index)?;
                self.session.learn(*parent, *schema, &opened.content);
            }
        }
        for (index, event) in (0..).zip(commit.events()) {
            match &event.change {
                Change::Create { .. } if event.defines => {}
                Change::Create { key, .. }
                | Change::Update { key, .. }
                | Change::Remove { key, .. } => {
                    self.record(*key, index, event)?;
                }
                Change::Introduce(who) => {
                    if !self.session.local().knows(&who.id()) {
                        self.state.draft.introduce(who.clone());
                    }
                }
                _ => return Err(Stays),
            }
        }
        Ok(!self.state.draft.is_empty())
    }

    fn record(&mut self, key: RecordKey, index: u32, event: &EventHead) -> Result<(), Stays> {
        let yours = match event.content {
            Some(_) => Some(self.side(key, self.open(self.commit, index)?)?),
            None => None,
        };
        let stored = self.session.record(&key);
        let theirs = match &stored {
            Some(record) if record.live => Some(self.current(key)?),
            _ => None,
        };
        let base = self.base(key, supersedes(&event.change));
        let sides = Sides {
            key,
            base,
            yours,
            theirs,
        };
        let is_there = sides.theirs.is_some();
        let wanted = match self.decide(&sides) {
            Resolution::Theirs => return Ok(()),
            Resolution::Refuse => return Err(Stays),
            Resolution::Value(encoded) => Some(encoded),
            Resolution::Yours => sides.yours.map(|side| Encoded {
                body: side.content,
                descriptor: side.descriptor,
            }),
        };
        self.write(key, index, event, stored, is_there, wanted)
    }

    fn write(
        &mut self,
        key: RecordKey,
        index: u32,
        event: &EventHead,
        stored: Option<RecordInfo>,
        is_there: bool,
        wanted: Option<Encoded>,
    ) -> Result<(), Stays> {
        let base = Base::of(stored.as_ref());
        match wanted {
            None if is_there => self.state.remove(key, &Target::Key(key))?,
            None => {}
            Some(encoded) if is_there => {
                self.state
                    .write_over(key, base, encoded, &Access::default())?;
            }
            Some(encoded) => {
                // The place of a record that ended is not in a commit that changed it.
                if !matches!(event.change, Change::Create { .. }) {
                    return Err(Stays);
                }
                let named = self.name_of(index);
                if event.meta.is_some() && named.is_none() {
                    return Err(Stays);
                }
                let name = named
                    .as_ref()
                    .map(|(of, name)| (of.as_str(), name.as_str()));
                self.state
                    .create_again(&event.change, name, encoded, base)?;
            }
        }
        Ok(())
    }

    /// What is to stand there: where only one side changed something, that.
    fn decide(&self, sides: &Sides) -> Resolution {
        let same = |one: &Option<Side>, other: &Option<Side>| match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                one.content == other.content && one.descriptor.id() == other.descriptor.id()
            }
            _ => false,
        };
        if same(&sides.yours, &sides.theirs) {
            return Resolution::Theirs;
        }
        if same(&sides.base, &sides.theirs) {
            return Resolution::Yours;
        }
        if same(&sides.base, &sides.yours) {
            return Resolution::Theirs;
        }
        let side = sides.yours.as_ref().or(sides.theirs.as_ref());
        let name = side.map(|side| side.descriptor.name().to_owned());
        let hooks = self.session.hooks.read();
        let hook = hooks.iter().find(|(of, _)| name.as_deref() == Some(*of));
        let hook = hook.map(|(_, hook)| hook.clone());
        drop(hooks);
        hook.map_or(Resolution::Refuse, |hook| hook.merge(sides))
    }

    /// What the refused commit saw at a record; `None` if there was nothing, or it cannot be had any more.
    fn base(&self, key: RecordKey, reference: Ref) -> Option<Side> {
        let local = self.session.local();
        let author = &self.session.author;
        if let Ref::Lane { number, event } = reference {
            let before = &self.session.shared.resolving.before;
            let place = (self.commit.author(), number);
            let before = before.lock().get(&place).cloned();
            if let Some(before) = before {
                let opened = local.open_refused(author, &before, event).ok()?;
                return self.side(key, opened).ok();
            }
        }
        let version = local.refused_base(self.commit, reference)?;
        let opened = local.open_version(author, &key, version).ok()?;
        self.side(key, opened).ok()
    }

    fn current(&self, key: RecordKey) -> Result<Side, Stays> {
        let local = self.session.local();
        let opened = local.open_content(&self.session.author, &key);
        self.side(key, opened.map_err(|_| Stays)?)
    }

    fn open(&self, commit: &RefusedCommit, index: u32) -> Result<ate_chain::Opened, Stays> {
        let local = self.session.local();
        let opened = local.open_refused(&self.session.author, commit, index);
        opened.map_err(|_| Stays)
    }

    fn side(&self, key: RecordKey, opened: ate_chain::Opened) -> Result<Side, Stays> {
        side(
            self.session,
            key,
            opened.scope,
            opened.schema,
            opened.content,
        )
        .map_err(Stays::from)
    }

    fn name_of(&self, index: u32) -> Option<(String, String)> {
        let local = self.session.local();
        local.refused_name(&self.session.author, self.commit, index)
    }
}

fn side(
    session: &Session,
    key: RecordKey,
    scope: RecordKey,
    schema: SchemaTag,
    content: Vec<u8>,
) -> Result<Side, ReadError> {
    let descriptor = session.descriptor(&scope, schema, key)?;
    Ok(Side {
        content,
        descriptor,
    })
}

fn supersedes(change: &Change) -> Ref {
    match change {
        Change::Create { supersedes, .. }
        | Change::Update { supersedes, .. }
        | Change::Remove { supersedes, .. } => *supersedes,
        _ => Ref::Absent,
    }
}

impl Session {
    /// A record of a refused commit as it was to be written.
    pub(crate) fn refused_content<T: Record>(
        &self,
        commit: &RefusedCommit,
        index: u32,
        key: RecordKey,
    ) -> Result<T, ReadError> {
        let opened = self.local().open_refused(&self.author, commit, index)?;
        let side = side(self, key, opened.scope, opened.schema, opened.content)?;
        let plan = Plan::of::<T>(&side.descriptor);
        let decoded = decode::<T>(&side.content, &plan);
        decoded
            .map(|(value, _)| value)
            .map_err(|source| ReadError::Schema {
                name: key.to_string(),
                source,
            })
    }

    /// A refused commit that is kept.
    pub(crate) fn refused_commit(&self, id: &Hash) -> Option<RefusedCommit> {
        let refused = self.local().refused();
        refused.into_iter().find(|commit| commit.id() == *id)
    }
}
