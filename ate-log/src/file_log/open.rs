//! Opening for writing: a new log, or the recovery of one that exists.

use super::{
    FileLog, LogOptions, draft,
    observe::{refuse_backup, refuse_unfinished},
    recovery::{Tail, Verdict, judge},
    segments::Segments,
    walk::{Step, Walker, Window},
    writer::{SEGMENT_BYTES_MAX, Writer},
};
use crate::{
    error::{AppendError, Damage, OpenError},
    frame::Binding,
    location::Location,
    sealed::{Manifest, bodies_name, heads_name, is_sealed_leftover, sealed_file},
    segment::{
        SEGMENT_HEADER_BYTES, SegmentHeader, is_leftover, large_number, segment_name,
        segment_number,
    },
    storage::{Access, Storage, StorageFile, StorageLock, write_full},
};
use std::{collections::HashSet, io, sync::Arc};

impl FileLog {
    /// Opens a log for writing, or makes it.
    ///
    /// A torn tail, which was never acknowledged, is cut off, and everything before it is
    /// durable on return.
    ///
    /// # Errors
    /// [`OpenError::Locked`] while another writer has it (after about 100 ms of trying);
    /// [`OpenError::Corrupt`] for damage, and then nothing is cut; [`OpenError::Unfinished`] if a
    /// restore was begun there and not finished, [`OpenError::Backup`] for a backup.
    pub fn open(storage: Arc<dyn Storage>, options: LogOptions) -> Result<Self, OpenError> {
        let failed = |doing| {
            let storage = &storage;
            move |source| place_error(&**storage, doing, source)
        };
        storage.prepare().map_err(failed("make"))?;
        refuse_unfinished(&*storage)?;
        refuse_backup(&*storage)?;
        let lock = draft::acquire(&*storage)?;
        let manifest = Manifest::load(&*storage)?;
        let names = storage.list().map_err(failed("list"))?;
        let has_segments = names.iter().any(|name| segment_number(name).is_some());
        let has_others = manifest.is_some() || names.iter().any(|name| is_lasting(name));
        let log = if has_segments || has_others {
            Self::recover(storage, options, lock, &names, manifest)?
        } else {
            remove_leftovers(&*storage, &names, None)?;
            Self::make(storage, options, lock)?
        };
        log.publish();
        log.keep_reserve();
        Ok(log)
    }

    /// Makes the first segment.
    fn make(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        lock: Box<dyn StorageLock>,
    ) -> Result<Self, OpenError> {
        let header = SegmentHeader {
            file: 1,
            log_id: options.log_id,
            first: 1,
            previous: Location::default(),
            large_end: Location::default(),
        };
        let size = options.segment_bytes(1);
        let made = draft::draft(&*storage, 1, size, size)
            .and_then(|draft| Ok((draft::establish(&*storage, &draft, &header)?, draft.size)));
        let (file, size) = made.map_err(|error| match error {
            AppendError::DiskFull { .. } => OpenError::DiskFull {
                place: storage.place(),
            },
            AppendError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                OpenError::DiskFull {
                    place: storage.place(),
                }
            }
            AppendError::Io {
                doing,
                name,
                source,
            } => OpenError::Io {
                doing,
                name,
                source,
            },
            other => OpenError::Io {
                doing: "make",
                name: segment_name(1),
                source: io::Error::other(other),
            },
        })?;
        let segments = Segments::of_first(&storage, &header, Arc::clone(&file));
        let writer = Writer {
            file,
            number: 1,
            end: SEGMENT_HEADER_BYTES,
            size,
            zeroed: SEGMENT_HEADER_BYTES,
            marked: false,
            closed: false,
            buffer: Vec::new(),
        };
        let manifest = segments.unsealed(options.groups);
        Ok(Self::assemble(
            storage,
            options,
            segments,
            manifest,
            Some(writer),
            Some(lock),
        ))
    }

    /// Opens an existing log for writing.
    fn recover(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        lock: Box<dyn StorageLock>,
        names: &[String],
        manifest: Option<Manifest>,
    ) -> Result<Self, OpenError> {
        let segments = Segments::load(&storage, &numbers_of(names), manifest.as_ref())?;
        check_named(names, manifest.as_ref())?;
        // Not before all that counts was found: what looks left over beside a lost or older
        // manifest may be all there is.
        remove_leftovers(&*storage, names, manifest.as_ref())?;
        let manifest = manifest.unwrap_or_else(|| segments.unsealed(options.groups));
        check_sealed_sizes(&*storage, &segments, &manifest)?;
        let number = segments.newest();
        let name = segment_name(number);
        let failed = |doing| {
            let name = name.clone();
            move |source| OpenError::Io {
                doing,
                name,
                source,
            }
        };
        let file = storage.open(&name, Access::Write).map_err(failed("open"))?;
        let tail = judge(&file, number, Binding::new(segments.log_id(), number))?;
        if let Verdict::Corrupt(damage) = tail.verdict {
            return Err(OpenError::Corrupt {
                at: Location {
                    file: number,
                    offset: tail.end,
                },
                damage,
            });
        }
        let binding = Binding::new(segments.log_id(), number);
        settle_tail(&*storage, &file, number, binding, &tail)?;
        let length = file.length().map_err(failed("measure"))?;
        let size = length.min(u64::from(SEGMENT_BYTES_MAX.max(tail.end))) as u32;
        let writer = Writer {
            file,
            number,
            end: tail.end,
            size,
            zeroed: tail.end,
            marked: tail.verdict == Verdict::Closed,
            closed: false,
            buffer: Vec::new(),
        };
        let named = segments.large_end().max(tail.large_end);
        let log = Self::assemble(
            storage,
            options,
            segments,
            manifest,
            Some(writer),
            Some(lock),
        );
        log.settle_large(tail.verdict, named)?;
        log.leave_torn(tail.verdict)?;
        Ok(log)
    }

    /// Takes up writing large bodies behind the last one that a frame names.
    fn settle_large(&self, verdict: Verdict, named: Location) -> Result<(), OpenError> {
        let settled = match verdict {
            Verdict::Closed => self.large.settle_closed(),
            _ => self.large.settle(named),
        };
        settled.map_err(|source| OpenError::Io {
            doing: "settle the large bodies of",
            name: self.storage.place(),
            source,
        })
    }

    /// Never writes where a torn frame was: some of its sectors might still arrive.
    fn leave_torn(&self, verdict: Verdict) -> Result<(), OpenError> {
        #[cfg(ate_planted)]
        if crate::planted("write-on-in-a-torn-segment") {
            return Ok(());
        }
        if verdict != Verdict::Torn {
            return Ok(());
        }
        let writer = self.writer.as_ref().expect("this is the writer's opening");
        let mut writer = writer.lock();
        let name = segment_name(writer.number);
        let begun = self.roll_after_tear(&mut writer);
        begun.map_err(|error| match error {
            AppendError::DiskFull { .. } => OpenError::DiskFull {
                place: self.storage.place(),
            },
            other => OpenError::Io {
                doing: "begin a segment after",
                name,
                source: io::Error::other(other),
            },
        })
    }
}

/// Removes what an interrupted writer left: files under construction, segments that are sealed,
/// sealed files that the manifest does not name.
fn remove_leftovers(
    storage: &dyn Storage,
    names: &[String],
    manifest: Option<&Manifest>,
) -> Result<(), OpenError> {
    let mut leftovers = names
        .iter()
        .filter(|name| {
            is_leftover(name)
                || is_sealed_leftover(name)
                || manifest.is_some_and(|manifest| manifest.is_done_with(name))
                || manifest.is_none() && sealed_file(name).is_some()
        })
        .peekable();
    if leftovers.peek().is_some() && manifest.is_some() {
        // What makes them leftovers is the manifest, whose name may not be durable yet: then
        // the one before would need them.
        storage.sync_dir().map_err(|source| OpenError::Io {
            doing: "sync",
            name: storage.place(),
            source,
        })?;
    }
    for name in leftovers {
        storage.remove(name).map_err(|source| OpenError::Io {
            doing: "remove",
            name: name.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Whether a file of this name outlives the segment that it was made from.
fn is_lasting(name: &str) -> bool {
    sealed_file(name).is_some() || large_number(name).is_some()
}

/// Every sealed file that the manifest names is there.
fn check_named(names: &[String], manifest: Option<&Manifest>) -> Result<(), OpenError> {
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    let sets = manifest.iter().flat_map(|manifest| &manifest.sets);
    for set in sets {
        for files in &set.groups {
            let heads = heads_name(set.file, files.group, files.version);
            let bodies = bodies_name(set.file, files.group, files.version);
            let is_whole =
                names.contains(&*heads) && (files.bodies_bytes == 0 || names.contains(&*bodies));
            if !is_whole {
                return Err(OpenError::Corrupt {
                    at: Location {
                        file: set.file,
                        offset: 0,
                    },
                    damage: Damage::SealedMissing,
                });
            }
        }
    }
    Ok(())
}

/// No segment is shorter than the one after it says.
fn check_sealed_sizes(
    storage: &dyn Storage,
    segments: &Segments,
    manifest: &Manifest,
) -> Result<(), OpenError> {
    for number in manifest.first + manifest.sets.len() as u32..segments.newest() {
        let name = segment_name(number);
        let size = storage.size(&name).map_err(|source| OpenError::Io {
            doing: "measure",
            name,
            source,
        })?;
        if segments
            .sealed(number)
            .is_some_and(|sealed| size < u64::from(sealed))
        {
            return Err(OpenError::Corrupt {
                at: Location {
                    file: number,
                    offset: size as u32,
                },
                damage: Damage::SegmentShort,
            });
        }
    }
    Ok(())
}

/// Makes what the newest segment holds durable up to its last valid frame, and cuts off a torn tail.
fn settle_tail(
    storage: &dyn Storage,
    file: &Arc<dyn StorageFile>,
    number: u32,
    binding: Binding,
    tail: &Tail,
) -> Result<(), OpenError> {
    let failed = |doing| {
        move |source| OpenError::Io {
            doing,
            name: segment_name(number),
            source,
        }
    };
    if tail.verdict == Verdict::Torn {
        // Rolling would do it too; done first, its space is there for the new segment.
        file.truncate(u64::from(tail.end))
            .map_err(failed("cut the torn tail of"))?;
    }
    #[cfg(ate_planted)]
    let tail = &Tail {
        // Nothing is left to be rewritten.
        proven: if crate::planted("trust-the-unproven-tail") {
            tail.end
        } else {
            tail.proven
        },
        ..*tail
    };
    rewrite(file, number, binding, tail)?;
    file.sync_data().map_err(failed("sync"))?;
    // The name of the newest segment may be one that a failed sync left undecided.
    storage.sync_dir().map_err(failed("sync the directory of"))
}

/// Writes the frames of a range again as they are.
///
/// A process whose sync failed may have left pages in the system's cache that read well, count
/// as clean and are not on the disk. A sync alone would then prove nothing about them. They are
/// checked once more on the way: what a bad read returns must not become what the disk holds.
fn rewrite(
    file: &Arc<dyn StorageFile>,
    number: u32,
    binding: Binding,
    tail: &Tail,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io {
        doing: "rewrite the tail of",
        name: segment_name(number),
        source,
    };
    let (from, to) = (tail.proven, tail.end);
    #[cfg(ate_planted)]
    if crate::planted("rewrite-without-looking") {
        let mut bytes = vec![0; (to - from) as usize];
        crate::storage::read_full(&**file, u64::from(from), &mut bytes).map_err(failed)?;
        return write_full(&**file, u64::from(from), &bytes).map_err(failed);
    }
    let mut walker = Walker::new(Arc::clone(file), binding, from, to, Window::default());
    loop {
        let corrupt = |offset, damage| OpenError::Corrupt {
            at: Location {
                file: number,
                offset,
            },
            damage,
        };
        let start = walker.at;
        match walker.step().map_err(failed)? {
            Step::End => return Ok(()),
            Step::Frame { at, bytes, .. } => {
                write_full(&**file, u64::from(at), bytes).map_err(failed)?;
            }
            Step::Bad(bad) => return Err(corrupt(start, bad.damage)),
            Step::Short => return Err(corrupt(start, Damage::SegmentShort)),
        }
    }
}

/// The numbers of all segment files, ascending.
pub(super) fn segment_numbers(storage: &dyn Storage) -> Result<Vec<u32>, OpenError> {
    let names = storage
        .list()
        .map_err(|source| place_error(storage, "list", source))?;
    Ok(numbers_of(&names))
}

fn numbers_of(names: &[String]) -> Vec<u32> {
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    numbers
}

fn place_error(storage: &dyn Storage, doing: &'static str, source: io::Error) -> OpenError {
    let place = storage.place();
    match source.kind() {
        io::ErrorKind::NotFound => OpenError::NotFound { place },
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            OpenError::NotADirectory { place }
        }
        io::ErrorKind::StorageFull => OpenError::DiskFull { place },
        _ => OpenError::Io {
            doing,
            name: place,
            source,
        },
    }
}
