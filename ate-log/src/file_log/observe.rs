//! Readers beside a writer, and what the writer tells them.

use super::{
    FileLog, LOCK_FILE, LogOptions,
    open::segment_numbers,
    recovery::{Verdict, judge},
    segments::Segments,
};
use crate::{
    backup::{BACKUP_FILE, RESTORE_FILE},
    error::{Damage, OpenError, ReadError},
    frame::Binding,
    location::{Cursor, Location},
    sealed::Manifest,
    storage::{Access, LockState, Storage, read_full},
};
use std::{io, sync::Arc, thread, time::Duration};

const OBSERVE_TRIES: u32 = 50;
const OBSERVE_PAUSE: Duration = Duration::from_millis(2);

impl FileLog {
    /// Opens a log for reading, beside a writer or alone. Makes and changes nothing.
    ///
    /// Beside a writer, the end is what it has published last. Without one, the end is found
    /// as a writer would find it. Damage there does not keep a reader from opening: what is
    /// before it can be read, and [`Log::scan`](crate::Log::scan) names it when it gets there.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is no log; [`OpenError::Unfinished`] if a restore of it was
    /// not finished; damage to names or headers of files.
    pub fn open_reader(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        refuse_unfinished(&*storage)?;
        Self::open_unfinished(storage)
    }

    /// As [`open_reader`](Self::open_reader), for a log that is being restored.
    pub(crate) fn open_unfinished(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        let numbers = segment_numbers(&*storage)?;
        if numbers.is_empty() {
            return Err(OpenError::NotFound {
                place: storage.place(),
            });
        }
        let (segments, manifest) = load_settled(&storage, numbers)?;
        let options = LogOptions::default();
        let manifest = manifest.unwrap_or_else(|| segments.unsealed(options.groups));
        let log = Self::assemble(storage, options, segments, manifest, None, None);
        log.observe()?;
        Ok(log)
    }

    /// What is damaged at the end of a log that was opened for reading.
    #[must_use]
    pub fn tail_damage(&self) -> Option<(Location, Damage)> {
        self.damage
            .lock()
            .map(|damage| (self.durable_cursor(), damage))
    }

    /// Readers: finds the durable end.
    pub(super) fn observe(&self) -> Result<Cursor, ReadError> {
        for _ in 0..OBSERVE_TRIES {
            match self.tier.reload(&self.segments) {
                // It was told when the log was opened in spite of it.
                Err(_) if self.salvaged.is_some() => {}
                reloaded => reloaded?,
            }
            match self.lock_state()? {
                LockState::Held(bytes) => {
                    if let Some(end) = Publication::decode(&bytes, self.segments.log_id()) {
                        self.segments.extend(end.file)?;
                        *self.damage.lock() = None;
                        self.raise_durable(end);
                        return Ok(self.durable_cursor());
                    }
                    // The writer has just opened and will publish soon.
                    thread::sleep(OBSERVE_PAUSE);
                }
                LockState::Free => {
                    let newest = segment_numbers(&*self.storage)?
                        .last()
                        .copied()
                        .unwrap_or(0);
                    match self.segments.extend(newest) {
                        // Which files belong to it was judged when it was opened in spite of damage.
                        Err(OpenError::Corrupt { .. }) if self.salvaged.is_some() => {}
                        extended => extended?,
                    }
                    let number = self.segments.newest();
                    let file = self.segments.handle(number)?;
                    let tail = judge(&file, number, Binding::new(self.segments.log_id(), number));
                    // A writer that came meanwhile may have been writing under our eyes.
                    if self.lock_state()? != LockState::Free {
                        continue;
                    }
                    let tail = tail?;
                    let end = Location {
                        file: number,
                        offset: tail.end,
                    };
                    *self.damage.lock() = match tail.verdict {
                        Verdict::Corrupt(damage) if end >= self.durable_cursor() => Some(damage),
                        _ => None,
                    };
                    self.raise_durable(end);
                    return Ok(self.durable_cursor());
                }
            }
        }
        Ok(self.durable_cursor())
    }

    fn lock_state(&self) -> Result<LockState, ReadError> {
        self.storage
            .lock_state(LOCK_FILE)
            .map_err(|source| ReadError::Io {
                doing: "look at",
                name: LOCK_FILE.into(),
                source,
            })
    }

    /// Tells live readers the durable end. They only fall behind if it fails.
    pub(super) fn publish(&self) {
        if let Some(lock) = self.lock.lock().as_ref() {
            let publication = Publication {
                log_id: *self.segments.log_id(),
                end: self.durable_cursor(),
            };
            drop(lock.publish(&publication.encode()));
        }
    }
}

/// The log id in the lock file, whether the lock is held or not: a hint for a log whose headers do not tell.
pub(super) fn published_log_id(storage: &dyn Storage) -> Option<[u8; 16]> {
    let bytes = match storage.lock_state(LOCK_FILE).ok()? {
        LockState::Held(bytes) => bytes,
        LockState::Free => {
            let file = storage.open(LOCK_FILE, Access::Read).ok()?;
            let mut bytes = vec![0; PUBLICATION_BYTES];
            let read = read_full(&*file, 0, &mut bytes).ok()?;
            bytes.truncate(read);
            bytes
        }
    };
    let log_id = *bytes.first_chunk()?;
    Publication::decode(&bytes, &log_id).map(|_| log_id)
}

/// The segments and the manifest, which a writer may be changing meanwhile.
fn load_settled(
    storage: &Arc<dyn Storage>,
    mut numbers: Vec<u32>,
) -> Result<(Segments, Option<Manifest>), OpenError> {
    for _ in 1..OBSERVE_TRIES {
        let manifest = Manifest::load(&**storage)?;
        match Segments::load(storage, &numbers, manifest.as_ref()) {
            Err(OpenError::Corrupt {
                damage: Damage::SegmentMissing,
                ..
            }) if Manifest::load(&**storage)? != manifest => {
                numbers = segment_numbers(&**storage)?;
            }
            loaded => return loaded.map(|segments| (segments, manifest)),
        }
    }
    let manifest = Manifest::load(&**storage)?;
    Segments::load(storage, &numbers, manifest.as_ref()).map(|segments| (segments, manifest))
}

/// Fails for a log of which a restore was begun and not finished.
pub(super) fn refuse_unfinished(storage: &dyn Storage) -> Result<(), OpenError> {
    refuse(storage, RESTORE_FILE, |place| OpenError::Unfinished {
        place,
    })
}

/// Fails for a backup: what was written to it and to the log it is a copy of could not be told
/// apart.
pub(super) fn refuse_backup(storage: &dyn Storage) -> Result<(), OpenError> {
    refuse(storage, BACKUP_FILE, |place| OpenError::Backup { place })
}

fn refuse(
    storage: &dyn Storage,
    name: &str,
    because: impl FnOnce(String) -> OpenError,
) -> Result<(), OpenError> {
    match storage.size(name) {
        Ok(_) => Err(because(storage.place())),
        // Whoever opens what is no directory says so.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(())
        }
        Err(source) => Err(OpenError::Io {
            doing: "look for",
            name: name.into(),
            source,
        }),
    }
}

/// What whoever holds the lock of a log tells readers.
pub(crate) fn publication(log_id: [u8; 16], end: Cursor) -> [u8; PUBLICATION_BYTES] {
    Publication { log_id, end }.encode()
}

/// What the writer tells live readers in the lock file: `docs/format.md`, section 6.6.
struct Publication {
    log_id: [u8; 16],
    end: Cursor,
}

const PUBLICATION_BYTES: usize = 28;

impl Publication {
    fn encode(&self) -> [u8; PUBLICATION_BYTES] {
        let mut bytes = [0; PUBLICATION_BYTES];
        bytes[..16].copy_from_slice(&self.log_id);
        bytes[16..20].copy_from_slice(&self.end.file.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.end.offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if there is nothing, something torn, or another log's.
    fn decode(bytes: &[u8], log_id: &[u8; 16]) -> Option<Cursor> {
        let bytes: &[u8; PUBLICATION_BYTES] = bytes.first_chunk()?;
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let whole = crc32c::crc32c(&bytes[..24]) == number(24) && bytes[..16] == log_id[..];
        whole.then(|| Location {
            file: number(16),
            offset: number(20),
        })
    }
}
