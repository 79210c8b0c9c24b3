//! Copying a log that is in use: what belongs to it at one moment.

use super::{
    FileLog,
    segments::read_header,
    walk::{Step, Walker, Window},
};
use crate::{
    backup::{BackedUp, BackupError, Destination, Frozen},
    error::{Damage, ReadError},
    frame::Binding,
    location::Location,
    log::Log as _,
    maintenance::{Pace, Scrubbed},
    segment::{SEGMENT_HEADER_BYTES, large_name, segment_name},
    storage::Storage,
};
use std::{ops::ControlFlow, sync::Arc};

/// How often a reader begins anew because the writer beside it has replaced files.
const TRIES: u32 = 16;

impl FileLog {
    /// Copies everything up to the durable end into another directory, as a backup: a log that opens
    /// and ends there. What an earlier backup in the same place has is not copied again.
    ///
    /// The writer goes on: appends are not held up. Sealing and erasing wait, if this is the
    /// writer's own handle; a reader beside a writer begins anew when files have been replaced under
    /// its hands, and may then copy to a later end. What is new in the copy is read back and
    /// checked before it counts. Snapshots are not copied: they are caches.
    ///
    /// # Errors
    /// [`BackupError`]; an earlier backup in that place is what it was.
    ///
    /// # Cost
    /// New sealed files and full segments, the newest segment (at most 64 MiB by default), and one reading
    /// of all files of large bodies on both sides.
    pub fn backup(
        &self,
        to: &Arc<dyn Storage>,
        pace: &mut dyn Pace,
    ) -> Result<BackedUp, BackupError> {
        let destination = Destination::open(to)?;
        // No file goes while this is held.
        let _turn = self.writer.as_ref().map(|_| self.maintenance.lock());
        let mut tries = 0;
        loop {
            self.refresh()?;
            let taken = self
                .freeze()
                .and_then(|frozen| destination.take(&*self.storage, &frozen, pace));
            tries += 1;
            match taken {
                Err(BackupError::Vanished { .. }) if self.writer.is_none() && tries < TRIES => {}
                taken => return taken,
            }
        }
    }

    /// What belongs to the log now, up to its durable end.
    fn freeze(&self) -> Result<Frozen, BackupError> {
        if let Some((at, damage)) = self.tail_damage() {
            return Err(BackupError::SourceDamaged {
                found: vec![(at, damage)],
            });
        }
        let end = self.durable_cursor();
        let manifest = self.tier.manifest();
        let mut segments = Vec::new();
        for number in manifest.first + manifest.sets.len() as u32..=end.file {
            let bytes = if number == end.file {
                Some(end.offset)
            } else {
                self.segments.sealed(number)
            };
            let name = || segment_name(number);
            segments.push((
                number,
                bytes.ok_or_else(|| BackupError::Vanished { name: name() })?,
            ));
        }
        if segments.is_empty() {
            // The newest segment is never sealed: this manifest is of a later moment.
            return Err(BackupError::Vanished {
                name: segment_name(end.file),
            });
        }
        let large_end = match self.large_end_at(end) {
            Err(ReadError::Corrupt {
                damage: Damage::SegmentMissing,
                at,
            }) => {
                return Err(BackupError::Vanished {
                    name: segment_name(at.file),
                });
            }
            large_end => large_end?,
        };
        let mut large = Vec::new();
        for number in 1..=large_end.file {
            let bytes = if number == large_end.file {
                u64::from(large_end.offset)
            } else {
                let name = large_name(number);
                let size = self.storage.size(&name);
                size.map_err(|source| BackupError::Io {
                    doing: "measure",
                    name,
                    source,
                })?
            };
            large.push((number, bytes));
        }
        Ok(Frozen {
            manifest: (*manifest).clone(),
            end,
            segments,
            large,
        })
    }

    /// Where the last large body ends that a frame before `end` names: what stands behind it may
    /// still be taken back.
    fn large_end_at(&self, end: Location) -> Result<Location, ReadError> {
        let number = end.file;
        let (header, _) = read_header(&*self.storage, number)?;
        let mut large_end = header.large_end;
        let mut walker = Walker::new(
            self.segments.handle(number)?,
            Binding::new(self.segments.log_id(), number),
            SEGMENT_HEADER_BYTES,
            end.offset,
            Window::default(),
        );
        loop {
            let at = Location {
                file: number,
                offset: walker.at,
            };
            let step = walker.step().map_err(|source| ReadError::Io {
                doing: "read",
                name: segment_name(number),
                source,
            })?;
            let damage = match step {
                Step::End => return Ok(large_end),
                Step::Short => Damage::SegmentShort,
                Step::Bad(bad) => bad.damage,
                Step::Frame { header, bytes, .. } => {
                    for stub in header.stubs(bytes) {
                        large_end = large_end.max(stub.end());
                    }
                    continue;
                }
            };
            return Err(ReadError::Corrupt { at, damage });
        }
    }

    /// Checks all of one segment, sealed or not, with the large bodies that it names.
    pub(crate) fn scrub_file(
        &self,
        number: u32,
        pace: &mut dyn Pace,
        found: &mut dyn FnMut(Location, Damage),
    ) -> Result<ControlFlow<()>, ReadError> {
        let end = self.durable_cursor();
        self.scrub_number(number, end, &mut Scrubbed::default(), pace, found)
    }
}
