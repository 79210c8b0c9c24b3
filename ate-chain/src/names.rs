//! All names of a chain again, for an identity that was not there when they were written or has been given keys since.

use std::ops::ControlFlow;

use ate_crypto::{Part, PartAt, PartContext, SealKey, sha256};
use ate_log::{FrameKind, Scan};

use crate::codec::Reader;
use crate::commit::{Commit, Event, PART_HEADS, PART_METAS, Unverified};
use crate::draft::{Author, parse_meta};
use crate::error::ReadError;
use crate::head::chain_leaf;
use crate::ids::RecordKey;
use crate::local::Local;
use crate::table::Slot;

/// A name as the chain's history gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundName<'a> {
    /// Row of the record.
    pub slot: Slot,
    /// Row of the record above.
    pub parent: Slot,
    /// Collection within the parent.
    pub collection: &'a str,
    /// Name.
    pub name: &'a str,
    /// Commit that brought it.
    pub seq: u64,
}

impl Local {
    /// Opens every name that `author` holds a key for; the number of those that stay closed.
    ///
    /// # Errors
    /// The log's; damage is an error here too.
    ///
    /// # Cost
    /// Linear in the heads of the chain.
    pub fn visit_names(
        &self,
        author: &Author,
        mut visit: impl FnMut(FoundName<'_>),
    ) -> Result<usize, ReadError> {
        let (end, stream) = (self.position().0, self.chain().stream());
        let (mut closed, mut failed) = (0, None);
        let scan = Scan::from(self.log.start()).of(stream);
        self.log.scan(scan, &mut |frame| {
            let ours = frame.kind == FrameKind::Commit && frame.number < end;
            let metas = frame
                .part(PART_METAS)
                .filter(|metas| ours && !metas.is_empty());
            let (Some(heads), Some(metas)) = (frame.part(PART_HEADS), metas) else {
                return ControlFlow::Continue(());
            };
            let damaged = || ReadError::Damaged {
                at: frame.at,
                why: "a commit does not match the chain's leaf",
            };
            let opened = self
                .proved(frame.number, heads)
                .ok_or_else(damaged)
                .and_then(|commit| {
                    self.names_of(author, frame.number, heads, metas, &commit, &mut visit)
                });
            match opened {
                Ok(count) => closed += count,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(closed), Err)
    }

    /// The commit in these bytes, if it is number `seq` of the verified chain.
    pub(crate) fn proved(&self, seq: u64, heads: &[u8]) -> Option<Commit<Unverified>> {
        let commit = Commit::decode(&self.chain_in(seq), heads).ok()?;
        let mut root = ate_crypto::merkle::RootBuilder::default();
        commit.events.iter().for_each(|event| root.push(event.hash));
        let leaf = chain_leaf(seq, commit.order_time_ms, &commit.id);
        (root.root() == commit.head.events_root
            && self.with_state(|state| state.tree.leaf(seq)) == Some(leaf))
        .then_some(commit)
    }

    fn names_of(
        &self,
        author: &Author,
        seq: u64,
        heads: &[u8],
        metas: &[u8],
        commit: &Commit<Unverified>,
        visit: &mut impl FnMut(FoundName<'_>),
    ) -> Result<usize, ReadError> {
        let head = &commit.head;
        let mut keys: Vec<SealKey> = Vec::new();
        for committed in &head.commitments {
            let Ok(read) = author
                .keyring
                .read_key(self, &committed.scope, committed.epoch)
            else {
                continue;
            };
            if read.commitment(&head.salt) == committed.commitment {
                keys.push(read.seal_key(&head.salt));
            }
        }
        let (mut metas, mut closed, mut ad) = (Reader::new(metas), 0, Vec::new());
        let chain = self.chain_in(seq);
        for (index, event) in commit.events.iter().enumerate() {
            let Some(meta) = event.head.meta else {
                continue;
            };
            let sealed = metas
                .take(meta.bytes as usize)
                .ok()
                .filter(|sealed| sha256(&[sealed]) == meta.hash);
            let prefix = heads.get(event.start as usize..(event.start + event.prefix) as usize);
            let slots = self.slots_of(event);
            // After its bytes were looked at: nothing was destroyed before this was known.
            if slots.is_some_and(|(.., erased)| erased.is_some_and(|before| seq < before)) {
                continue;
            }
            let (Some(sealed), Some(prefix)) = (sealed, prefix) else {
                return Ok(closed);
            };
            let at = PartAt {
                event: index as u32,
                part: Part::Meta,
            };
            PartContext {
                chain: &chain.0,
                author: &head.author,
                salt: &head.salt,
            }
            .ad(at, prefix, &mut ad);
            let opened = keys.iter().find_map(|key| {
                key.open(at, &ad, &mut sealed.to_vec())
                    .ok()
                    .map(<[u8]>::to_vec)
            });
            match opened.as_deref().and_then(parse_meta).zip(slots) {
                Some(((collection, name), (slot, parent, _))) => visit(FoundName {
                    slot,
                    parent,
                    collection,
                    name,
                    seq,
                }),
                None => closed += 1,
            }
        }
        Ok(closed)
    }

    /// The rows of the record and of the one above, and the commit that erased the record last.
    fn slots_of(&self, event: &Event) -> Option<(Slot, Slot, Option<u64>)> {
        let key: RecordKey = event.head.target()?;
        self.with_state(|state| {
            let slot = state.table.slot(&key)?;
            let row = state.table.row(slot);
            Some((slot, row.parent, state.gone.erased_before(row, slot)))
        })
    }
}
