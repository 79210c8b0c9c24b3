//! What an author means to change, before it is sealed.
//!
//! A draft fixes record keys as it grows, so that later events can hang below earlier ones, and keeps plaintext. [`Draft::seal`] turns it into bytes
//! that nobody without the scope's key can read.

use std::collections::HashMap;
use std::sync::Arc;

use ate_crypto::{Hash, Identity, KeyId, NameKey, Random, ReadKey, Who};

use crate::error::SealError;
use crate::event::{CONTENT_BYTES_MAX, Change};
use crate::head::EVENTS_MAX;
use crate::ids::{CollectionTag, Position, RecordKey, Ref, SchemaTag};
use crate::keyring::{Keyring, ScopeKeys};
use crate::local::Local;
use crate::policy::{ReadPolicy, WritePolicy};
use crate::table::KeyMap;

/// Longest name and collection in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

/// Who is to read a record and what is below it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Readers {
    /// As the record above says.
    Inherit,
    /// Everyone who holds the chain.
    Public,
    /// These, and the author.
    Only(Vec<Who>),
}

/// What a creation says besides its content.
#[derive(Clone)]
pub struct CreateOptions {
    /// `Absent`, or the tombstone it comes back from.
    pub supersedes: Ref,
    /// Write policy of its own.
    pub write: Option<WritePolicy>,
    /// Read policy of its own.
    pub readers: Option<Readers>,
    /// The record is the descriptor of this schema.
    pub defines: bool,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            supersedes: Ref::Absent,
            write: None,
            readers: None,
            defines: false,
        }
    }
}

/// One intended change.
#[derive(Clone)]
pub(crate) enum Intent {
    Create {
        key: RecordKey,
        parent: RecordKey,
        collection: CollectionTag,
        token: [u8; 16],
        schema: SchemaTag,
        supersedes: Ref,
        defines: bool,
    },
    Update {
        key: RecordKey,
        schema: SchemaTag,
        supersedes: Ref,
    },
    Remove {
        key: RecordKey,
        supersedes: Ref,
    },
    Require {
        key: RecordKey,
        version: Ref,
    },
    Erase {
        key: RecordKey,
        supersedes: Ref,
    },
    Horizon {
        position: Position,
    },
    Introduce(Who),
    Grant {
        scope: RecordKey,
        to: Who,
    },
    Rotate {
        scope: RecordKey,
        link: bool,
    },
}

/// An intended change with its plaintext.
pub(crate) struct DraftEvent {
    pub(crate) intent: Intent,
    pub(crate) write: Option<WritePolicy>,
    pub(crate) read: Option<ReadPolicy>,
    /// Scope of the name and the plaintext of the meta.
    pub(crate) meta: Option<(RecordKey, Vec<u8>)>,
    /// Scope of the content and the plaintext.
    pub(crate) content: Option<(RecordKey, Vec<u8>)>,
}

/// Who drafts: an identity with the keys it holds in one chain. Cheap to clone.
#[derive(Clone)]
pub struct Author {
    pub(crate) local: Arc<Local>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) random: Arc<dyn Random>,
}

/// Changes of one author that become one commit.
pub struct Draft {
    author: Author,
    pub(crate) events: Vec<DraftEvent>,
    /// Keys of scopes used or made here.
    pub(crate) keys: HashMap<RecordKey, ScopeKeys>,
    /// Scope of a record that this draft creates.
    placed: KeyMap<RecordKey>,
    tags: TagCache,
    tokens: Tokens,
    /// Plaintext bytes so far.
    bytes: usize,
}

/// Random tokens, drawn many at a time once a draft shows that it needs many: a call costs more than its bytes.
#[derive(Default)]
struct Tokens {
    bytes: Vec<u8>,
    used: usize,
}

impl Tokens {
    const BYTES_MAX: usize = 4096;

    fn next(&mut self, random: &dyn Random) -> [u8; 16] {
        if self.used == self.bytes.len() {
            let more = (2 * self.bytes.len()).clamp(16, Self::BYTES_MAX);
            self.bytes.resize(more, 0);
            random.fill(&mut self.bytes);
            self.used = 0;
        }
        let token = self.bytes[self.used..self.used + 16]
            .try_into()
            .expect("16 bytes");
        self.used += 16;
        token
    }
}

/// The last tags computed: bulk writes repeat them thousands of times.
#[derive(Default)]
struct TagCache {
    collection: Option<(RecordKey, Box<str>, CollectionTag)>,
    schema: Option<(RecordKey, Hash, SchemaTag)>,
    place: Option<(RecordKey, RecordKey)>,
}

impl Author {
    /// The acting identity.
    pub fn identity(&self) -> &Identity {
        &self.keyring.identity
    }

    /// Its key id.
    pub fn id(&self) -> KeyId {
        self.keyring.identity.id()
    }

    /// The chain.
    pub fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// The name key of the scope that a record's children are named in.
    ///
    /// # Errors
    /// The record does not exist, or the key is not held.
    pub fn name_key_below(
        &self,
        parent: &RecordKey,
    ) -> Result<(RecordKey, Arc<NameKey>), SealError> {
        let scope = self
            .local
            .scope_of(parent)
            .ok_or(SealError::NoRecord { key: *parent })?;
        Ok((scope, self.keyring.name_key(&self.local, &scope)?))
    }

    /// The key that a record of this name has, or would have.
    ///
    /// # Errors
    /// The parent does not exist, or its keys are not held.
    pub fn named_key(
        &self,
        parent: &RecordKey,
        collection: &str,
        name: &str,
    ) -> Result<RecordKey, SealError> {
        let (_, key) = self.name_key_below(parent)?;
        let token = key.token(&parent.0, collection, name);
        Ok(RecordKey(ate_crypto::record_key(
            &parent.0,
            &key.collection_tag(collection),
            &token,
        )))
    }

    /// The tag of a schema in a scope whose keys are held.
    ///
    /// # Errors
    /// The name key of the scope is not held.
    pub fn schema_tag(&self, scope: &RecordKey, schema: &Hash) -> Result<SchemaTag, SealError> {
        Ok(SchemaTag(
            self.keyring
                .name_key(&self.local, scope)?
                .schema_tag(schema),
        ))
    }
}

impl Draft {
    /// An empty draft.
    pub fn new(author: Author) -> Self {
        Self {
            author,
            events: Vec::new(),
            keys: HashMap::new(),
            placed: KeyMap::default(),
            tags: TagCache::default(),
            tokens: Tokens::default(),
            bytes: 0,
        }
    }

    /// Who drafts.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Plaintext bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The scope that records below `parent` inherit, as this draft leaves it.
    pub fn scope_below(&self, parent: &RecordKey) -> Result<RecordKey, SealError> {
        if let Some((key, scope)) = &self.tags.place
            && key == parent
        {
            return Ok(*scope);
        }
        let scope = self
            .author
            .local
            .scope_through(parent, |key| self.placed.get(key).copied());
        scope.ok_or(SealError::NoRecord { key: *parent })
    }

    /// A record below `parent`. Unnamed records get a random key.
    ///
    /// # Errors
    /// [`SealError`]; the draft is unchanged.
    pub fn create(
        &mut self,
        parent: RecordKey,
        collection: &str,
        name: Option<&str>,
        schema: &Hash,
        content: Vec<u8>,
        options: CreateOptions,
    ) -> Result<RecordKey, SealError> {
        self.room(&content)?;
        limit(
            "name",
            collection.len().max(name.map_or(0, str::len)) as u64,
            NAME_BYTES_MAX as u64,
        )?;
        let above = self.scope_below(&parent)?;
        self.tags.place = Some((parent, above));
        let name_key = self.keys_of(above)?.name.clone();
        let collection_tag = self.collection_tag(above, &name_key, collection);
        let token = match name {
            Some(name) => name_key.token(&parent.0, collection, name),
            None => self.tokens.next(&*self.author.random),
        };
        let key = RecordKey(ate_crypto::record_key(&parent.0, &collection_tag.0, &token));
        let meta = name.map(|name| (above, meta_plaintext(collection, name)));
        let (read, own, grants) = self.readers(key, above, options.readers)?;
        let schema = self.schema_tag(own, schema)?;
        self.placed.insert(key, own);
        if options.supersedes != Ref::Absent {
            // Records that outlived their parent come under its new scope.
            self.tags.place = None;
        }
        self.bytes += content.len();
        let intent = Intent::Create {
            key,
            parent,
            collection: collection_tag,
            token,
            schema,
            supersedes: options.supersedes,
            defines: options.defines,
        };
        self.events.push(DraftEvent {
            intent,
            write: options.write,
            read,
            meta,
            content: Some((own, content)),
        });
        self.grant_all(key, grants);
        Ok(key)
    }

    /// A record as another commit, which was refused, was to create it: below the same parent, in the same collection, under the same key. `name` is collection
    /// and name, if it had one.
    ///
    /// # Errors
    /// [`SealError`]; the draft is unchanged. [`SealError::NoRecord`] also if its name does not lead to its key any more.
    pub fn create_again(
        &mut self,
        change: &Change,
        name: Option<(&str, &str)>,
        schema: &Hash,
        content: Vec<u8>,
        supersedes: Ref,
    ) -> Result<(), SealError> {
        let Change::Create {
            key,
            parent,
            collection,
            token,
            ..
        } = change
        else {
            return Ok(());
        };
        self.room(&content)?;
        let scope = self.scope_below(parent)?;
        if let Some((collection, name)) = name {
            let name_key = self.keys_of(scope)?.name.clone();
            if name_key.token(&parent.0, collection, name) != *token {
                return Err(SealError::NoRecord { key: *key });
            }
        }
        let schema = self.schema_tag(scope, schema)?;
        self.placed.insert(*key, scope);
        if supersedes != Ref::Absent {
            self.tags.place = None;
        }
        self.bytes += content.len();
        self.events.push(DraftEvent {
            intent: Intent::Create {
                key: *key,
                parent: *parent,
                collection: *collection,
                token: *token,
                schema,
                supersedes,
                defines: false,
            },
            write: None,
            read: None,
            meta: name.map(|(collection, name)| (scope, meta_plaintext(collection, name))),
            content: Some((scope, content)),
        });
        Ok(())
    }

    /// New content for a record that stands at `supersedes`; `above` is the scope of the record over it.
    ///
    /// # Errors
    /// [`SealError`]; the draft is unchanged.
    pub fn update(
        &mut self,
        key: RecordKey,
        supersedes: Ref,
        schema: &Hash,
        content: Vec<u8>,
        write: Option<WritePolicy>,
        readers: Option<Readers>,
    ) -> Result<(), SealError> {
        self.room(&content)?;
        let own = match &readers {
            None => self.scope_below(&key)?,
            Some(_) => {
                let parent = self.author.local.parent_of(&key);
                self.scope_below(&parent.ok_or(SealError::NoRecord { key })?)?
            }
        };
        let (read, own, grants) = self.readers(key, own, readers)?;
        let schema = self.schema_tag(own, schema)?;
        self.placed.insert(key, own);
        self.tags.place = None;
        self.bytes += content.len();
        self.keys_of(own)?;
        self.events.push(DraftEvent {
            intent: Intent::Update {
                key,
                schema,
                supersedes,
            },
            write,
            read,
            meta: None,
            content: Some((own, content)),
        });
        self.grant_all(key, grants);
        Ok(())
    }

    /// A new write policy for a record without content, such as the root record.
    pub fn set_write_policy(&mut self, key: RecordKey, supersedes: Ref, write: WritePolicy) {
        let intent = Intent::Update {
            key,
            schema: SchemaTag::default(),
            supersedes,
        };
        self.events.push(DraftEvent {
            intent,
            write: Some(write),
            read: None,
            meta: None,
            content: None,
        });
    }

    /// Ends a record.
    pub fn remove(&mut self, key: RecordKey, supersedes: Ref) {
        self.push(Intent::Remove { key, supersedes });
    }

    /// Ends a record, if it lives, and destroys its name and all its contents so far. [`Local::finish_erasures`] has to follow the commit.
    pub fn erase(&mut self, key: RecordKey, supersedes: Ref) {
        self.push(Intent::Erase { key, supersedes });
    }

    /// Lets the chain drop contents that were superseded before `position`.
    pub fn set_horizon(&mut self, position: Position) {
        self.push(Intent::Horizon { position });
    }

    /// Makes the commit depend on a record's version.
    pub fn require(&mut self, key: RecordKey, version: Ref) {
        self.push(Intent::Require { key, version });
    }

    /// Makes a public key known, so that it can author commits.
    pub fn introduce(&mut self, who: Who) {
        self.push(Intent::Introduce(who));
    }

    /// Gives a reader the current keys of the scope headed by `scope`.
    ///
    /// # Errors
    /// The author does not hold them.
    pub fn grant(&mut self, scope: RecordKey, to: Who) -> Result<(), SealError> {
        self.keys_of(scope)?;
        self.push(Intent::Grant { scope, to });
        Ok(())
    }

    /// Gives a scope a new read key for `readers` and the author. `link` lets them read what was written before.
    ///
    /// # Errors
    /// The author does not hold the old keys.
    pub fn rotate(
        &mut self,
        scope: RecordKey,
        readers: Vec<Who>,
        link: bool,
    ) -> Result<(), SealError> {
        let old = self.keys_of(scope)?.clone();
        let read = Arc::new(ReadKey::generate(&*self.author.random));
        self.keys.insert(
            scope,
            ScopeKeys {
                epoch: old.epoch + 1,
                read,
                name: old.name,
            },
        );
        self.push(Intent::Rotate { scope, link });
        // Held in memory the author's key would be gone with the process.
        let mut readers = readers;
        readers.push(self.author.identity().who().clone());
        self.grant_all(scope, readers);
        Ok(())
    }

    /// Index of the event that creates, changes or ends `key`.
    pub fn event_of(&self, key: &RecordKey) -> Option<u32> {
        let targets = |event: &DraftEvent| match &event.intent {
            Intent::Create { key, .. }
            | Intent::Update { key, .. }
            | Intent::Remove { key, .. }
            | Intent::Erase { key, .. } => Some(*key),
            _ => None,
        };
        self.events
            .iter()
            .position(|event| targets(event) == Some(*key))
            .map(|index| index as u32)
    }

    /// The plaintext that event `index` would write.
    pub fn content(&self, index: u32) -> Option<&[u8]> {
        self.events
            .get(index as usize)?
            .content
            .as_ref()
            .map(|(_, content)| content.as_slice())
    }

    /// Other content for an event that writes some.
    ///
    /// # Errors
    /// As [`Draft::update`].
    pub fn replace_content(
        &mut self,
        index: u32,
        schema: &Hash,
        content: Vec<u8>,
    ) -> Result<(), SealError> {
        limit("body", content.len() as u64, CONTENT_BYTES_MAX.into())?;
        let Some(scope) = self
            .events
            .get(index as usize)
            .and_then(|event| event.content.as_ref())
            .map(|(scope, _)| *scope)
        else {
            return Ok(());
        };
        let tag = self.schema_tag(scope, schema)?;
        let event = &mut self.events[index as usize];
        match &mut event.intent {
            Intent::Create { schema, .. } | Intent::Update { schema, .. } => *schema = tag,
            _ => {}
        }
        event.content = Some((scope, content));
        Ok(())
    }

    /// The event supersedes another version than was thought.
    pub fn set_supersedes(&mut self, index: u32, version: Ref) {
        if let Some(event) = self.events.get_mut(index as usize) {
            match &mut event.intent {
                Intent::Create { supersedes, .. }
                | Intent::Update { supersedes, .. }
                | Intent::Remove { supersedes, .. }
                | Intent::Erase { supersedes, .. } => *supersedes = version,
                _ => {}
            }
        }
    }

    /// Takes an event back. Events behind it move up by one.
    pub fn take_back(&mut self, index: u32) {
        if (index as usize) < self.events.len() {
            self.events.remove(index as usize);
            self.tags = TagCache::default();
        }
    }

    /// Forgets keys of scopes that this draft did not make, so that the next sealing takes the current ones.
    pub fn refresh_keys(&mut self) {
        let made = |events: &[DraftEvent], scope: &RecordKey| {
            events.iter().any(|event| match &event.intent {
                Intent::Rotate { scope: rotated, .. } => rotated == scope,
                Intent::Create { key, .. } | Intent::Update { key, .. } => {
                    key == scope && event.read.is_some()
                }
                _ => false,
            })
        };
        let events = std::mem::take(&mut self.events);
        self.keys.retain(|scope, _| made(&events, scope));
        self.events = events;
    }

    fn push(&mut self, intent: Intent) {
        self.events.push(DraftEvent {
            intent,
            write: None,
            read: None,
            meta: None,
            content: None,
        });
    }

    fn room(&self, content: &[u8]) -> Result<(), SealError> {
        limit("body", content.len() as u64, CONTENT_BYTES_MAX.into())?;
        limit(
            "events in a commit",
            self.events.len() as u64 + 1,
            EVENTS_MAX.into(),
        )
    }

    /// The name key of a scope, one that this draft makes included.
    ///
    /// # Errors
    /// The author does not hold it.
    pub fn name_key(&mut self, scope: RecordKey) -> Result<Arc<NameKey>, SealError> {
        Ok(self.keys_of(scope)?.name.clone())
    }

    pub(crate) fn keys_of(&mut self, scope: RecordKey) -> Result<&ScopeKeys, SealError> {
        if !self.keys.contains_key(&scope) {
            let keys = self.author.keyring.current(&self.author.local, &scope)?;
            self.keys.insert(scope, keys);
        }
        Ok(&self.keys[&scope])
    }

    fn collection_tag(
        &mut self,
        scope: RecordKey,
        key: &NameKey,
        collection: &str,
    ) -> CollectionTag {
        match &self.tags.collection {
            Some((at, name, tag)) if *at == scope && **name == *collection => *tag,
            _ => {
                let tag = CollectionTag(key.collection_tag(collection));
                self.tags.collection = Some((scope, collection.into(), tag));
                tag
            }
        }
    }

    fn schema_tag(&mut self, scope: RecordKey, schema: &Hash) -> Result<SchemaTag, SealError> {
        match &self.tags.schema {
            Some((at, hash, tag)) if *at == scope && hash == schema => Ok(*tag),
            _ => {
                let tag = SchemaTag(self.keys_of(scope)?.name.schema_tag(schema));
                self.tags.schema = Some((scope, *schema, tag));
                Ok(tag)
            }
        }
    }

    /// The read policy that `readers` means at `key`, the scope its content belongs to, and whom to grant.
    fn readers(
        &mut self,
        key: RecordKey,
        above: RecordKey,
        readers: Option<Readers>,
    ) -> Result<(Option<ReadPolicy>, RecordKey, Vec<Who>), SealError> {
        let readers = match readers {
            None => return Ok((None, above, Vec::new())),
            Some(Readers::Inherit) => return Ok((Some(ReadPolicy::Inherit), above, Vec::new())),
            Some(readers) => readers,
        };
        let random = self.author.random.clone();
        // A record that was a scope before keeps its name key, so that its children keep their names.
        let name = match self.author.keyring.name_key(&self.author.local, &key) {
            Ok(name) => name,
            Err(_) => Arc::new(NameKey::generate(&*random)),
        };
        let epoch = self
            .author
            .local
            .with_state(|state| state.scopes.get(&key).map_or(0, |scope| scope.epoch))
            + 1;
        let read = Arc::new(ReadKey::generate(&*random));
        let (policy, grants) = match readers {
            Readers::Only(mut who) => {
                who.push(self.author.identity().who().clone());
                (
                    ReadPolicy::Keys {
                        commitment: read.scope_commitment(),
                    },
                    who,
                )
            }
            _ => (ReadPolicy::public(&read, &name), Vec::new()),
        };
        self.keys.insert(key, ScopeKeys { epoch, read, name });
        Ok((Some(policy), key, grants))
    }

    fn grant_all(&mut self, scope: RecordKey, mut readers: Vec<Who>) {
        readers.sort_by_key(Who::id);
        readers.dedup_by_key(|who| who.id());
        readers
            .into_iter()
            .for_each(|to| self.push(Intent::Grant { scope, to }));
    }
}

fn limit(what: &'static str, got: u64, max: u64) -> Result<(), SealError> {
    if got > max {
        Err(SealError::Limit { what, got, max })
    } else {
        Ok(())
    }
}

/// Plaintext of a record's meta.
fn meta_plaintext(collection: &str, name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + collection.len() + name.len());
    out.push(1);
    crate::codec::put_bytes(&mut out, collection.as_bytes());
    crate::codec::put_bytes(&mut out, name.as_bytes());
    out
}

/// Collection and name in the plaintext of a meta; `None` if it is not well formed.
pub fn parse_meta(plaintext: &[u8]) -> Option<(&str, &str)> {
    let mut reader = crate::codec::Reader::new(plaintext);
    if reader.u8().ok()? != 1 {
        return None;
    }
    let collection = std::str::from_utf8(reader.bytes(NAME_BYTES_MAX).ok()?).ok()?;
    let name = std::str::from_utf8(reader.bytes(NAME_BYTES_MAX).ok()?).ok()?;
    reader.finish().ok()?;
    Some((collection, name))
}
