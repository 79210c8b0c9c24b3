//! Reading bodies and older versions. Bytes from the log are believed only through hashes that the state holds.

use ate_crypto::merkle::leaf_hash;
use ate_crypto::{KeyId, Part, PartAt, PartContext, SealKey, sha256};
use ate_log::Location;
use std::sync::Arc;

use crate::bodies::body_places;
use crate::cache::SealKeyId;
use crate::commit::{Commit, Contents};
use crate::draft::Author;
use crate::error::ReadError;
use crate::event::{Change, EventHead};
use crate::head::{CommitHead, chain_leaf};
use crate::ids::{ChainId, Epoch, RecordKey, SchemaTag, Version};
use crate::local::Local;
use crate::observe::{ConfirmedCommit, RowChange, SealedName};
use crate::replica::ContentId;
use crate::state::{CommitRow, State};
use crate::table::{Row, Slot, flag};

/// An opened body.
#[derive(Debug)]
pub struct Opened {
    /// Version of the record.
    pub version: Version,
    /// Its schema.
    pub schema: SchemaTag,
    /// Scope that it is sealed under.
    pub scope: RecordKey,
    /// Who wrote it.
    pub author: KeyId,
    /// The sequencer's time of the commit.
    pub order_time_ms: u64,
    /// Plaintext.
    pub content: Vec<u8>,
}

/// A commit as its history shows it.
#[derive(Debug)]
pub struct CommitInfo {
    /// Leaf number.
    pub seq: u64,
    /// Commit id.
    pub id: ate_crypto::Hash,
    /// The sequencer's time.
    pub order_time_ms: u64,
    /// The author's head.
    pub head: CommitHead,
    /// Events in order.
    pub events: Vec<EventHead>,
    /// Bytes of the signed heads.
    pub head_bytes: u64,
    /// Bytes of the sealed names.
    pub meta_bytes: u64,
    /// Bytes of the sealed contents.
    pub content_bytes: u64,
}

/// Everything that opening one event's content takes.
struct Sought {
    version: Version,
    event: EventHead,
    prefix: Vec<u8>,
    commit: CommitRow,
    author: KeyId,
    content: Location,
    scope: RecordKey,
    epoch: Epoch,
}

impl Local {
    /// Opens the newest content of a record.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] for a record that does not exist now, [`ReadError::Erased`] if an erasure ended it, [`ReadError::Damaged`] if the stored bytes
    /// are not what was signed.
    ///
    /// # Cost
    /// Two positioned reads, two hashes, one decryption: 2 to 3 µs for a record of 200 bytes in the page cache.
    pub fn open_content(&self, author: &Author, key: &RecordKey) -> Result<Opened, ReadError> {
        if self.is_overlaid()
            && let Some(opened) = self.open_staged(author, key)
        {
            return opened;
        }
        let (row, commit, writer, (scope, epoch), schema) = {
            let state = self.state.read();
            let slot = state
                .table
                .slot(key)
                .ok_or(ReadError::NotFound { key: *key })?;
            let row = *state.table.row(slot);
            if !row.is(flag::LIVE) || !row.is(flag::CONTENT) {
                return Err(ended(&state, &row, slot));
            }
            let commit = state.commits[row.seq as usize];
            (
                row,
                commit,
                *state.authors.value(commit.author),
                *state.seals.value(row.sealed),
                *state.schemas.value(row.schema),
            )
        };
        let at = Location {
            file: commit.file,
            offset: row.head_offset,
        };
        let mut head = vec![0; row.head_bytes.into()];
        self.log.read(at, &mut head)?;
        if leaf_hash(&head) != row.event_hash {
            return Err(ReadError::Damaged {
                at,
                why: "an event head does not match its verified hash",
            });
        }
        let (event, prefix) = EventHead::decode(&head).map_err(|_| ReadError::Damaged {
            at,
            why: "an event head does not decode",
        })?;
        head.truncate(prefix);
        let version = Version {
            seq: row.seq.into(),
            event: row.event.into(),
        };
        let content = self.content_place(&row, &commit, version)?;
        let sought = Sought {
            version,
            event,
            prefix: head,
            commit,
            author: writer,
            content,
            scope,
            epoch,
        };
        let plaintext = self
            .open_sought(author, &sought)
            .map_err(|error| self.explain(key, version, error))?;
        Ok(Opened {
            version,
            schema,
            scope,
            author: writer,
            order_time_ms: commit.order_time_ms,
            content: plaintext,
        })
    }

    /// Where the newest content of a record stands.
    fn content_place(
        &self,
        row: &Row,
        commit: &CommitRow,
        version: Version,
    ) -> Result<Location, ReadError> {
        match commit.contents() {
            Contents::InFrame => Ok(Location {
                file: commit.file,
                offset: row.content_offset,
            }),
            Contents::Apart => self.content_apart(ContentId::of(version)),
        }
    }

    fn open_sought(&self, author: &Author, sought: &Sought) -> Result<Vec<u8>, ReadError> {
        let Sought {
            version,
            event,
            prefix,
            commit,
            author: writer,
            content: at,
            scope,
            epoch,
        } = sought;
        let damaged = |why| ReadError::Damaged { at: *at, why };
        let signed = event
            .content
            .ok_or_else(|| damaged("the event has no content"))?;
        let mut sealed = vec![0; signed.bytes as usize];
        self.log.read_body(*at, &mut sealed)?;
        // Before any key is touched: decryption is not authorship.
        if sha256(&[&sealed]) != signed.hash {
            return Err(damaged("a body does not match its signed hash"));
        }
        let key = self.seal_key(author, commit, version.seq, *scope, *epoch)?;
        let part = PartAt {
            event: version.event,
            part: Part::Content,
        };
        let chain = self.chain_in(version.seq);
        let mut ad = Vec::with_capacity(128 + prefix.len());
        PartContext {
            chain: &chain.0,
            author: writer,
            salt: &commit.salt,
        }
        .ad(part, prefix, &mut ad);
        let plaintext = key
            .open(part, &ad, &mut sealed)
            .map_err(|_| damaged("a body does not open under its key"))?;
        Ok(plaintext.to_vec())
    }

    /// The seal key of a commit, after its read key was checked against the commitment in the signed head.
    fn seal_key(
        &self,
        author: &Author,
        commit: &CommitRow,
        seq: u64,
        scope: RecordKey,
        epoch: Epoch,
    ) -> Result<Arc<SealKey>, ReadError> {
        let id = SealKeyId {
            seq: seq as u32,
            scope,
            epoch,
        };
        if let Some(key) = author.keyring.seal_keys.get(&id) {
            return Ok(key);
        }
        let read = author.keyring.read_key(self, &scope, epoch)?;
        let at = Location {
            file: commit.file,
            offset: commit.heads,
        };
        let info = self.commit_head(commit, seq)?;
        let committed = info
            .commitments
            .iter()
            .find(|entry| entry.scope == scope && entry.epoch == epoch);
        if committed.map(|entry| entry.commitment) != Some(read.commitment(&commit.salt)) {
            return Err(ReadError::Damaged {
                at,
                why: "the read key is not the one that the commit was sealed under",
            });
        }
        let key = Arc::new(read.seal_key(&commit.salt));
        author.keyring.seal_keys.insert(id, key.clone());
        Ok(key)
    }

    /// The head of a commit, read back and matched with the chain's leaf.
    pub(crate) fn commit_head(
        &self,
        commit: &CommitRow,
        seq: u64,
    ) -> Result<CommitHead, ReadError> {
        const HEAD_BYTES_GUESS: u32 = 1024;
        let at = Location {
            file: commit.file,
            offset: commit.heads,
        };
        let damaged = |why| ReadError::Damaged { at, why };
        let mut bytes = vec![0; commit.heads_bytes().min(HEAD_BYTES_GUESS) as usize];
        self.log.read(at, &mut bytes)?;
        let mut reader = crate::codec::Reader::new(&bytes);
        let whole = reader.u64().and_then(|_| reader.bytes(bytes.len())).is_ok();
        if !whole {
            bytes = vec![0; commit.heads_bytes() as usize];
            self.log.read(at, &mut bytes)?;
        }
        let mut reader = crate::codec::Reader::new(&bytes);
        let order_time_ms = reader
            .u64()
            .map_err(|_| damaged("a commit head does not decode"))?;
        let head = reader
            .bytes(bytes.len())
            .map_err(|_| damaged("a commit head does not decode"))?;
        let id = crate::head::commit_id(&self.chain_in(seq), head);
        if chain_leaf(seq, order_time_ms, &id)
            != self
                .with_state(|state| state.tree.leaf(seq))
                .unwrap_or(ate_crypto::Hash::ZERO)
        {
            return Err(damaged("a commit does not match the chain's leaf"));
        }
        CommitHead::decode(head).map_err(|_| damaged("a commit head does not decode"))
    }

    /// The chain id that commit `seq` was sealed and hashed under.
    pub(crate) fn chain_in(&self, seq: u64) -> ChainId {
        if seq == 0 {
            ChainId::UNBORN
        } else {
            self.chain()
        }
    }

    /// A whole commit, read back and matched with the chain's leaf.
    ///
    /// # Errors
    /// [`ReadError`]; a commit beyond the end is not found.
    pub fn commit_at(&self, seq: u64) -> Result<CommitInfo, ReadError> {
        self.with_commit(seq, |commit, heads, metas, contents| CommitInfo {
            seq,
            id: commit.id,
            order_time_ms: commit.order_time_ms,
            head_bytes: heads,
            meta_bytes: metas,
            content_bytes: contents,
            head: commit.head,
            events: commit.events.into_iter().map(|event| event.head).collect(),
        })
    }

    fn with_commit<T>(
        &self,
        seq: u64,
        use_it: impl FnOnce(Commit<crate::commit::Unverified>, u64, u64, u64) -> T,
    ) -> Result<T, ReadError> {
        let row = self
            .with_state(|state| state.commits.get(seq as usize).copied())
            .ok_or(ReadError::NotFound {
                key: RecordKey::ROOT,
            })?;
        let at = Location {
            file: row.file,
            offset: row.frame,
        };
        let damaged = |why| ReadError::Damaged { at, why };
        let mut heads = vec![0; row.heads_bytes() as usize];
        self.log.read(
            Location {
                file: row.file,
                offset: row.heads,
            },
            &mut heads,
        )?;
        let commit = Commit::decode(&self.chain_in(seq), &heads)
            .map_err(|_| damaged("a commit does not decode"))?;
        if chain_leaf(seq, commit.order_time_ms, &commit.id)
            != self
                .with_state(|state| state.tree.leaf(seq))
                .unwrap_or(ate_crypto::Hash::ZERO)
        {
            return Err(damaged("a commit does not match the chain's leaf"));
        }
        let mut root = ate_crypto::merkle::RootBuilder::default();
        commit.events.iter().for_each(|event| root.push(event.hash));
        if root.root() != commit.head.events_root {
            return Err(damaged("events do not hash to the signed root"));
        }
        let sum = |body: fn(&EventHead) -> Option<crate::event::BodyHash>| {
            commit
                .events
                .iter()
                .filter_map(|event| body(&event.head))
                .map(|body| u64::from(body.bytes))
                .sum::<u64>()
        };
        let (metas, contents) = (sum(|head| head.meta), sum(|head| head.content));
        Ok(use_it(commit, heads.len() as u64, metas, contents))
    }

    /// Opens the content of a given version of a record.
    ///
    /// # Errors
    /// As [`Local::open_content`]; [`ReadError::Erased`] and [`ReadError::Dropped`] also while the bytes are still there.
    ///
    /// # Cost
    /// The whole commit is read back and hashed, and its key is found by trying the scopes that it names.
    pub fn open_version(
        &self,
        author: &Author,
        key: &RecordKey,
        version: Version,
    ) -> Result<Opened, ReadError> {
        let info = self.commit_at(version.seq)?;
        let event = info
            .events
            .get(version.event as usize)
            .filter(|event| event.target() == Some(*key))
            .ok_or(ReadError::NotFound { key: *key })?;
        if event.content.is_some() || matches!(event.change, Change::Erase { .. }) {
            self.check_kept(key, version)?;
        }
        let schema = match &event.change {
            Change::Create { schema, .. } | Change::Update { schema, .. } => *schema,
            _ => return Err(ReadError::NotFound { key: *key }),
        };
        let row = self.with_state(|state| state.commits[version.seq as usize]);
        let places = body_places(&row, info.events.iter());
        let content = match places[version.event as usize].content {
            Some(span) => span.at,
            None if event.content.is_some() && row.contents() == Contents::Apart => self
                .content_apart(ContentId {
                    seq: version.seq,
                    event: version.event,
                })?,
            None => return Err(ReadError::NotFound { key: *key }),
        };
        let mut prefix = Vec::new();
        event.encode_prefix(event.meta.is_some(), true, &mut prefix);
        // The chain does not say which of a commit's scopes an older version was sealed under: a key that is missing explains more than one that does
        // not fit.
        let (mut missing, mut last) = (None, ReadError::NotFound { key: *key });
        for commitment in &info.head.commitments {
            let sought = Sought {
                version,
                event: event.clone(),
                prefix: prefix.clone(),
                commit: row,
                author: info.head.author,
                content,
                scope: commitment.scope,
                epoch: commitment.epoch,
            };
            match self.open_sought(author, &sought) {
                Ok(content) => {
                    let (author, order_time_ms) = (info.head.author, info.order_time_ms);
                    return Ok(Opened {
                        version,
                        schema,
                        scope: commitment.scope,
                        author,
                        order_time_ms,
                        content,
                    });
                }
                Err(error @ ReadError::NoKey { .. }) => missing = Some(error),
                Err(error) => last = error,
            }
        }
        Err(self.explain(key, version, missing.unwrap_or(last)))
    }

    /// Opens the names in a confirmed commit, with keys that are held already, and shows each with its change. Names whose key is not held are counted.
    ///
    /// May be called by an [`Observer`](crate::Observer): it does not look at the state.
    pub fn open_names(
        &self,
        author: &Author,
        commit: &ConfirmedCommit<'_>,
        mut visit: impl FnMut(&RowChange, &str, &str),
    ) -> usize {
        author.keyring.absorb(self, commit);
        let mut prepared: Vec<(RecordKey, Option<SealKey>)> = Vec::new();
        let (mut closed, mut ad) = (0, Vec::new());
        let (chain, writer) = (self.chain_in(commit.seq()), commit.author());
        for name in commit.names() {
            // Of an erased name zeros are left: it is not one that somebody else could open.
            if name.sealed.iter().all(|byte| *byte == 0) {
                continue;
            }
            let change = &commit.changes()[name.change];
            let scope = change.name_scope;
            let at = prepared
                .iter()
                .position(|(known, _)| *known == scope)
                .unwrap_or_else(|| {
                    prepared.push((scope, name_key(author, commit, &scope, &name)));
                    prepared.len() - 1
                });
            let part = PartAt {
                event: name.event,
                part: Part::Meta,
            };
            ad.clear();
            PartContext {
                chain: &chain.0,
                author: &writer,
                salt: commit.salt(),
            }
            .ad(part, name.prefix, &mut ad);
            let mut sealed = name.sealed.to_vec();
            let opened = prepared[at]
                .1
                .as_ref()
                .and_then(|key| key.open(part, &ad, &mut sealed).ok());
            match opened.and_then(crate::draft::parse_meta) {
                Some((collection, name)) => visit(change, collection, name),
                None => closed += 1,
            }
        }
        closed
    }
}

/// Why a record without content has none: it ended, by whatever means, or never had any.
fn ended(state: &State, row: &Row, slot: Slot) -> ReadError {
    let version = Version {
        seq: row.seq.into(),
        event: row.event.into(),
    };
    if state.gone.erased_before(row, slot) == Some(version.seq) {
        let key = row.key;
        ReadError::Erased { key, version }
    } else {
        ReadError::NotFound { key: row.key }
    }
}

/// The key that a commit's names in one scope are sealed under, if it is held and is the one that the signed head commits to.
fn name_key(
    author: &Author,
    commit: &ConfirmedCommit<'_>,
    scope: &RecordKey,
    name: &SealedName<'_>,
) -> Option<SealKey> {
    let read = author.keyring.held_key(scope, name.epoch)?;
    let committed = commit
        .commitments
        .iter()
        .find(|entry| entry.scope == *scope)?;
    (committed.commitment == read.commitment(commit.salt())).then(|| read.seal_key(commit.salt()))
}
