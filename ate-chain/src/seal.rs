//! From draft to sealed commit: everything but the lane number and what has been seen, which are filled in when the batch forms.

use std::sync::Arc;

use ate_crypto::merkle::{RootBuilder, leaf_hash};
use ate_crypto::{
    Hash, Identity, LinkInfo, Part, PartAt, PartContext, Random, Salt, SealKey, Suite, Who,
    WrapInfo, sha256, wrap_keys,
};

use crate::codec::put_varint;
use crate::commit::{Commit, Event, Verified, encode_part_head};
use crate::draft::{Draft, DraftEvent, Intent};
use crate::error::SealError;
use crate::event::{BodyHash, Change, EventHead, Grant, Rotate};
use crate::head::{CommitHead, KeyCommitment, RULE_VERSION, Seen, commit_id};
use crate::ids::{ChainId, LaneId, RecordKey};
use crate::keyring::{Keyring, ScopeKeys};

/// Scope, epoch and commitment of one key in a commit head.
const COMMITMENT_BYTES_MAX: usize = 16 + 5 + 32;

/// A commit that is sealed and hashed but not ordered.
pub struct Sealed {
    /// The chain that every body is bound to.
    pub(crate) chain: ChainId,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) salt: Salt,
    pub(crate) commitments: Vec<KeyCommitment>,
    pub(crate) events: Vec<Event>,
    pub(crate) events_root: Hash,
    /// Event heads, each with its length; `Event::start` counts from here until the commit is ordered.
    pub(crate) heads: Vec<u8>,
    pub(crate) metas: Vec<u8>,
    pub(crate) contents: Vec<u8>,
    pub(crate) content_bytes: Vec<u32>,
    pub(crate) author_time_ms: u64,
    /// Keys of scopes that the commit makes, to be held once it is confirmed.
    pub(crate) made: Vec<(RecordKey, ScopeKeys)>,
}

/// A commit at its place in the order: the bytes of its frame and the verified form that the rules judge.
#[derive(Clone)]
pub(crate) struct Placing {
    pub(crate) commit: Commit<Verified>,
    /// Frame part 0.
    pub(crate) heads: Vec<u8>,
    pub(crate) metas: Vec<u8>,
    pub(crate) contents: Vec<u8>,
    pub(crate) content_bytes: Vec<u32>,
}

impl Sealed {
    /// Bytes that the frame will take, without its own header.
    pub(crate) fn bytes(&self) -> usize {
        self.heads.len()
            + self.metas.len()
            + self.contents.len()
            + 8 * self.content_bytes.len()
            + COMMITMENT_BYTES_MAX * self.commitments.len()
            + 512
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.keyring.identity
    }

    /// Fills in what the batch decides and computes the commit id.
    pub(crate) fn place(
        self,
        chain: &ChainId,
        lane: LaneId,
        number: u64,
        seen: Seen,
        order_time_ms: u64,
    ) -> Placing {
        let Self {
            chain: _,
            keyring,
            salt,
            commitments,
            mut events,
            events_root,
            heads,
            metas,
            contents,
            content_bytes,
            author_time_ms,
            made: _,
        } = self;
        let head = CommitHead {
            rule_version: RULE_VERSION,
            suite: Suite::Hybrid1,
            author: keyring.identity.id(),
            lane,
            number,
            author_time_ms,
            seen,
            salt,
            commitments,
            after: 0,
            event_count: events.len() as u32,
            events_root,
        };
        let mut head_bytes = Vec::with_capacity(512);
        head.encode(&mut head_bytes);
        let mut part = Vec::with_capacity(heads.len() + head_bytes.len() + 16);
        encode_part_head(order_time_ms, &head_bytes, &mut part);
        let shift = part.len() as u32;
        events.iter_mut().for_each(|event| event.start += shift);
        part.extend_from_slice(&heads);
        let commit =
            Commit::sealed_here(commit_id(chain, &head_bytes), head, events, order_time_ms);
        Placing {
            commit,
            heads: part,
            metas,
            contents,
            content_bytes,
        }
    }
}

impl Placing {
    /// The parts of the commit's frame.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let mut parts = Vec::with_capacity(2 + self.content_bytes.len());
        parts.push(self.heads.as_slice());
        parts.push(self.metas.as_slice());
        let mut rest = self.contents.as_slice();
        for &bytes in &self.content_bytes {
            let (content, after) = rest.split_at(bytes as usize);
            parts.push(content);
            rest = after;
        }
        parts
    }
}

impl Draft {
    /// Seals every body under a fresh key for each scope. `author_time_ms` is for display.
    ///
    /// # Errors
    /// [`SealError`]; nothing was written.
    ///
    /// # Cost
    /// About 1 µs for a record of 200 bytes: two hashes and one encryption.
    pub fn seal(mut self, author_time_ms: u64) -> Result<Sealed, SealError> {
        self.seal_again(author_time_ms)
    }

    /// Seals as [`Draft::seal`] and keeps the draft, to be changed and sealed again under a new salt if the commit is refused.
    ///
    /// # Errors
    /// As [`Draft::seal`].
    pub fn seal_again(&mut self, author_time_ms: u64) -> Result<Sealed, SealError> {
        let author = self.author().clone();
        let chain = author.local.chain();
        let salt = Salt::generate(&*author.random);
        #[cfg(ate_planted)]
        let salt = if ate_crypto::planted("reuse-salt") {
            Salt([7; 32])
        } else {
            salt
        };
        let mut sealer = Sealer::new(&chain, &author.keyring, salt, self, &*author.random);
        let events = std::mem::take(&mut self.events);
        let sealed = events
            .iter()
            .try_for_each(|event| sealer.event(event, self));
        self.events = events;
        sealed?;
        let mut root = RootBuilder::default();
        sealer.events.iter().for_each(|event| root.push(event.hash));
        let commitments = sealer.commitments();
        let Sealer {
            heads,
            metas,
            contents,
            content_bytes,
            events,
            made,
            ..
        } = sealer;
        Ok(Sealed {
            chain,
            keyring: author.keyring,
            salt,
            commitments,
            events,
            events_root: root.root(),
            heads,
            metas,
            contents,
            content_bytes,
            author_time_ms,
            made,
        })
    }
}

/// A scope's keys prepared for one commit.
struct PreparedScope {
    scope: RecordKey,
    keys: ScopeKeys,
    seal: SealKey,
}

struct Sealer<'a> {
    chain: &'a ChainId,
    keyring: &'a Keyring,
    salt: Salt,
    scopes: Vec<PreparedScope>,
    random: Vec<u8>,
    random_used: usize,
    /// Associated data of the part at hand.
    ad: Vec<u8>,
    head: Vec<u8>,
    heads: Vec<u8>,
    metas: Vec<u8>,
    contents: Vec<u8>,
    content_bytes: Vec<u32>,
    events: Vec<Event>,
    made: Vec<(RecordKey, ScopeKeys)>,
}

impl<'a> Sealer<'a> {
    fn new(
        chain: &'a ChainId,
        keyring: &'a Keyring,
        salt: Salt,
        draft: &Draft,
        random: &dyn Random,
    ) -> Self {
        let parts = |event: &DraftEvent| {
            event.meta.as_ref().map_or(0, |_| Part::Meta.random_bytes())
                + event
                    .content
                    .as_ref()
                    .map_or(0, |_| Part::Content.random_bytes())
        };
        // One call for the whole commit: a call costs more than its bytes.
        let mut bytes = vec![0; draft.events.iter().map(parts).sum()];
        random.fill(&mut bytes);
        Self {
            chain,
            keyring,
            salt,
            scopes: Vec::new(),
            random: bytes,
            random_used: 0,
            ad: Vec::new(),
            head: Vec::new(),
            heads: Vec::with_capacity(96 * draft.len()),
            metas: Vec::new(),
            contents: Vec::with_capacity(draft.bytes() + 48 * draft.len()),
            content_bytes: Vec::with_capacity(draft.len()),
            events: Vec::with_capacity(draft.len()),
            made: Vec::new(),
        }
    }

    fn commitments(&self) -> Vec<KeyCommitment> {
        let entry = |scope: &PreparedScope| KeyCommitment {
            scope: scope.scope,
            epoch: scope.keys.epoch,
            commitment: scope.keys.read.commitment(&self.salt),
        };
        let mut commitments: Vec<KeyCommitment> = self.scopes.iter().map(entry).collect();
        commitments.sort_unstable_by_key(|commitment| commitment.scope);
        commitments
    }

    fn event(&mut self, event: &DraftEvent, draft: &mut Draft) -> Result<(), SealError> {
        let (defines, change) = self.change(&event.intent, draft)?;
        let mut head = EventHead {
            change,
            write: event.write.clone(),
            read: event.read.clone(),
            defines,
            meta: None,
            content: None,
        };
        if head.read.is_some()
            && let Some(key) = head.target()
            && let Some(keys) = draft.keys.get(&key)
        {
            self.made.push((key, keys.clone()));
        }
        let mut bytes = std::mem::take(&mut self.head);
        bytes.clear();
        head.encode_prefix(event.meta.is_some(), event.content.is_some(), &mut bytes);
        let prefix = bytes.len();
        let index = self.events.len() as u32;
        if let Some((scope, plaintext)) = &event.meta {
            head.meta = Some(self.part(
                PartAt {
                    event: index,
                    part: Part::Meta,
                },
                *scope,
                plaintext,
                &bytes,
                draft,
            )?);
        }
        if let Some((scope, plaintext)) = &event.content {
            let body = self.part(
                PartAt {
                    event: index,
                    part: Part::Content,
                },
                *scope,
                plaintext,
                &bytes,
                draft,
            )?;
            self.content_bytes.push(body.bytes);
            head.content = Some(body);
        }
        head.encode_bodies(&mut bytes);
        put_varint(&mut self.heads, bytes.len() as u64);
        let start = self.heads.len() as u32;
        self.heads.extend_from_slice(&bytes);
        self.events.push(Event {
            head,
            hash: leaf_hash(&bytes),
            start,
            bytes: bytes.len() as u32,
            prefix: prefix as u32,
        });
        self.head = bytes;
        Ok(())
    }

    fn part(
        &mut self,
        at: PartAt,
        scope: RecordKey,
        plaintext: &[u8],
        prefix: &[u8],
        draft: &mut Draft,
    ) -> Result<BodyHash, SealError> {
        let scope = self.prepared(scope, draft)?;
        let context = PartContext {
            chain: &self.chain.0,
            author: &self.keyring.identity.id(),
            salt: &self.salt,
        };
        self.ad.clear();
        context.ad(at, prefix, &mut self.ad);
        let out = match at.part {
            Part::Meta => &mut self.metas,
            _ => &mut self.contents,
        };
        let start = out.len();
        let random = &self.random[self.random_used..self.random_used + at.part.random_bytes()];
        self.random_used += random.len();
        self.scopes[scope]
            .seal
            .seal(at, &self.ad, random, plaintext, out);
        let sealed = &out[start..];
        Ok(BodyHash {
            bytes: sealed.len() as u32,
            hash: sha256(&[sealed]),
        })
    }

    fn prepared(&mut self, scope: RecordKey, draft: &mut Draft) -> Result<usize, SealError> {
        if let Some(index) = self
            .scopes
            .iter()
            .rposition(|prepared| prepared.scope == scope)
        {
            return Ok(index);
        }
        let keys = draft.keys_of(scope)?.clone();
        let seal = keys.read.seal_key(&self.salt);
        self.scopes.push(PreparedScope { scope, keys, seal });
        Ok(self.scopes.len() - 1)
    }

    fn change(&mut self, intent: &Intent, draft: &mut Draft) -> Result<(bool, Change), SealError> {
        Ok(match intent.clone() {
            Intent::Create {
                key,
                parent,
                collection,
                token,
                schema,
                supersedes,
                defines,
            } => (
                defines,
                Change::Create {
                    key,
                    parent,
                    collection,
                    token,
                    schema,
                    supersedes,
                },
            ),
            Intent::Update {
                key,
                schema,
                supersedes,
            } => (
                false,
                Change::Update {
                    key,
                    schema,
                    supersedes,
                },
            ),
            Intent::Remove { key, supersedes } => (false, Change::Remove { key, supersedes }),
            Intent::Erase { key, supersedes } => (false, Change::Erase { key, supersedes }),
            Intent::Horizon { position } => (false, Change::Horizon { position }),
            Intent::Require { key, version } => (false, Change::Require { key, version }),
            Intent::Introduce(who) => (false, Change::Introduce(who)),
            Intent::Grant { scope, to } => {
                let grant = self.grant(scope, &to, draft)?;
                (false, Change::Grant(Box::new(grant)))
            }
            Intent::Rotate { scope, link } => {
                let keys = draft.keys_of(scope)?.clone();
                let rotate = self.rotate(scope, link, &keys, draft)?;
                self.made.push((scope, keys));
                (false, Change::Rotate(Box::new(rotate)))
            }
        })
    }

    /// The keys of `scope`, wrapped for a reader.
    fn grant(&self, scope: RecordKey, to: &Who, draft: &mut Draft) -> Result<Grant, SealError> {
        let keys = draft.keys_of(scope)?;
        let recipient = to.id();
        let info = WrapInfo {
            chain: &self.chain.0,
            scope: &scope.0,
            epoch: keys.epoch,
            recipient: &recipient,
        };
        let wrapped = wrap_keys(to, &info, &keys.read, &keys.name)
            .map_err(|_| SealError::Recipient { recipient })?;
        Ok(Grant {
            scope,
            epoch: keys.epoch,
            recipient,
            ct: wrapped.ct,
            sealed: wrapped.sealed,
        })
    }

    /// The step of `scope` to `keys`; with `link`, whoever gets them can read what was sealed under the keys before.
    fn rotate(
        &self,
        scope: RecordKey,
        link: bool,
        keys: &ScopeKeys,
        draft: &Draft,
    ) -> Result<Rotate, SealError> {
        let old = self
            .keyring
            .read_key(draft.author().local(), &scope, keys.epoch - 1)?;
        let info = LinkInfo {
            chain: &self.chain.0,
            scope: &scope.0,
            epoch: keys.epoch,
        };
        Ok(Rotate {
            scope,
            epoch: keys.epoch,
            commitment: keys.read.scope_commitment(),
            link: link.then(|| keys.read.link_seal(&info, &old)),
        })
    }
}
