//! Named blobs beside the log, each replaced as a whole.

use super::{FileLog, draft::write_error};
use crate::{
    error::{AppendError, ReadError},
    segment::{is_snapshot_name, snapshot_file, snapshot_file_new, snapshot_name},
    storage::{Access, read_full, write_full},
};
use std::io;

impl FileLog {
    pub(super) fn put_snapshot(&self, name: &str, bytes: &[u8]) -> Result<(), AppendError> {
        self.check_snapshot_write(name)?;
        let (temporary, file_name) = (snapshot_file_new(name), snapshot_file(name));
        #[cfg(ate_planted)]
        let temporary = if crate::planted("write-over-the-old-snapshot") {
            file_name.clone()
        } else {
            temporary
        };
        let _turn = self.snapshot_turn.lock();
        let place = || self.storage.place();
        let failed = |doing| {
            let name = &file_name;
            move |source| write_error(doing, place, name, bytes.len() as u64, source)
        };
        let written = self
            .storage
            .create(&temporary)
            .map_err(failed("create"))
            .and_then(|file| {
                write_full(&*file, 0, bytes).map_err(failed("write"))?;
                file.sync_all().map_err(failed("sync"))?;
                self.storage
                    .rename(&temporary, &file_name)
                    .map_err(failed("rename"))
            });
        if written.is_err() {
            drop(self.storage.remove(&temporary));
        }
        written?;
        self.storage
            .sync_dir()
            .map_err(failed("sync the directory of"))
    }

    pub(super) fn get_snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        if !is_snapshot_name(name) {
            return Err(ReadError::SnapshotName { name: name.into() });
        }
        let failed = |source| ReadError::Io {
            doing: "read",
            name: snapshot_file(name),
            source,
        };
        let file = match self.storage.open(&snapshot_file(name), Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let bytes = file.length().map_err(failed)?;
        let too_large = || ReadError::SnapshotTooLarge {
            name: name.into(),
            bytes,
        };
        let length = usize::try_from(bytes).map_err(|_| too_large())?;
        let mut out = Vec::new();
        out.try_reserve_exact(length).map_err(|_| too_large())?;
        out.resize(length, 0);
        let read = read_full(&*file, 0, &mut out).map_err(failed)?;
        out.truncate(read);
        Ok(Some(out))
    }

    pub(super) fn remove_snapshot(&self, name: &str) -> Result<(), AppendError> {
        self.check_snapshot_write(name)?;
        let file_name = snapshot_file(name);
        let place = || self.storage.place();
        let _turn = self.snapshot_turn.lock();
        match self.storage.remove(&file_name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(write_error("remove", place, &file_name, 0, source)),
        }
        self.storage
            .sync_dir()
            .map_err(|source| write_error("sync the directory of", place, &file_name, 0, source))
    }

    pub(super) fn list_snapshots(&self) -> Result<Vec<String>, ReadError> {
        let files = self.storage.list().map_err(|source| ReadError::Io {
            doing: "list",
            name: self.storage.place(),
            source,
        })?;
        let mut names: Vec<String> = files
            .iter()
            .filter_map(|file| snapshot_name(file))
            .map(Into::into)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Snapshots go on after a failed append: they are files of their own.
    fn check_snapshot_write(&self, name: &str) -> Result<(), AppendError> {
        if !is_snapshot_name(name) {
            return Err(AppendError::SnapshotName { name: name.into() });
        }
        let writer = self.writer.as_ref().ok_or(AppendError::ReadOnly)?;
        if writer.lock().closed {
            Err(AppendError::Closed)
        } else {
            Ok(())
        }
    }
}
