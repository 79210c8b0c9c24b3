//! Destroying bodies: the files that hold them are written anew without them.
//!
//! A body is gone when the manifest that names the new files is durable; only then are the old
//! ones removed. A large body is punched out of its file first: a crash in between leaves it
//! damaged, and erasing it again finishes the work.

use super::{
    FileLog,
    maintain::{pair_names, seal_error},
};
use crate::{
    error::{AppendError, ReadError},
    frame::{LARGE_BODY_BYTES, STUB_BYTES, Stub, body_bytes_in_frame},
    maintenance::{Least, Pace, Reclaimed, Span},
    sealed::{GroupFiles, Index, Manifest, Place, Removal, SealError, SealedPair, Set, rewrite},
};
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

/// What is to go from one pair of files.
struct Share {
    pair: Arc<SealedPair>,
    index: Arc<Index>,
    spans: Vec<Span>,
}

impl FileLog {
    pub(super) fn erase_spans(
        &self,
        spans: &[Span],
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, AppendError> {
        let mut reclaimed = Reclaimed::default();
        let Some(last) = spans.iter().map(|span| span.at.file).max() else {
            return Ok(reclaimed);
        };
        let end = self.readable_end();
        if let Some(span) = spans.iter().find(|span| span.at >= end) {
            return Err(AppendError::NotAPart { at: span.at });
        }
        let _turn = self.maintenance.lock();
        self.check_maintenance()?;
        self.seal_up_to(last, pace)?;
        if !self.tier.has(last) {
            // The pace has stopped it.
            return Ok(reclaimed);
        }
        let mut next = Manifest::clone(&self.tier.manifest());
        let (mut old, mut written) = (Vec::new(), Vec::new());
        for share in self.shares(spans)? {
            let held = share.index.totals().body_bytes;
            let going = share.going();
            if !least.is_reached(going, held) {
                reclaimed.kept += share.spans.len() as u64;
                continue;
            }
            reclaimed.spans += share.spans.len() as u64;
            reclaimed.bytes += self.punch(&share)?;
            let removals: Vec<Removal> = share.spans.iter().map(removal).collect();
            let outcome = rewrite(&share.pair, &share.index, &removals, &mut |bytes| {
                pace.did(bytes)
            });
            match outcome {
                Ok(None) => {}
                Ok(Some(files)) => {
                    let before = *share.pair.files();
                    reclaimed.files += 1;
                    reclaimed.bytes += size(&before).saturating_sub(size(&files));
                    put(&mut next, share.pair.id().file, files);
                    old.push((share.pair.id().file, before));
                    written.push((share.pair.id().file, files));
                    if let Err(error) = self.check_copy(&share, &files, pace) {
                        return self.give_up(&share, &written, error);
                    }
                }
                Err(error) => return self.give_up(&share, &written, error),
            }
        }
        if !old.is_empty() {
            let manifest = self.tier.manifest();
            self.commit(next)?;
            old.iter()
                .for_each(|(number, files)| self.tier.forget(*number, files));
            self.discard(&pair_names(&manifest, &old))?;
        }
        Ok(reclaimed)
    }

    /// Removes what was written for nothing.
    fn give_up(
        &self,
        share: &Share,
        written: &[(u32, GroupFiles)],
        error: SealError,
    ) -> Result<Reclaimed, AppendError> {
        self.discard(&pair_names(&self.tier.manifest(), written))?;
        match error {
            SealError::Stopped => Ok(Reclaimed::default()),
            error => Err({
                let bytes = size(share.pair.files());
                seal_error(error, bytes, &*self.storage)
            }),
        }
    }

    /// Reads back what is to replace the only copy: a bad read while copying must not become
    /// what the log holds. Damage that the old files have as well is copied as it is.
    fn check_copy(
        &self,
        share: &Share,
        files: &GroupFiles,
        pace: &mut dyn Pace,
    ) -> Result<(), SealError> {
        #[cfg(ate_planted)]
        if crate::planted("replace-the-only-copy-unread") {
            return Ok(());
        }
        let (number, manifest) = (share.pair.id().file, self.tier.manifest());
        let set = manifest.set(number).expect("its pair is at hand");
        let id = manifest.pair_id(number, files);
        let copy = SealedPair::open(&self.storage, id, set.end, files)?;
        let mut damages = Vec::new();
        let found = &mut |at, damage| damages.push((at, damage));
        if copy.scrub(&mut |bytes| pace.did(bytes), found)?.is_break() {
            return Err(SealError::Stopped);
        }
        if damages.is_empty() {
            return Ok(());
        }
        let mut before = Vec::new();
        let found = &mut |at, damage| before.push((at, damage));
        let _all = share
            .pair
            .scrub(&mut |_| ControlFlow::Continue(()), found)?;
        match damages.into_iter().find(|damage| !before.contains(damage)) {
            Some((at, damage)) => Err(ReadError::Corrupt { at, damage }.into()),
            None => Ok(()),
        }
    }

    /// Seals every segment up to `number`, the newest one too.
    fn seal_up_to(&self, number: u32, pace: &mut dyn Pace) -> Result<(), AppendError> {
        if number == self.segments.newest() {
            self.begin_segment()?;
        }
        while !self.tier.has(number) && self.seal_next(pace)? {}
        Ok(())
    }

    /// The spans, by the files that hold them.
    fn shares(&self, spans: &[Span]) -> Result<Vec<Share>, AppendError> {
        let damaged = |source: ReadError| AppendError::Damaged { source };
        let manifest = self.tier.manifest();
        let mut by_file: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
        for span in spans {
            by_file.entry(span.at.file).or_default().push(*span);
        }
        let mut shares = Vec::new();
        for (number, mut spans) in by_file {
            let set: &Set = manifest
                .set(number)
                .ok_or(AppendError::NotAPart { at: spans[0].at })?;
            for files in &set.groups {
                let pair = self.tier.pair(set, files).map_err(damaged)?;
                let index = self.tier.index(&pair).map_err(damaged)?;
                let is_here = |span: &Span| index.frame_at(span.at.offset).is_some();
                let (mut here, elsewhere): (Vec<Span>, Vec<Span>) =
                    spans.into_iter().partition(is_here);
                spans = elsewhere;
                here.sort_unstable();
                here.dedup();
                if !here.is_empty() {
                    shares.push(Share {
                        pair,
                        index,
                        spans: here,
                    });
                }
            }
            if let Some(span) = spans.first() {
                return Err(AppendError::NotAPart { at: span.at });
            }
        }
        Ok(shares)
    }

    /// Gives the space of the share's large bodies back; how much that was.
    fn punch(&self, share: &Share) -> Result<u64, AppendError> {
        let mut stubs = Vec::new();
        for span in share.spans.iter().filter(|span| is_large(span)) {
            let Some(located) = share.index.locate(span.at.offset) else {
                continue;
            };
            if let Place::Bodies(at) = located.place {
                let mut stub = [0; STUB_BYTES as usize];
                let read = share.pair.read_bodies(at, &mut stub);
                read.map_err(|source| AppendError::Damaged { source })?;
                let stub = Stub::decode(&stub);
                if stub.bytes == span.bytes {
                    stubs.push(stub);
                }
            }
        }
        self.large.punch(&stubs)
    }
}

impl Share {
    /// Bytes that would go; what is gone already does not count.
    fn going(&self) -> u64 {
        let there = |span: &&Span| {
            let located = self.index.locate(span.at.offset);
            located.is_some_and(|located| located.place != Place::Gone)
        };
        let bytes = self.spans.iter().filter(there);
        bytes.map(|span| u64::from(span.bytes)).sum()
    }
}

/// Head parts are never so long that a range in them would count as a large body here.
const fn is_large(span: &Span) -> bool {
    span.bytes >= LARGE_BODY_BYTES
}

fn removal(span: &Span) -> Removal {
    debug_assert!(body_bytes_in_frame(span.bytes) <= span.bytes);
    Removal {
        at: span.at.offset,
        bytes: span.bytes,
    }
}

fn size(files: &GroupFiles) -> u64 {
    u64::from(files.heads_bytes) + u64::from(files.bodies_bytes)
}

/// Puts the new version of a pair into a manifest.
fn put(manifest: &mut Manifest, number: u32, files: GroupFiles) {
    let first = manifest.first;
    let set = manifest.sets.get_mut((number - first) as usize);
    let groups = set.into_iter().flat_map(|set| set.groups.iter_mut());
    groups
        .filter(|group| group.group == files.group)
        .for_each(|group| *group = files);
}
