//! What a transaction has gathered: staged writes, the versions they rest on, and the schemas that they need.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ate_chain::{
    Change, CreateOptions, Draft, EVENTS_MAX, KeyMap, Readers, RecordInfo, RecordKey, Ref,
    SchemaTag, SealError, Sealed, Version, WritePolicy,
};
use ate_crypto::{Hash, Who};

use crate::error::{CommitError, ReadError};
use crate::index::{NAMED, SCHEMAS};
use crate::json::Json;
use crate::key::Target;
use crate::schema::{
    Codec, Descriptor, Encoded, Plan, Record, Unknown, decode, encode_spliced, unknown_of,
};
use crate::session::{Session, check_name, shown};
use crate::transaction::Expect;

/// The version of what a transaction has written itself.
pub(crate) const STAGED: Version = Version {
    seq: u64::MAX,
    event: 0,
};

/// Who may read and write a record from now on.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) readers: Option<Readers>,
    pub(crate) write: Option<WritePolicy>,
    /// Identities that the chain has to know for that.
    pub(crate) introduce: Vec<Who>,
}

impl Access {
    fn makes_scope(&self) -> bool {
        matches!(self.readers, Some(Readers::Only(_) | Readers::Public))
    }
}

/// How a record stood when the transaction first looked at it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    /// Its version, or that of its tombstone; `None` if it never existed.
    pub(crate) version: Option<Version>,
    pub(crate) live: bool,
}

impl Base {
    const NEVER: Self = Self {
        version: None,
        live: false,
    };

    pub(crate) fn of(record: Option<&RecordInfo>) -> Self {
        record.map_or(Self::NEVER, |record| Self {
            version: Some(record.version),
            live: record.live,
        })
    }

    fn reference(self) -> Ref {
        self.version.map_or(Ref::Absent, Version::reference)
    }

    pub(crate) fn live_version(self) -> Option<Version> {
        self.version.filter(|_| self.live)
    }
}

/// What a staged event does to its record.
#[derive(Clone)]
pub(crate) enum What {
    /// Writes content of this schema.
    Content(Arc<Descriptor>),
    Removal,
    /// Ends the record with everything it ever held.
    Erasure,
    /// Changes a policy alone.
    Policy,
}

/// A write that nothing read before: it is staged again by itself when the record has changed.
#[derive(Clone)]
struct Blind {
    target: Target,
    access: Access,
    again: fn(&mut State, &RecordKey) -> Result<bool, CommitError>,
}

/// A record that the transaction writes.
pub(crate) struct Staged {
    /// Index of the event in the draft.
    pub(crate) event: u32,
    base: Base,
    pub(crate) what: What,
    blind: Option<Box<Blind>>,
}

/// What a transaction has gathered.
pub(crate) struct State {
    pub(crate) session: Arc<Session>,
    pub(crate) draft: Draft,
    pub(crate) writes: KeyMap<Staged>,
    /// Records read, as they stood when they were read first.
    pub(crate) reads: HashMap<RecordKey, Base>,
    /// Records that a refused commit was in conflict over: whoever touches them next starts from what stands there now.
    conflicted: HashSet<RecordKey>,
    /// Schemas that the draft defines: record of the descriptor, scope, tag.
    defines: Vec<(RecordKey, RecordKey, SchemaTag)>,
    /// Schemas that it uses.
    schemas: Vec<(RecordKey, Arc<Descriptor>)>,
    /// Scopes that get a new key in the draft.
    rekeyed: HashSet<RecordKey>,
    pub(crate) serializable: bool,
    pub(crate) spent: bool,
}

impl State {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            draft: Draft::new(session.author.clone()),
            session,
            writes: KeyMap::default(),
            reads: HashMap::new(),
            conflicted: HashSet::new(),
            defines: Vec::new(),
            schemas: Vec::new(),
            rekeyed: HashSet::new(),
            serializable: false,
            spent: false,
        }
    }

    /// Notes what a read found. What was read first is what the commit depends on.
    pub(crate) fn note_read(&mut self, key: RecordKey, base: Base) {
        self.reads.entry(key).or_insert(base);
    }

    /// A record that was in conflict is looked at anew.
    pub(crate) fn refresh(&mut self, key: &RecordKey) {
        if self.conflicted.remove(key) {
            self.reads.remove(key);
            self.unstage(key);
        }
    }

    /// A record in conflict is no longer what was staged or read.
    pub(crate) fn is_conflicted(&self, key: &RecordKey) -> bool {
        self.conflicted.contains(key)
    }

    pub(crate) fn note_conflict(&mut self, key: RecordKey) {
        self.conflicted.insert(key);
    }

    /// Whether something that was read is not what stands there now.
    pub(crate) fn is_stale(&self) -> bool {
        self.reads
            .iter()
            .any(|(key, base)| *base != Base::of(self.session.record(key).as_ref()))
    }

    fn base(&self, key: &RecordKey) -> Base {
        match self.reads.get(key) {
            Some(base) => *base,
            None => Base::of(self.session.record(key).as_ref()),
        }
    }

    /// A new record; the key of one without a name is random.
    pub(crate) fn create(
        &mut self,
        parent: RecordKey,
        collection: &str,
        name: Option<&str>,
        encoded: Encoded,
        access: &Access,
        base: Base,
    ) -> Result<RecordKey, CommitError> {
        self.introduce(&access.introduce);
        let Encoded { body, descriptor } = encoded;
        let scope = self.draft.scope_below(&parent)?;
        if !access.makes_scope() {
            self.define(scope, &descriptor)?;
        }
        let options = CreateOptions {
            supersedes: base.reference(),
            write: access.write.clone(),
            readers: access.readers.clone(),
            defines: false,
        };
        let event = self.draft.len() as u32;
        let key = self
            .draft
            .create(parent, collection, name, &descriptor.id(), body, options)?;
        if access.makes_scope() {
            self.rekeyed.insert(key);
            // The scope begins with this record, so its schema is defined below it, in the same commit.
            self.define(key, &descriptor)?;
        }
        self.stage(key, event, base, What::Content(descriptor));
        Ok(key)
    }

    /// A record that a refused commit was to create, under the key that it had there.
    pub(crate) fn create_again(
        &mut self,
        change: &Change,
        name: Option<(&str, &str)>,
        encoded: Encoded,
        base: Base,
    ) -> Result<(), CommitError> {
        let Change::Create { key, parent, .. } = change else {
            return Ok(());
        };
        let Encoded { body, descriptor } = encoded;
        let scope = self.draft.scope_below(parent)?;
        self.define(scope, &descriptor)?;
        let event = self.draft.len() as u32;
        self.draft
            .create_again(change, name, &descriptor.id(), body, base.reference())?;
        self.stage(*key, event, base, What::Content(descriptor));
        Ok(())
    }

    /// New content for a record that stands.
    pub(crate) fn write_over(
        &mut self,
        key: RecordKey,
        base: Base,
        encoded: Encoded,
        access: &Access,
    ) -> Result<(), CommitError> {
        self.introduce(&access.introduce);
        let Encoded { body, descriptor } = encoded;
        let mut readers = access.readers.clone();
        let heads_scope = self
            .session
            .record(&key)
            .is_some_and(|record| record.scope_head);
        if let (true, Some(Readers::Only(listed))) = (heads_scope, &readers) {
            // It is a scope already: the new readers get a new key.
            let mut listed = listed.clone();
            listed.push(self.session.author.identity().who().clone());
            self.rotate(key, listed)?;
            readers = None;
        }
        let makes_scope = matches!(readers, Some(Readers::Only(_) | Readers::Public));
        if !makes_scope {
            let scope = match &readers {
                Some(_) => self
                    .session
                    .local()
                    .scope_above(&key)
                    .ok_or(SealError::NoRecord { key })?,
                None => self.draft.scope_below(&key)?,
            };
            self.define(scope, &descriptor)?;
        }
        let event = self.draft.len() as u32;
        self.draft.update(
            key,
            base.reference(),
            &descriptor.id(),
            body,
            access.write.clone(),
            readers,
        )?;
        if makes_scope {
            self.rekeyed.insert(key);
            self.define(key, &descriptor)?;
        }
        self.stage(key, event, base, What::Content(descriptor));
        Ok(())
    }

    /// A new key for a scope, for `readers` alone.
    pub(crate) fn rotate(
        &mut self,
        scope: RecordKey,
        readers: Vec<Who>,
    ) -> Result<(), CommitError> {
        self.draft.rotate(scope, readers, true)?;
        self.rekeyed.insert(scope);
        Ok(())
    }

    /// Other content for a record that this transaction writes already.
    pub(crate) fn replace(&mut self, key: &RecordKey, encoded: Encoded) -> Result<(), CommitError> {
        let Encoded { body, descriptor } = encoded;
        let Some(staged) = self.writes.get(key) else {
            return Ok(());
        };
        let event = staged.event;
        let same = matches!(&staged.what, What::Content(known) if Arc::ptr_eq(known, &descriptor));
        if !same {
            // A record that heads a scope, or is to, has its schema there.
            let scope = self.draft.scope_below(key)?;
            self.define(scope, &descriptor)?;
        }
        self.draft.replace_content(event, &descriptor.id(), body)?;
        if let Some(staged) = self.writes.get_mut(key) {
            staged.what = What::Content(descriptor);
        }
        Ok(())
    }

    /// Ends a record.
    pub(crate) fn remove(&mut self, key: RecordKey, target: &Target) -> Result<(), CommitError> {
        self.refresh(&key);
        let absent = || ReadError::NotFound {
            name: shown(target),
        };
        let base = match self.writes.get(&key) {
            Some(staged) if matches!(staged.what, What::Removal | What::Erasure) => {
                return Err(absent().into());
            }
            Some(staged) => {
                let base = staged.base;
                self.unstage(&key);
                if !base.live {
                    // It only ever existed in here.
                    return Ok(());
                }
                base
            }
            None => self.base(&key),
        };
        let version = base.live_version().ok_or_else(absent)?;
        self.draft.remove(key, version.reference());
        let event = self.draft.len() as u32 - 1;
        self.stage(key, event, base, What::Removal);
        Ok(())
    }

    /// Ends a record, if it lives, and destroys what it ever held. Follows other writers by itself unless the record was read before.
    pub(crate) fn erase(&mut self, key: RecordKey, target: &Target) -> Result<(), CommitError> {
        self.refresh(&key);
        let base = match self.writes.get(&key) {
            Some(staged) if matches!(staged.what, What::Erasure) => return Ok(()),
            Some(staged) => {
                let base = staged.base;
                self.unstage(&key);
                if base.version.is_none() {
                    // It only ever existed in here.
                    return Ok(());
                }
                base
            }
            None => self.base(&key),
        };
        let name = || shown(target);
        let version = base
            .version
            .ok_or_else(|| ReadError::NotFound { name: name() })?;
        let stored = self.session.record(&key);
        if stored.is_some_and(|record| record.erased && record.version == version) {
            return Err(ReadError::Erased { name: name() }.into());
        }
        self.draft.erase(key, version.reference());
        let event = self.draft.len() as u32 - 1;
        self.stage(key, event, base, What::Erasure);
        if !self.reads.contains_key(&key) {
            let blind = Blind {
                target: target.clone(),
                access: Access::default(),
                again: Self::erase_again,
            };
            if let Some(staged) = self.writes.get_mut(&key) {
                staged.blind = Some(Box::new(blind));
            }
        }
        Ok(())
    }

    /// Stages an erasure again over what stands there now.
    fn erase_again(&mut self, key: &RecordKey) -> Result<bool, CommitError> {
        let Some(blind) = self.writes.get(key).and_then(|staged| staged.blind.clone()) else {
            return Ok(false);
        };
        self.unstage(key);
        self.erase(*key, &blind.target)?;
        Ok(true)
    }

    /// Whether a record is erased.
    pub(crate) fn erases(&self) -> bool {
        self.writes
            .values()
            .any(|staged| matches!(staged.what, What::Erasure))
    }

    /// Writes a record, whatever stands there or as expected.
    pub(crate) fn put<T: Record>(
        &mut self,
        target: &Target,
        value: &T,
        expect: Expect,
        access: &Access,
    ) -> Result<RecordKey, CommitError> {
        if let Target::Name(name) = target {
            check_name(name)?;
        }
        let key = self.session.resolve(target)?;
        self.refresh(&key);
        let (base, what) = match self.writes.get(&key) {
            Some(staged) => (staged.base, Some(staged.what.clone())),
            None => (self.base(&key), None),
        };
        let stands = match &what {
            Some(What::Content(_)) => Some(STAGED),
            Some(What::Removal) => None,
            // One commit changes a record once: what follows an erasure takes another.
            Some(What::Policy | What::Erasure) => return Err(CommitError::Staged { key }),
            None => base.live_version(),
        };
        check_expectation(expect, stands, target)?;
        match what {
            Some(What::Content(descriptor)) => {
                let event = self.writes[&key].event;
                let unknown = staged_unknown::<T>(&self.draft, event, &descriptor, target)?;
                self.replace(&key, encode_spliced(value, &unknown)?)?;
                return Ok(key);
            }
            Some(_) => {
                // Removed in here before: what stood there is replaced as a whole.
                self.unstage(&key);
                let encoded = encode_spliced(value, &Unknown::default())?;
                self.write_over(key, base, encoded, access)?;
                return Ok(key);
            }
            None => {}
        }
        match target {
            _ if base.live => {
                let unknown = match self.session.live(&key) {
                    Some(record) => self.stored_unknown::<T>(&record, target)?,
                    // It is gone again: the commit will say so.
                    None => Unknown::default(),
                };
                self.write_over(key, base, encode_spliced(value, &unknown)?, access)?;
            }
            Target::Name(name) => {
                let encoded = encode_spliced(value, &Unknown::default())?;
                self.create(RecordKey::ROOT, NAMED, Some(name), encoded, access, base)?;
            }
            target => {
                return Err(ReadError::NotFound {
                    name: shown(target),
                }
                .into());
            }
        }
        if expect == Expect::Anything && !self.reads.contains_key(&key) {
            let blind = Blind {
                target: target.clone(),
                access: access.clone(),
                again: Self::put_again::<T>,
            };
            if let Some(staged) = self.writes.get_mut(&key) {
                staged.blind = Some(Box::new(blind));
            }
        }
        Ok(key)
    }

    /// Stages a blind write again over what stands there now; `false` if it cannot be taken apart from the rest of the draft.
    fn put_again<T: Record>(&mut self, key: &RecordKey) -> Result<bool, CommitError> {
        let Some((staged, blind)) = self
            .writes
            .get(key)
            .and_then(|staged| Some((staged, staged.blind.clone()?)))
        else {
            return Ok(false);
        };
        let (What::Content(descriptor), Some(content)) =
            (&staged.what, self.draft.content(staged.event))
        else {
            return Ok(false);
        };
        let plan = Plan::of::<T>(descriptor);
        let (value, _) = decode::<T>(content, &plan).map_err(|source| ReadError::Schema {
            name: shown(&blind.target),
            source,
        })?;
        // Before anything is taken back: it may have to be fetched.
        if let Some(record) = self.session.live(key) {
            let _unknown = self.stored_unknown::<T>(&record, &blind.target)?;
        }
        if blind.access.readers.is_some() {
            // Grants and schema of the scope hang on the event: only a draft of this write alone can be begun anew.
            if self.writes.len() > 1 {
                return Ok(false);
            }
            self.withdraw();
            self.writes.clear();
            self.defines.clear();
            self.schemas.clear();
            self.rekeyed.clear();
            self.draft = Draft::new(self.session.author.clone());
        } else {
            self.unstage(key);
        }
        self.put(&blind.target, &value, Expect::Anything, &blind.access)?;
        Ok(true)
    }

    /// What a stored record holds that `T` does not know. A record of the very same schema holds nothing.
    fn stored_unknown<T: Record>(
        &self,
        record: &RecordInfo,
        target: &Target,
    ) -> Result<Unknown, CommitError> {
        let (scope, tag) = (record.sealed.0, record.schema);
        let same = self
            .session
            .author
            .schema_tag(&scope, &Descriptor::of::<T>().id())
            .is_ok_and(|own| own == tag);
        if same && replaces_all::<T>() {
            return Ok(Unknown::default());
        }
        let plan = self.session.plan::<T>(&scope, tag, record.key)?;
        let named = |source| ReadError::Schema {
            name: shown(target),
            source,
        };
        plan.check().map_err(|source| named(source.clone()))?;
        plan.check_rewrite().map_err(|newer| newer.clone())?;
        let opened = self
            .session
            .local()
            .open_content(&self.session.author, &record.key)
            .map_err(ReadError::from)?;
        Ok(unknown_of::<T>(&opened.content, &plan).map_err(named)?)
    }

    fn stage(&mut self, key: RecordKey, event: u32, base: Base, what: What) {
        let staged = Staged {
            event,
            base,
            what,
            blind: None,
        };
        self.writes.insert(key, staged);
    }

    /// Notes a change of policy alone, drafted last.
    pub(crate) fn stage_policy(&mut self, key: RecordKey, base: Base) {
        let event = self.draft.len() as u32 - 1;
        self.stage(key, event, base, What::Policy);
    }

    /// Takes a staged write back.
    fn unstage(&mut self, key: &RecordKey) {
        if let Some(staged) = self.writes.remove(key) {
            self.take_back(staged.event);
        }
    }

    fn take_back(&mut self, event: u32) {
        self.draft.take_back(event);
        self.writes
            .values_mut()
            .filter(|staged| staged.event > event)
            .for_each(|staged| staged.event -= 1);
    }

    fn introduce(&mut self, who: &[Who]) {
        for who in who {
            if !self.session.local().knows(&who.id()) {
                self.draft.introduce(who.clone());
            }
        }
    }

    /// Makes sure that a schema exists in a scope when the commit is judged.
    pub(crate) fn define(
        &mut self,
        scope: RecordKey,
        descriptor: &Arc<Descriptor>,
    ) -> Result<(), CommitError> {
        let known = self
            .schemas
            .iter()
            .any(|(at, used)| *at == scope && Arc::ptr_eq(used, descriptor));
        if known {
            return Ok(());
        }
        self.schemas.push((scope, descriptor.clone()));
        self.define_now(scope, descriptor, true)
    }

    /// Puts the definition into the draft unless the chain has it, or, if `trusting`, another commit on its way says that it brings it.
    fn define_now(
        &mut self,
        scope: RecordKey,
        descriptor: &Arc<Descriptor>,
        trusting: bool,
    ) -> Result<(), CommitError> {
        let tag = SchemaTag(self.draft.name_key(scope)?.schema_tag(&descriptor.id()));
        let own = |(_, at, own): &(RecordKey, RecordKey, SchemaTag)| (*at, *own) == (scope, tag);
        if self.defines.iter().any(own) || self.session.local().defines(&scope, &tag) {
            return Ok(());
        }
        let mut announced = self.session.shared.announced.lock();
        if trusting && announced.contains(&(scope, tag)) {
            return Ok(());
        }
        let options = CreateOptions {
            defines: true,
            ..CreateOptions::default()
        };
        let (id, name): (Hash, String) = (descriptor.id(), descriptor.id().to_string());
        let key = self.draft.create(
            scope,
            SCHEMAS,
            Some(&name),
            &id,
            descriptor.as_bytes().to_vec(),
            options,
        )?;
        announced.insert((scope, tag));
        self.defines.push((key, scope, tag));
        Ok(())
    }

    /// What was announced is confirmed by now, or not coming.
    pub(crate) fn withdraw(&self) {
        if !self.defines.is_empty() {
            let mut announced = self.session.shared.announced.lock();
            self.defines.iter().for_each(|(_, scope, tag)| {
                announced.remove(&(*scope, *tag));
            });
        }
    }

    /// Seals the draft, with what was read as preconditions if they are wanted.
    pub(crate) fn seal(&mut self) -> Result<Sealed, CommitError> {
        let mut preconditions = 0;
        if self.serializable {
            for (key, base) in &self.reads {
                if !self.writes.contains_key(key) {
                    self.draft.require(*key, base.reference());
                    preconditions += 1;
                }
            }
        }
        let sealed = if self.draft.len() > EVENTS_MAX as usize {
            Err(SealError::Limit {
                what: "events in a commit",
                got: self.draft.len() as u64,
                max: EVENTS_MAX.into(),
            })
        } else {
            let now_ms = self.session.shared.clock.now_ms();
            self.draft.seal_again(now_ms)
        };
        // They stand at the end, and are made anew if the commit is sent again.
        for _ in 0..preconditions {
            self.draft.take_back(self.draft.len() as u32 - 1);
        }
        Ok(sealed?)
    }

    /// Changes the draft so that a refusal which says nothing about the caller's intent goes away; `false` if it cannot.
    pub(crate) fn follow(&mut self, reject: &ate_chain::Reject) -> Result<bool, CommitError> {
        use ate_chain::Reject;
        match reject {
            // Somebody else defined the schema first.
            Reject::Conflict { key, .. }
                if self.defines.iter().any(|(define, ..)| define == key) =>
            {
                let Some(event) = self.draft.event_of(key) else {
                    return Ok(false);
                };
                self.withdraw();
                self.take_back(event);
                self.defines.retain(|(define, ..)| define != key);
                Ok(true)
            }
            // The definition that this commit relied on has not come: another transaction announced it and was not committed, or was refused.
            Reject::UnknownSchema { .. } => {
                for (scope, descriptor) in self.schemas.clone() {
                    self.define_now(scope, &descriptor, false)?;
                }
                Ok(true)
            }
            // Somebody else gave the scope a new key that this commit gives one too.
            Reject::StaleEpoch { scope, .. } if self.rekeyed.contains(scope) => {
                self.stage_again(scope)
            }
            Reject::StaleEpoch { .. } => {
                self.draft.refresh_keys();
                Ok(true)
            }
            // The lane has come past that number, or has seen more than the commit had: that one is dead, so its events may be sent under another.
            Reject::Spent { .. } | Reject::Behind { .. } => Ok(true),
            // A write without a read follows whatever stands there now.
            Reject::Conflict { key, .. } => self.stage_again(key),
            _ => Ok(false),
        }
    }

    fn stage_again(&mut self, key: &RecordKey) -> Result<bool, CommitError> {
        match self.writes.get(key).and_then(|staged| staged.blind.clone()) {
            Some(blind) => (blind.again)(self, key),
            None => Ok(false),
        }
    }
}

impl Drop for State {
    /// A transaction that is discarded takes back what it announced.
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Whether a value of `T` leaves nothing of a stored value of the same schema: documents of the codec `json` may hold more than the type names.
fn replaces_all<T: Record>() -> bool {
    T::CODEC != Codec::Json || std::any::TypeId::of::<T>() == std::any::TypeId::of::<Json>()
}

/// What a staged value holds that `T` does not know.
fn staged_unknown<T: Record>(
    draft: &Draft,
    event: u32,
    descriptor: &Arc<Descriptor>,
    target: &Target,
) -> Result<Unknown, CommitError> {
    if descriptor == Descriptor::of::<T>() && replaces_all::<T>() {
        return Ok(Unknown::default());
    }
    let content = draft.content(event).unwrap_or_default();
    let plan = Plan::of::<T>(descriptor);
    let named = |source| ReadError::Schema {
        name: shown(target),
        source,
    };
    plan.check().map_err(|source| named(source.clone()))?;
    Ok(unknown_of::<T>(content, &plan).map_err(named)?)
}

fn check_expectation(
    expect: Expect,
    stands: Option<Version>,
    target: &Target,
) -> Result<(), CommitError> {
    match (expect, stands) {
        (Expect::Absent, Some(version)) => Err(CommitError::Exists {
            name: shown(target),
            version,
        }),
        (Expect::Version(expected), stored) if stored != Some(expected) => {
            Err(CommitError::NotAtVersion {
                name: shown(target),
                expected,
                stored,
            })
        }
        _ => Ok(()),
    }
}
