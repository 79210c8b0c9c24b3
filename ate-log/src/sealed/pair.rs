//! One pair of sealed files, open for reading.

use super::{
    SEALED_HEADER_BYTES,
    header::{BodiesHeader, HeadsHeader, TRAILER_BYTES, Trailer},
    index::Index,
    manifest::GroupFiles,
    names::PairId,
};
use crate::{
    error::{Damage, OpenError, ReadError},
    location::Location,
    storage::{Access, Storage, StorageFile, read_full},
};
use std::{
    io,
    sync::{Arc, OnceLock},
};

/// A pair of files that the manifest names. Holds one handle, two once a body was read.
#[derive(Debug)]
pub(crate) struct SealedPair {
    storage: Arc<dyn Storage>,
    pub(super) id: PairId,
    pub(super) files: GroupFiles,
    pub(super) header: HeadsHeader,
    pub(super) trailer: Trailer,
    heads: Arc<dyn StorageFile>,
    bodies: OnceLock<Arc<dyn StorageFile>>,
}

impl SealedPair {
    /// Opens the heads file and reads its header and its trailer, nothing else. `end` is where
    /// the manifest says that the segment ended.
    ///
    /// # Errors
    /// [`Damage::SealedMissing`]: the file is not there; a reader beside the writer loads the
    /// manifest anew. [`Damage::SealedLength`], [`Damage::SealedHeader`],
    /// [`Damage::SealedIndex`]: it is not what the manifest says, or what it was.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        id: PairId,
        end: u32,
        files: &GroupFiles,
    ) -> Result<Self, OpenError> {
        let (heads, bytes) = open_file(&**storage, &id, &id.heads_name(), files.heads_bytes)?;
        let header = HeadsHeader::decode(&id, &bytes)?;
        if header.end != end {
            return Err(corrupt(&id, Damage::SealedHeader));
        }
        let mut bytes = [0; TRAILER_BYTES as usize];
        let read = files
            .heads_bytes
            .checked_sub(TRAILER_BYTES)
            .map(|at| read_full(&*heads, u64::from(at), &mut bytes))
            .transpose()
            .map_err(|source| OpenError::Io {
                doing: "read",
                name: id.heads_name(),
                source,
            })?;
        let trailer = Trailer::decode(
            &header,
            files.heads_bytes,
            &bytes[..read.unwrap_or_default()],
        )
        .ok_or_else(|| corrupt(&id, Damage::SealedIndex))?;
        Ok(Self {
            storage: Arc::clone(storage),
            id,
            files: *files,
            header,
            trailer,
            heads,
            bodies: OnceLock::new(),
        })
    }

    /// Which pair this is.
    pub(crate) const fn id(&self) -> &PairId {
        &self.id
    }

    /// Sizes of its files.
    pub(crate) const fn files(&self) -> &GroupFiles {
        &self.files
    }

    /// How many frames it has.
    pub(crate) const fn frame_count(&self) -> u32 {
        self.header.frames
    }

    /// How many parts are gone.
    pub(crate) const fn gone_count(&self) -> u32 {
        self.header.gone
    }

    /// Reads and checks all tables: one read of some 30 bytes a frame. The owner keeps the
    /// result as long as it likes; this does not.
    ///
    /// # Errors
    /// [`Damage::SealedIndex`] unless the checksums are right and every entry is the only one
    /// it could be.
    pub(crate) fn load_index(&self) -> Result<Arc<Index>, ReadError> {
        let tables = self.trailer.tables;
        // At most the size of the file, which was compared with the manifest.
        let mut bytes = vec![0; (self.trailer.end - TRAILER_BYTES - tables[0]) as usize];
        self.read_heads(tables[0], &mut bytes)?;
        let table = |index| {
            let range = self.trailer.range(index);
            &bytes[(range.start - tables[0]) as usize..(range.end - tables[0]) as usize]
        };
        let four = [table(0), table(1), table(2), table(3)];
        let checked = four
            .iter()
            .zip(self.trailer.crcs)
            .all(|(table, crc)| crc32c::crc32c(table) == crc);
        let index = || {
            Index::decode(
                &self.id,
                self.header.end,
                tables[0],
                self.files.bodies_bytes,
                four,
            )
        };
        checked
            .then(index)
            .flatten()
            .map(Arc::new)
            .ok_or_else(|| self.corrupt(Damage::SealedIndex))
    }

    /// Fills `out` from an offset of the heads file. Checks nothing.
    ///
    /// # Errors
    /// [`Damage::SealedLength`] past the end of the file.
    pub(crate) fn read_heads(&self, at: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.read(&self.heads, || self.id.heads_name(), at, out)
    }

    /// Fills `out` from an offset of the bodies file, which is opened if need be. Checks
    /// nothing.
    ///
    /// # Errors
    /// [`Damage::SealedLength`] past the end of the file, and as [`open`](Self::open).
    pub(crate) fn read_bodies(&self, at: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.read(self.bodies()?, || self.id.bodies_name(), at, out)
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(super) const fn heads(&self) -> &Arc<dyn StorageFile> {
        &self.heads
    }

    /// The bodies file, its header checked.
    pub(super) fn bodies(&self) -> Result<&Arc<dyn StorageFile>, ReadError> {
        if let Some(file) = self.bodies.get() {
            return Ok(file);
        }
        let (expected, name) = (self.files.bodies_bytes, self.id.bodies_name());
        if expected == 0 {
            return Err(self.corrupt(Damage::SealedMissing));
        }
        let (file, bytes) = open_file(&*self.storage, &self.id, &name, expected)?;
        if BodiesHeader::decode(&self.id, &bytes)?.bytes != expected {
            return Err(self.corrupt(Damage::SealedHeader));
        }
        // If another thread was faster, its handle is as good.
        Ok(self.bodies.get_or_init(|| file))
    }

    fn read(
        &self,
        file: &Arc<dyn StorageFile>,
        name: impl FnOnce() -> String,
        at: u32,
        out: &mut [u8],
    ) -> Result<(), ReadError> {
        match read_full(&**file, u64::from(at), out) {
            Ok(read) if read == out.len() => Ok(()),
            Ok(_) => Err(self.corrupt(Damage::SealedLength)),
            Err(source) => Err(ReadError::Io {
                doing: "read",
                name: name(),
                source,
            }),
        }
    }

    pub(super) const fn location(&self, offset: u32) -> Location {
        Location {
            file: self.id.file,
            offset,
        }
    }

    pub(super) const fn corrupt(&self, damage: Damage) -> ReadError {
        ReadError::Corrupt {
            at: self.id.location(),
            damage,
        }
    }
}

const fn corrupt(id: &PairId, damage: Damage) -> OpenError {
    OpenError::Corrupt {
        at: id.location(),
        damage,
    }
}

/// Opens a file that must have this length; returns it with the bytes of its header.
fn open_file(
    storage: &dyn Storage,
    id: &PairId,
    name: &str,
    expected: u32,
) -> Result<(Arc<dyn StorageFile>, Vec<u8>), OpenError> {
    let failed = |doing| {
        move |source| OpenError::Io {
            doing,
            name: name.into(),
            source,
        }
    };
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(id, Damage::SealedMissing));
        }
        Err(source) => return Err(failed("open")(source)),
    };
    if file.length().map_err(failed("read"))? != u64::from(expected) {
        return Err(corrupt(id, Damage::SealedLength));
    }
    let mut bytes = vec![0; SEALED_HEADER_BYTES as usize];
    let read = read_full(&*file, 0, &mut bytes).map_err(failed("read"))?;
    bytes.truncate(read);
    Ok((file, bytes))
}
