//! Mending sealed segments.

use super::{NEW, Work};
use crate::{
    backup::{BackupError, copy_file},
    error::{Damage, ReadError},
    file_log::{
        FileLog,
        walk::{Step, Walker, Window},
    },
    frame::Binding,
    location::Location,
    sealed::{
        GroupFiles, Index, MANIFEST_NAME, Manifest, PairId, Place, SealError, SealPlan, SealedPair,
        Set, at_version, bodies_header,
    },
    segment::{SEGMENT_HEADER_BYTES, segment_name},
    storage::{Access, Storage, StorageFile, read_full, write_full},
};
use std::{collections::BTreeSet, io, sync::Arc};

/// Files that are being mended, with their names.
type Copies = Vec<(String, Arc<dyn StorageFile>)>;
/// What is damaged in a pair: places of frames, 0 for the pair as a whole.
type Found = BTreeSet<u32>;

impl Work<'_> {
    /// Mends every sealed segment of which a file is damaged or missing.
    pub(super) fn sets(&mut self, ours: &FileLog) -> Result<(), BackupError> {
        let manifest = ours.tier.manifest();
        let mut next = Manifest::clone(&manifest);
        for (index, set) in manifest.sets.iter().enumerate() {
            for files in &set.groups {
                let id = manifest.pair_id(set.file, files);
                let found = self.found_in(&id, set.end, files)?;
                if found.is_empty() || self.same_version(&id, set, files)? {
                    continue;
                }
                if self.by_frame(&id, set, files, &found)? {
                    continue;
                }
                let version = self.free_version(&manifest, set)?;
                if let Some(files) = self.other_version(&id, set, version)? {
                    self.replace(&manifest, set);
                    replace_group(&mut next.sets[index], files);
                } else if let Some(new) = self.seal_theirs(&manifest, set, version)? {
                    self.replace(&manifest, set);
                    next.sets[index] = new;
                    break;
                }
            }
        }
        if next != *manifest {
            next.generation += 1;
            self.put_manifest(&next)?;
        }
        Ok(())
    }

    /// What is damaged in a pair as it will be.
    fn found_in(&self, id: &PairId, end: u32, files: &GroupFiles) -> Result<Found, BackupError> {
        let storage: Arc<dyn Storage> = Arc::new(self.overlay.clone());
        found_in(&storage, id, end, files)
    }

    /// Takes files of the same version: a name is never used for other bytes.
    fn same_version(
        &mut self,
        id: &PairId,
        set: &Set,
        files: &GroupFiles,
    ) -> Result<bool, BackupError> {
        let theirs = self.other.log.tier.manifest();
        let has = theirs
            .set(set.file)
            .is_some_and(|set| set.groups.contains(files));
        if !has {
            return Ok(false);
        }
        let heads = (id.heads_name(), files.heads_bytes);
        let bodies = (id.bodies_name(), files.bodies_bytes);
        for choice in [vec![&heads], vec![&bodies], vec![&heads, &bodies]] {
            let choice: Vec<_> = choice.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
            let mut is_copied = !choice.is_empty();
            for (name, bytes) in &choice {
                is_copied &= self.copy(name, &format!("{NEW}{name}"), (*bytes).into())?;
            }
            if is_copied {
                choice.iter().for_each(|(name, _)| self.overlay.put(name));
                if self.found_in(id, set.end, files)?.is_empty() {
                    for (name, bytes) in choice {
                        self.take(name, (*bytes).into());
                    }
                    return Ok(true);
                }
                choice
                    .iter()
                    .for_each(|(name, _)| self.overlay.take_back(name));
            }
            for (name, _) in choice {
                drop(self.storage.remove(&format!("{NEW}{name}")));
            }
        }
        Ok(false)
    }

    /// Copies a file of the other log; `false` if it is not there in this length.
    fn copy(&mut self, name: &str, to: &str, bytes: u64) -> Result<bool, BackupError> {
        let theirs = &*self.other.storage;
        if theirs.size(name).ok() != Some(bytes) {
            return Ok(false);
        }
        let file = theirs.open(name, Access::Read);
        let file = file.map_err(|source| BackupError::io("open", name, source))?;
        copy_file(&*file, name, &**self.storage, to, bytes)?;
        self.did(bytes)?;
        Ok(true)
    }

    /// Takes the damaged frames alone, by the places that they had; all parts that are not gone here.
    fn by_frame(
        &mut self,
        id: &PairId,
        set: &Set,
        files: &GroupFiles,
        found: &Found,
    ) -> Result<bool, BackupError> {
        let storage: Arc<dyn Storage> = Arc::new(self.overlay.clone());
        let pair = SealedPair::open(&storage, *id, set.end, files);
        let Some(index) = pair.ok().and_then(|pair| pair.load_index().ok()) else {
            return Ok(false);
        };
        let copies = self.copies(&storage, id, files)?;
        let whole = found.contains(&0);
        let taken = self.frames(id, &index, &copies, |at| whole || found.contains(&at))?;
        self.did(taken)?;
        for (name, copy) in &copies {
            let synced = copy.sync_all();
            synced.map_err(|source| BackupError::io("sync", name, source))?;
            self.overlay.put(name);
        }
        let left = self.found_in(id, set.end, files)?;
        let is_better =
            left.len() < found.len() && left.is_subset(found) || whole && !left.contains(&0);
        for (name, _) in copies {
            if is_better {
                self.take(&name, taken);
            } else {
                self.overlay.take_back(&name);
                drop(self.storage.remove(&format!("{NEW}{name}")));
            }
        }
        Ok(is_better)
    }

    /// The files of a pair, to be mended: name and file, heads first.
    fn copies(
        &self,
        storage: &Arc<dyn Storage>,
        id: &PairId,
        files: &GroupFiles,
    ) -> Result<Copies, BackupError> {
        let names = [
            Some((id.heads_name(), files.heads_bytes)),
            (files.bodies_bytes > 0).then(|| (id.bodies_name(), files.bodies_bytes)),
        ];
        let mut copies = Vec::new();
        for (name, bytes) in names.into_iter().flatten() {
            let new = format!("{NEW}{name}");
            match storage.open(&name, Access::Read) {
                Ok(file) if file.length().is_ok_and(|length| length == u64::from(bytes)) => {
                    copy_file(&*file, &name, &**self.storage, &new, bytes.into())?;
                }
                _ => {
                    let file = self.storage.create(&new);
                    let file = file.map_err(|source| BackupError::io("create", &new, source))?;
                    let header = bodies_header(id, bytes);
                    write_full(&*file, 0, &header)
                        .and_then(|()| file.truncate(bytes.into()))
                        .map_err(|source| BackupError::io("write", &new, source))?;
                }
            }
            let file = self.storage.open(&new, Access::Write);
            copies.push((
                name,
                file.map_err(|source| BackupError::io("open", &new, source))?,
            ));
        }
        Ok(copies)
    }

    /// Writes the frames that are wanted, as the other copy has them; how many bytes.
    fn frames(
        &self,
        id: &PairId,
        index: &Index,
        copies: &Copies,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Result<u64, BackupError> {
        let mut taken = 0;
        for frame in index.frames_from(0) {
            if !is_wanted(frame.offset) {
                continue;
            }
            let mut at = frame.offset;
            while at < frame.offset + frame.total {
                let Some(located) = index.locate(at) else {
                    break;
                };
                let bytes = located.bytes.min(frame.offset + frame.total - at);
                let (copy, to) = match located.place {
                    Place::Heads(to) => (copies.first(), to),
                    Place::Bodies(to) => (copies.get(1), to),
                    Place::Gone => (None, 0),
                };
                let place = Location {
                    file: id.file,
                    offset: at,
                };
                let mut out = vec![0; bytes as usize];
                if let Some((name, copy)) = copy
                    && self.other.log.read_exact(place, &mut out).is_ok()
                {
                    let written = write_full(&**copy, to.into(), &out);
                    written.map_err(|source| BackupError::io("write", name, source))?;
                    taken += u64::from(bytes);
                }
                at += bytes;
            }
        }
        Ok(taken)
    }

    /// Takes the other copy's files of another version, as a version of their own.
    fn other_version(
        &mut self,
        id: &PairId,
        set: &Set,
        version: u32,
    ) -> Result<Option<GroupFiles>, BackupError> {
        let theirs = self.other.log.tier.manifest();
        let files = theirs.set(set.file).and_then(|set| {
            let mut groups = set.groups.iter();
            groups.find(|files| files.group == id.group)
        });
        let Some(files) = files.filter(|_| theirs.groups == id.groups) else {
            return Ok(None);
        };
        let from = theirs.pair_id(set.file, files);
        if !found_in(&self.other.storage, &from, set.end, files)?.is_empty() {
            return Ok(None);
        }
        let to = PairId { version, ..*id };
        let mut taken = 0;
        for (old, new, bytes) in [
            (from.heads_name(), to.heads_name(), files.heads_bytes),
            (from.bodies_name(), to.bodies_name(), files.bodies_bytes),
        ] {
            if bytes == 0 || !self.copy(&old, &new, bytes.into())? {
                continue;
            }
            let failed = |doing| {
                let new = &new;
                move |source| BackupError::io(doing, new, source)
            };
            let file = self
                .storage
                .open(&new, Access::Write)
                .map_err(failed("open"))?;
            let mut header = [0; 64];
            read_full(&*file, 0, &mut header).map_err(failed("read"))?;
            let header = at_version(&header, version);
            write_full(&*file, 0, &header).map_err(failed("write"))?;
            file.sync_all().map_err(failed("sync"))?;
            taken += u64::from(bytes);
        }
        self.mended.push(super::Mended {
            name: to.heads_name(),
            bytes: taken,
        });
        Ok(Some(GroupFiles { version, ..*files }))
    }

    /// Seals the segment again from the other copy, where it is not sealed.
    fn seal_theirs(
        &mut self,
        manifest: &Manifest,
        set: &Set,
        version: u32,
    ) -> Result<Option<Set>, BackupError> {
        let other = self.other;
        if other.log.tier.has(set.file) {
            return Ok(None);
        }
        let Ok(file) = other.storage.open(&segment_name(set.file), Access::Read) else {
            return Ok(None);
        };
        let mut plan =
            SealPlan::new(manifest.log_id, set.file, manifest.groups).at_version(version);
        let mut walker = Walker::new(
            Arc::clone(&file),
            Binding::new(&manifest.log_id, set.file),
            SEGMENT_HEADER_BYTES,
            set.end,
            Window::default(),
        );
        loop {
            let step = walker.step();
            let step =
                step.map_err(|source| BackupError::io("read", &segment_name(set.file), source))?;
            match step {
                Step::End => break,
                Step::Frame { at, bytes, .. } => plan.add(at, bytes)?,
                Step::Short | Step::Bad(_) => return Ok(None),
            }
        }
        let pace = &mut *self.pace;
        let written = plan.write(&**self.storage, &*file, set.end, &mut |bytes| {
            pace.did(bytes)
        });
        let new = written.map_err(|error| match error {
            SealError::Stopped => BackupError::Stopped,
            SealError::Io {
                doing,
                name,
                source,
            } => BackupError::io(doing, &name, source),
            SealError::Read(error) => error.into(),
            other => BackupError::io("write", "sealed files", io::Error::other(other)),
        })?;
        self.mended.push(super::Mended {
            name: segment_name(set.file),
            bytes: set.end.into(),
        });
        Ok(Some(new))
    }

    /// A version that no file of this set has, here or there.
    fn free_version(&self, manifest: &Manifest, set: &Set) -> Result<u32, BackupError> {
        let theirs = self.other.log.tier.manifest();
        let sets = [Some(set), theirs.set(set.file)];
        let versions = sets.into_iter().flatten().flat_map(|set| &set.groups);
        let highest = versions.map(|files| files.version).max().unwrap_or(0);
        let names = self.storage.list();
        let names =
            names.map_err(|source| BackupError::io("list", &self.storage.place(), source))?;
        let there = names
            .iter()
            .filter_map(|name| crate::sealed::sealed_file(name));
        let there = there.filter(|(_, file, ..)| *file == set.file);
        let highest = there
            .map(|(.., version)| version)
            .max()
            .unwrap_or(0)
            .max(highest);
        debug_assert!(manifest.set(set.file).is_some());
        Ok(highest.saturating_add(1))
    }

    /// Notes that the files of a set will not be named any more.
    fn replace(&mut self, manifest: &Manifest, set: &Set) {
        for files in &set.groups {
            let id = manifest.pair_id(set.file, files);
            for name in [id.heads_name(), id.bodies_name()] {
                self.replaced.insert(name);
            }
        }
    }

    /// Writes the manifest that there will be.
    pub(super) fn put_manifest(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
        let new = format!("{NEW}{MANIFEST_NAME}");
        let failed = |doing| move |source| BackupError::io(doing, MANIFEST_NAME, source);
        let file = self.storage.create(&new).map_err(failed("create"))?;
        let bytes = manifest.encode();
        write_full(&*file, 0, &bytes).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))?;
        if self.overlay.has(MANIFEST_NAME) {
            return Ok(());
        }
        self.take(MANIFEST_NAME, bytes.len() as u64);
        Ok(())
    }
}

fn replace_group(set: &mut Set, files: GroupFiles) {
    for group in &mut set.groups {
        if group.group == files.group {
            *group = files;
        }
    }
}

/// What is damaged in a pair.
fn found_in(
    storage: &Arc<dyn Storage>,
    id: &PairId,
    end: u32,
    files: &GroupFiles,
) -> Result<Found, BackupError> {
    let mut found = Found::new();
    let pair = match SealedPair::open(storage, *id, end, files).map_err(ReadError::from) {
        Ok(pair) => pair,
        Err(ReadError::Corrupt { .. }) => return Ok(Found::from([0])),
        Err(error) => return Err(error.into()),
    };
    let scrubbed = pair.scrub(
        &mut |_| std::ops::ControlFlow::Continue(()),
        &mut |at, _: Damage| {
            found.insert(at.offset);
        },
    );
    let _ = scrubbed?;
    Ok(found)
}
