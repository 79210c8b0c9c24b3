//! The manifest: which sealed files there are. Replaced as a whole, by a rename.

use super::{
    GROUPS_MAX, SEALED_FORMAT_VERSION, SEALED_HEADER_BYTES, SealError,
    names::{PairFile, PairId, new_name, sealed_file},
    take::{Take, checked},
};
use crate::{
    error::{Damage, OpenError},
    location::Location,
    segment::segment_number,
    storage::{Access, Storage, read_full, write_full},
};
use std::io;

/// The name of the manifest.
pub(crate) const MANIFEST_NAME: &str = "manifest";

const MAGIC: [u8; 8] = *b"ATE-MANI";
/// Everything but the sets: magic, version, log, generation, store, groups, first, count, CRC.
const FIXED_BYTES: usize = 8 + 4 + 16 + 8 + 16 + 2 + 4 + 4 + CRC_BYTES;
const SET_BYTES: usize = 4 + 4 + 2;
const GROUP_BYTES: usize = 2 + 4 + 4 + 4;
const CRC_BYTES: usize = 4;
/// More than the manifest of a million segments of one group has. Bounds what is read at once.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// All sealed sets of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    /// The log that it belongs to.
    pub(crate) log_id: [u8; 16],
    /// Counts the manifests of this log.
    pub(crate) generation: u64,
    /// Another one in each copy of a store.
    pub(crate) store_id: [u8; 16],
    /// How many groups the streams of a set are put in, 1 to [`GROUPS_MAX`].
    pub(crate) groups: u16,
    /// The segment of the first set, or of the first one to come.
    pub(crate) first: u32,
    /// One for each sealed segment, without a gap.
    pub(crate) sets: Vec<Set>,
}

/// What became of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Set {
    /// Its number.
    pub(crate) file: u32,
    /// Where it ended.
    pub(crate) end: u32,
    /// The groups that have frames, ascending.
    pub(crate) groups: Vec<GroupFiles>,
}

/// The files of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupFiles {
    /// Its number.
    pub(crate) group: u16,
    /// The version of both files.
    pub(crate) version: u32,
    /// Size of the heads file.
    pub(crate) heads_bytes: u32,
    /// Size of the bodies file, 0 if there is none.
    pub(crate) bodies_bytes: u32,
}

impl Manifest {
    /// The name that the files of a group have in common.
    pub(crate) const fn pair_id(&self, file: u32, files: &GroupFiles) -> PairId {
        PairId {
            log_id: self.log_id,
            file,
            group: files.group,
            groups: self.groups,
            version: files.version,
        }
    }

    /// Whether a file of this name means nothing beside this manifest: a segment that is sealed,
    /// or a sealed file that it does not name.
    pub(crate) fn is_done_with(&self, name: &str) -> bool {
        if let Some(number) = segment_number(name) {
            return self.set(number).is_some();
        }
        let Some((which, file, group, version)) = sealed_file(name) else {
            return false;
        };
        let named = self
            .set(file)
            .and_then(|set| set.groups.iter().find(|files| files.group == group));
        !named.is_some_and(|files| {
            files.version == version && (which == PairFile::Heads || files.bodies_bytes > 0)
        })
    }

    /// The set of a segment.
    pub(crate) fn set(&self, file: u32) -> Option<&Set> {
        self.sets.get(file.checked_sub(self.first)? as usize)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        debug_assert!(self.is_plausible(), "{self:?}");
        let mut bytes =
            Vec::with_capacity(FIXED_BYTES + self.sets.len() * (SET_BYTES + GROUP_BYTES));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&SEALED_FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.log_id);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.groups.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&(self.sets.len() as u32).to_le_bytes());
        for set in &self.sets {
            bytes.extend_from_slice(&set.file.to_le_bytes());
            bytes.extend_from_slice(&set.end.to_le_bytes());
            bytes.extend_from_slice(&(set.groups.len() as u16).to_le_bytes());
            for files in &set.groups {
                bytes.extend_from_slice(&files.group.to_le_bytes());
                bytes.extend_from_slice(&files.version.to_le_bytes());
                bytes.extend_from_slice(&files.heads_bytes.to_le_bytes());
                bytes.extend_from_slice(&files.bodies_bytes.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// # Errors
    /// [`OpenError::NewerFormat`] only if the checksum is right: every version keeps magic,
    /// version and checksum in place.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let checked = || {
            let mut take = Take(checked(bytes)?);
            (take.array()? == MAGIC).then_some(())?;
            Some((take.u32()?, take))
        };
        let (version, rest) = checked().ok_or(CORRUPT)?;
        if version > SEALED_FORMAT_VERSION {
            return Err(OpenError::NewerFormat {
                name: MANIFEST_NAME.into(),
                found: version,
                supported: SEALED_FORMAT_VERSION,
            });
        }
        (version == SEALED_FORMAT_VERSION)
            .then(|| Self::decode_fields(rest))
            .flatten()
            .filter(Self::is_plausible)
            .ok_or(CORRUPT)
    }

    fn decode_fields(mut take: Take<'_>) -> Option<Self> {
        let mut manifest = Self {
            log_id: take.array()?,
            generation: take.u64()?,
            store_id: take.array()?,
            groups: take.u16()?,
            first: take.u32()?,
            sets: Vec::new(),
        };
        let count = take.u32()? as usize;
        // No count is believed that the bytes which are left cannot hold.
        (count <= take.0.len() / SET_BYTES).then_some(())?;
        manifest.sets.reserve_exact(count);
        for _ in 0..count {
            let (file, end, count) = (take.u32()?, take.u32()?, usize::from(take.u16()?));
            let mut groups = take.slice(count * GROUP_BYTES).map(Take)?;
            let mut set = Set {
                file,
                end,
                groups: Vec::with_capacity(count),
            };
            while !groups.0.is_empty() {
                set.groups.push(GroupFiles {
                    group: groups.u16()?,
                    version: groups.u32()?,
                    heads_bytes: groups.u32()?,
                    bodies_bytes: groups.u32()?,
                });
            }
            manifest.sets.push(set);
        }
        take.end().map(|()| manifest)
    }

    /// Whether the sets follow each other, and groups and sizes are possible ones.
    fn is_plausible(&self) -> bool {
        let sizes = |files: &GroupFiles| {
            files.version > 0
                && files.group < self.groups
                && files.heads_bytes > SEALED_HEADER_BYTES
                && (files.bodies_bytes == 0 || files.bodies_bytes > SEALED_HEADER_BYTES)
        };
        (1..=GROUPS_MAX).contains(&self.groups)
            && self.first > 0
            && self.sets.iter().enumerate().all(|(index, set)| {
                u64::from(set.file) == u64::from(self.first) + index as u64
                    && set.groups.iter().all(sizes)
                    && set.groups.is_sorted_by(|a, b| a.group < b.group)
            })
    }

    /// The manifest of a log, `None` if it has none: then nothing is sealed.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Option<Self>, OpenError> {
        let failed = |doing| {
            move |source| OpenError::Io {
                doing,
                name: MANIFEST_NAME.into(),
                source,
            }
        };
        let file = match storage.open(MANIFEST_NAME, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("open")(source)),
        };
        let bytes = file.length().map_err(failed("read"))?;
        if bytes > MANIFEST_BYTES_MAX {
            return Err(CORRUPT);
        }
        let mut buffer = vec![0; bytes as usize];
        let read = read_full(&*file, 0, &mut buffer).map_err(failed("read"))?;
        Self::decode(&buffer[..read]).map(Some)
    }

    /// Replaces the manifest. The return of this is the commit point of all that it names.
    ///
    /// The files it names must be synced and have their names; these become durable here,
    /// before the manifest's own name does, so no crash leaves a manifest of files not there.
    ///
    /// # Errors
    /// The old manifest stands if the error is about anything but the last sync of the
    /// directory. After that one either may stand, so no file of either may be removed.
    pub(crate) fn store(&self, storage: &dyn Storage) -> Result<(), SealError> {
        let temporary = new_name(MANIFEST_NAME);
        let failed = |doing| {
            move |source| SealError::Io {
                doing,
                name: MANIFEST_NAME.into(),
                source,
            }
        };
        let bytes = self.encode();
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(failed("write")(io::ErrorKind::FileTooLarge.into()));
        }
        let written = storage
            .create(&temporary)
            .map_err(failed("create"))
            .and_then(|file| {
                write_full(&*file, 0, &bytes).map_err(failed("write"))?;
                file.sync_all().map_err(failed("sync"))?;
                storage
                    .sync_dir()
                    .map_err(failed("sync the directory before"))?;
                storage
                    .rename(&temporary, MANIFEST_NAME)
                    .map_err(failed("rename"))
            });
        if written.is_err() {
            drop(storage.remove(&temporary));
        }
        written?;
        #[cfg(ate_planted)]
        if crate::planted("forget-the-name-of-the-manifest") {
            return Ok(());
        }
        storage.sync_dir().map_err(failed("sync the directory of"))
    }
}

const CORRUPT: OpenError = OpenError::Corrupt {
    at: Location { file: 0, offset: 0 },
    damage: Damage::Manifest,
};
