//! The file `backup`: what a backup consists of. `docs/format.md`, section 6.8.

use super::BackupError;
use crate::{
    location::Location,
    sealed::{MANIFEST_NAME, Take, checked, new_name, sealed_file},
    segment::{large_number, segment_number},
    storage::{Access, Storage, read_full, write_full},
};
use std::{io, ops::Range};

/// The name of the file that makes a directory a backup.
pub(crate) const BACKUP_FILE: &str = "backup";
/// The newest version of that file, and the one written here.
const BACKUP_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"ATE-BACK";
/// What an entry takes at least: a name of one byte, length, checksum, count of holes.
const ENTRY_BYTES_MIN: usize = 1 + 1 + 8 + 4 + 4;
const HOLE_BYTES: usize = 16;
/// Bounds what is read at once: some million files.
const CATALOG_BYTES_MAX: u64 = 256 << 20;

/// Everything that a backup consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Catalog {
    pub(crate) log_id: [u8; 16],
    /// The store whose history it is.
    pub(crate) store_id: [u8; 16],
    /// Where that history ends.
    pub(crate) end: Location,
    /// Ascending by name.
    pub(crate) files: Vec<Listed>,
}

/// One file of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// The file may be longer; what is behind belongs to no backup.
    pub(crate) bytes: u64,
    /// CRC-32C of the [checked](Self::checked_bytes) ones, the holes being zero.
    pub(crate) crc: u32,
    /// What counts as zero, whether it is so in the file yet or not. Ascending, apart.
    pub(crate) holes: Vec<Range<u64>>,
}

impl Catalog {
    pub(crate) fn find(&self, name: &str) -> Option<&Listed> {
        let found = self
            .files
            .binary_search_by(|listed| listed.name.as_str().cmp(name));
        found.ok().map(|index| &self.files[index])
    }

    /// Sum of the lengths of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|listed| listed.bytes).sum()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.files.len() * 64);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&BACKUP_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.log_id);
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.end.file.to_le_bytes());
        bytes.extend_from_slice(&self.end.offset.to_le_bytes());
        bytes.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        for listed in &self.files {
            let length =
                u8::try_from(listed.name.len()).expect("names of files of a log are short");
            bytes.push(length);
            bytes.extend_from_slice(listed.name.as_bytes());
            bytes.extend_from_slice(&listed.bytes.to_le_bytes());
            bytes.extend_from_slice(&listed.crc.to_le_bytes());
            bytes.extend_from_slice(&(listed.holes.len() as u32).to_le_bytes());
            for hole in &listed.holes {
                bytes.extend_from_slice(&hole.start.to_le_bytes());
                bytes.extend_from_slice(&hole.end.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `Err(version)`: written by a newer build. `Ok(None)`: damaged.
    fn decode(bytes: &[u8]) -> Result<Option<Self>, u32> {
        let open = || {
            let mut take = Take(checked(bytes)?);
            (take.array()? == MAGIC).then_some(())?;
            Some((take.u32()?, take))
        };
        match open() {
            Some((version, _)) if version > BACKUP_VERSION => Err(version),
            Some((BACKUP_VERSION, take)) => Ok(Self::decode_fields(take)),
            _ => Ok(None),
        }
    }

    fn decode_fields(mut take: Take<'_>) -> Option<Self> {
        let mut catalog = Self {
            log_id: take.array()?,
            store_id: take.array()?,
            end: Location {
                file: take.u32()?,
                offset: take.u32()?,
            },
            files: Vec::new(),
        };
        let count = take.u32()? as usize;
        // No count is believed that the bytes which are left cannot hold.
        (count <= take.0.len() / ENTRY_BYTES_MIN).then_some(())?;
        for _ in 0..count {
            let [length] = take.array()?;
            let name = String::from_utf8(take.slice(length.into())?.to_vec()).ok()?;
            let (bytes, crc, holes) = (take.u64()?, take.u32()?, take.u32()? as usize);
            (holes <= take.0.len() / HOLE_BYTES).then_some(())?;
            let holes: Option<Vec<_>> =
                (0..holes).map(|_| Some(take.u64()?..take.u64()?)).collect();
            catalog.files.push(Listed {
                name,
                bytes,
                crc,
                holes: holes?,
            });
        }
        take.end()?;
        catalog.is_plausible().then_some(catalog)
    }

    /// Whether it names files of a log only, each once: whoever copies them writes nothing else.
    fn is_plausible(&self) -> bool {
        let ordered = self.files.is_sorted_by(|a, b| a.name < b.name);
        ordered
            && self.files.iter().all(|listed| is_copied(&listed.name))
            && self.files.iter().all(Listed::is_plausible)
    }

    /// The catalog of a directory, `None` if there is none.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], [`BackupError::NewerFormat`], or the storage failed.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Option<Self>, BackupError> {
        let failed = |doing| move |source| BackupError::io(doing, BACKUP_FILE, source);
        let file = match storage.open(BACKUP_FILE, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("open")(source)),
        };
        let damaged = || BackupError::Damaged {
            place: storage.place(),
            name: BACKUP_FILE.into(),
        };
        let length = file.length().map_err(failed("read"))?;
        if length > CATALOG_BYTES_MAX {
            return Err(damaged());
        }
        let mut bytes = vec![0; length as usize];
        let read = read_full(&*file, 0, &mut bytes).map_err(failed("read"))?;
        match Self::decode(&bytes[..read]) {
            Ok(catalog) => catalog.ok_or_else(damaged).map(Some),
            Err(found) => Err(BackupError::NewerFormat {
                place: storage.place(),
                found,
                supported: BACKUP_VERSION,
            }),
        }
    }

    /// Makes this the catalog of a directory: the commit point of a backup.
    pub(crate) fn store(&self, storage: &dyn Storage) -> Result<(), BackupError> {
        let temporary = staged_name(BACKUP_FILE);
        let failed = |doing| move |source| BackupError::io(doing, BACKUP_FILE, source);
        let file = storage.create(&temporary).map_err(failed("create"))?;
        write_full(&*file, 0, &self.encode()).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))?;
        // The names of all that it lists, before its own.
        storage
            .sync_dir()
            .map_err(failed("sync the directory of"))?;
        storage
            .rename(&temporary, BACKUP_FILE)
            .map_err(failed("rename"))?;
        storage.sync_dir().map_err(failed("sync the directory of"))
    }
}

impl Listed {
    fn is_plausible(&self) -> bool {
        self.holes.is_sorted_by(|a, b| a.end <= b.start)
            && self
                .holes
                .iter()
                .all(|hole| hole.start < hole.end && hole.end <= self.bytes)
    }

    /// How many bytes from the start the checksum is of. The manifest's own checksum at its end is
    /// left out: of all that end with their own, the checksum is one and the same.
    pub(crate) fn checked_bytes(&self) -> u64 {
        if self.name == MANIFEST_NAME {
            self.bytes.saturating_sub(4)
        } else {
            self.bytes
        }
    }

    /// Makes those of `bytes`, which stand at `offset`, zero that count as zero.
    pub(crate) fn mask(&self, offset: u64, bytes: &mut [u8]) {
        let end = offset + bytes.len() as u64;
        let first = self.holes.partition_point(|hole| hole.end <= offset);
        for hole in self.holes[first..]
            .iter()
            .take_while(|hole| hole.start < end)
        {
            let from = hole.start.max(offset) - offset;
            let to = hole.end.min(end) - offset;
            bytes[from as usize..to as usize].fill(0);
        }
    }
}

/// Whether a file of this name goes into a backup.
pub(crate) fn is_copied(name: &str) -> bool {
    name == MANIFEST_NAME
        || segment_number(name).is_some()
        || large_number(name).is_some()
        || sealed_file(name).is_some()
}

/// What a file is called that waits for its place.
pub(crate) fn staged_name(name: &str) -> String {
    new_name(name)
}

/// Whether a file of this name waits for its place, or was being written.
pub(crate) fn is_staged(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|stem| {
        stem == BACKUP_FILE || stem == MANIFEST_NAME || is_copied(&format!("{stem}.seg"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let listed = |name: &str, holes| Listed {
            name: name.into(),
            bytes: 10_000,
            crc: 7,
            holes,
        };
        Catalog {
            log_id: [1; 16],
            store_id: [2; 16],
            end: Location { file: 3, offset: 4 },
            files: vec![
                listed("large-00000001.seg", vec![0..3, 5..10]),
                listed("log-00000003.seg", Vec::new()),
                listed(MANIFEST_NAME, Vec::new()),
            ],
        }
    }

    #[test]
    fn a_catalog_comes_back_and_every_flipped_bit_is_found() {
        let bytes = catalog().encode();
        assert_eq!(Catalog::decode(&bytes), Ok(Some(catalog())));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Catalog::decode(&flipped), Ok(None), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Catalog::decode(&bytes[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn a_catalog_names_files_of_a_log_only() {
        for name in ["../passwd", "lock", "backup", "snapshot-a", ""] {
            let mut other = catalog();
            other.files[0].name = name.into();
            other.files.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(Catalog::decode(&other.encode()), Ok(None), "{name}");
        }
        let mut beyond = catalog();
        beyond.files[0].holes = std::iter::once(9_999..10_001).collect();
        assert_eq!(Catalog::decode(&beyond.encode()), Ok(None));
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = catalog().encode();
        bytes[8] = 9;
        let length = bytes.len();
        let crc = crc32c::crc32c(&bytes[..length - 4]);
        bytes[length - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Catalog::decode(&bytes), Err(9));
    }

    #[test]
    fn holes_count_as_zero() {
        let listed = &catalog().files[0];
        let mut bytes = [1; 8];
        listed.mask(1, &mut bytes);
        assert_eq!(bytes, [0, 0, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn staged_files_are_told_apart() {
        for name in [
            BACKUP_FILE,
            MANIFEST_NAME,
            "log-00000003.seg",
            "heads-00000001-00-0001.seg",
        ] {
            assert!(is_staged(&staged_name(name)), "{name}");
            assert!(!is_staged(name), "{name}");
        }
        assert!(!is_staged("notes.new") && !is_staged("snapshot-a.new"));
    }
}
