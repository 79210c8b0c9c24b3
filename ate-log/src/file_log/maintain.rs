//! Work beside writing and reading: sealing segments, and destroying bodies in sealed ones.

use super::{
    FileLog,
    walk::{Step, Walker, Window},
};
use crate::{
    error::{AppendError, Damage, ReadError},
    frame::Binding,
    location::Location,
    maintenance::Pace,
    sealed::{GroupFiles, Manifest, SealError, SealPlan, SealedPair, Set},
    segment::{SEGMENT_HEADER_BYTES, segment_name},
    storage::Storage,
};
use std::sync::Arc;

impl FileLog {
    /// Seals the oldest segment that takes no more frames; `false` if there is none.
    ///
    /// The manifest's new name is the commit point: before, a crash leaves the segment and files
    /// that mean nothing; after, the sealed files and a segment that means nothing.
    pub(super) fn seal_oldest(&self, pace: &mut dyn Pace) -> Result<bool, AppendError> {
        let _turn = self.maintenance.lock();
        self.check_maintenance()?;
        self.seal_next(pace)
    }

    /// As [`seal_oldest`](Self::seal_oldest), for whoever has the turn.
    pub(super) fn seal_next(&self, pace: &mut dyn Pace) -> Result<bool, AppendError> {
        let manifest = self.tier.manifest();
        let number = manifest.first + manifest.sets.len() as u32;
        let Some(end) = self.segments.sealed(number) else {
            return Ok(false);
        };
        let set = match self.write_set(number, end, pace) {
            Ok(set) => set,
            Err(SealError::Stopped) => return Ok(false),
            Err(error) => return Err(seal_error(error, end.into(), &*self.storage)),
        };
        let mut next = Manifest::clone(&manifest);
        next.sets.push(set);
        #[cfg(ate_planted)]
        if crate::planted("remove-a-segment-before-the-manifest") {
            self.discard(&[segment_name(number)])?;
        }
        self.commit(next)?;
        self.streams.forget(number);
        self.segments.release(number);
        self.discard(&[segment_name(number)])?;
        Ok(true)
    }

    /// Writes the sealed files of a segment, and reads them back before the segment may go.
    fn write_set(&self, number: u32, end: u32, pace: &mut dyn Pace) -> Result<Set, SealError> {
        let manifest = self.tier.manifest();
        let file = self.segments.handle(number)?;
        let binding = Binding::new(self.segments.log_id(), number);
        let mut plan = SealPlan::new(manifest.log_id, number, manifest.groups);
        let mut walker = Walker::new(
            Arc::clone(&file),
            binding,
            SEGMENT_HEADER_BYTES,
            end,
            Window::default(),
        );
        loop {
            let corrupt = |offset, damage| ReadError::Corrupt {
                at: Location {
                    file: number,
                    offset,
                },
                damage,
            };
            let at = walker.at;
            let step = walker.step().map_err(|source| SealError::Io {
                doing: "read",
                name: segment_name(number),
                source,
            })?;
            match step {
                Step::End => break,
                Step::Short => return Err(corrupt(at, Damage::SegmentShort).into()),
                Step::Bad(bad) => return Err(corrupt(at, bad.damage).into()),
                Step::Frame { at, bytes, .. } => plan.add(at, bytes)?,
            }
        }
        let set = plan.write(&*self.storage, &*file, end, &mut |bytes| pace.did(bytes))?;
        match self.read_back(&manifest, &set, pace) {
            Ok(()) => Ok(set),
            Err(error) => {
                let files: Vec<_> = set.groups.iter().map(|files| (number, *files)).collect();
                // What is left behind is removed at the next opening.
                drop(self.discard(&pair_names(&manifest, &files)));
                Err(error)
            }
        }
    }

    /// Checks all of what was written for a segment.
    fn read_back(
        &self,
        manifest: &Manifest,
        set: &Set,
        pace: &mut dyn Pace,
    ) -> Result<(), SealError> {
        for files in &set.groups {
            let id = manifest.pair_id(set.file, files);
            let pair = SealedPair::open(&self.storage, id, set.end, files)?;
            let mut damaged = None;
            let flow = pair.scrub(&mut |bytes| pace.did(bytes), &mut |at, damage| {
                damaged.get_or_insert(ReadError::Corrupt { at, damage });
            })?;
            if let Some(error) = damaged {
                return Err(error.into());
            }
            if flow.is_break() {
                return Err(SealError::Stopped);
            }
        }
        Ok(())
    }

    /// Makes a manifest the one that counts. Nothing that the old one names may be removed before.
    pub(super) fn commit(&self, mut next: Manifest) -> Result<(), AppendError> {
        next.generation += 1;
        #[cfg(ate_planted)]
        if crate::planted("manifest-without-sync") {
            self.tier.replace(next);
            return Ok(());
        }
        if let Err(error) = next.store(&*self.storage) {
            let bytes = next.encode().len() as u64;
            // Either manifest may stand: no file of either may go, so no more of this work.
            *self.maintenance_failed.lock() = Some(error.to_string());
            return Err(seal_error(error, bytes, &*self.storage));
        }
        self.tier.replace(next);
        self.publish();
        Ok(())
    }

    /// Removes files that mean nothing any more. They would be removed at the next opening too.
    pub(super) fn discard(&self, names: &[String]) -> Result<(), AppendError> {
        for name in names {
            match self.storage.remove(name) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(AppendError::Io {
                        doing: "remove",
                        name: name.clone(),
                        source,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_maintenance(&self) -> Result<(), AppendError> {
        let writer = self.writer.as_ref().ok_or(AppendError::ReadOnly)?;
        self.check_writable(&writer.lock())?;
        match self.maintenance_failed.lock().as_ref() {
            Some(cause) => Err(AppendError::Poisoned {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Begins a new segment, unless the newest one has no frames.
    pub(super) fn begin_segment(&self) -> Result<(), AppendError> {
        let mut writer = self.writer.as_ref().ok_or(AppendError::ReadOnly)?.lock();
        self.check_writable(&writer)?;
        if writer.end == SEGMENT_HEADER_BYTES {
            return Ok(());
        }
        self.roll(&mut writer, 0)
    }
}

/// The names of the files of these pairs, each with the number of its segment.
pub(super) fn pair_names(manifest: &Manifest, pairs: &[(u32, GroupFiles)]) -> Vec<String> {
    let ids = pairs
        .iter()
        .map(|(number, files)| (manifest.pair_id(*number, files), files));
    ids.flat_map(|(id, files)| {
        let bodies = (files.bodies_bytes > 0).then(|| id.bodies_name());
        [Some(id.heads_name()), bodies]
    })
    .flatten()
    .collect()
}

/// What the callers of a log get to hear.
///
/// `bytes` is what the work was to write at most: a full disk does not say how much is missing.
pub(super) fn seal_error(error: SealError, bytes: u64, storage: &dyn Storage) -> AppendError {
    match error {
        SealError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            AppendError::DiskFull {
                bytes,
                place: storage.place(),
            }
        }
        SealError::Io {
            doing,
            name,
            source,
        } => AppendError::Io {
            doing,
            name,
            source,
        },
        SealError::Read(source) => AppendError::Damaged { source },
        SealError::NotAPart { at } => AppendError::NotAPart { at },
        other => AppendError::Io {
            doing: "write",
            name: "sealed files".into(),
            source: std::io::Error::other(other),
        },
    }
}
