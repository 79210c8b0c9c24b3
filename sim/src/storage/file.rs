//! An open file and a held lock of the simulated disk.

use std::io;
use std::sync::Arc;

use ate::log::{StorageFile, StorageLock};

use super::SimStorage;
use super::trace::Call;

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) name: String,
    pub(super) inner: Arc<dyn StorageFile>,
    pub(super) storage: SimStorage,
}

impl SimFile {
    const fn at<'a>(&'a self, what: &'static str, offset: u64, length: u64) -> Call<'a> {
        Call {
            what,
            name: self.name.as_str(),
            offset,
            length,
            bytes: &[],
        }
    }

    /// How much of `length` bytes of this file has no room.
    fn missing(&self, length: u64) -> io::Result<u64> {
        // The length is asked for as little as possible: it is a call that may fail by itself.
        if !self.storage.is_limited() {
            return Ok(0);
        }
        let growth = length.saturating_sub(self.inner.length()?);
        Ok(growth - self.storage.room_for(growth))
    }

    /// Makes the file longer if there is room for all of it.
    fn grow(&self, length: u64, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.missing(length)? > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        run()
    }

    fn sync(&self, what: &'static str, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.storage.call(&self.at(what, 0, 0), || {
            self.storage.is_failing_sync();
            run()
        })
    }
}

impl StorageFile for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let length = out.len() as u64;
        let mut answer = self.storage.call(&self.at("read", offset, length), || {
            self.inner.read_at(offset, out)
        });
        if let Ok(read) = &mut answer {
            self.storage.flip(&mut out[..*read]);
            let call = Call {
                bytes: &out[..*read],
                ..self.at("got", offset, *read as u64)
            };
            return self.storage.call(&call, || Ok(*read));
        }
        answer
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let call = Call {
            bytes,
            ..self.at("write", offset, bytes.len() as u64)
        };
        self.storage.call(&call, || {
            let missing = self.missing(offset + bytes.len() as u64)?;
            let fits = (bytes.len() as u64).saturating_sub(missing) as usize;
            if fits == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // What fits is written, as systems do it; the rest is refused when it is tried again.
            self.inner.write_at(offset, &bytes[..fits])
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.storage
            .call(&self.at("length", 0, 0), || self.inner.length())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.storage.call(&self.at("truncate", 0, length), || {
            self.grow(length, || self.inner.truncate(length))
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.storage.call(&self.at("allocate", 0, length), || {
            self.grow(length, || self.inner.allocate(length))
        })
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.storage.call(&self.at("punch", offset, length), || {
            self.inner.punch(offset, length)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync("sync", || self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync("sync all", || self.inner.sync_all())
    }
}

#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) name: String,
    pub(super) inner: Box<dyn StorageLock>,
    pub(super) storage: SimStorage,
}

impl StorageLock for SimLock {
    fn publish(&self, bytes: &[u8]) -> io::Result<()> {
        let call = Call {
            what: "publish",
            name: &self.name,
            offset: 0,
            length: bytes.len() as u64,
            bytes,
        };
        self.storage.call(&call, || self.inner.publish(bytes))
    }
}
