//! The identity file of a store: made on first use, mode 0600, never overwritten by accident.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ate_crypto::keystore::{self, KdfParams};
use ate_crypto::{Identity, KeystoreError, Random, Seed};

use crate::error::Error;

/// Longest file that is read: any real one is shorter.
const FILE_BYTES_MAX: u64 = 4096;

/// The identity file of a store directory.
#[derive(Clone, Debug)]
pub struct Keystore {
    path: PathBuf,
}

impl Keystore {
    /// The keystore of a store directory. Nothing is read.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            path: dir.join("identity"),
        }
    }

    /// The keystore in a file of any name. Nothing is read.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Whether a passphrase is needed.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::Keystore`], [`Error::File`].
    pub fn is_sealed(&self) -> Result<bool, Error> {
        keystore::is_sealed(&self.read()?).map_err(|source| self.refused(source))
    }

    /// The seed.
    ///
    /// # Errors
    /// As [`Keystore::is_sealed`]; a wrong passphrase and a damaged file give one and the same error.
    pub fn seed(&self, passphrase: Option<&str>) -> Result<Seed, Error> {
        keystore::unlock(&self.read()?, passphrase).map_err(|source| self.refused(source))
    }

    /// The identity.
    ///
    /// # Errors
    /// As [`Keystore::seed`].
    pub fn identity(&self, passphrase: Option<&str>) -> Result<Identity, Error> {
        Ok(Identity::from_seed(&self.seed(passphrase)?))
    }

    /// Writes a new identity file, durable on return.
    ///
    /// # Errors
    /// [`Error::IdentityExists`]: one is never overwritten here.
    pub fn create(
        &self,
        seed: &Seed,
        passphrase: Option<&str>,
        random: &dyn Random,
    ) -> Result<(), Error> {
        if self.exists() {
            return Err(Error::IdentityExists {
                path: self.path.clone(),
            });
        }
        let dir = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(dir).map_err(|source| Error::File {
            doing: "make",
            path: dir.to_owned(),
            source,
        })?;
        // A file of its own name, linked to the final one: of two processes that make an identity at the same moment, one fails.
        let mut mark = [0; 8];
        random.fill(&mut mark);
        let fresh = self
            .path
            .with_extension(format!("{:016x}", u64::from_le_bytes(mark)));
        self.write(&fresh, seed, passphrase, random)?;
        let linked = fs::hard_link(&fresh, &self.path);
        let exists =
            matches!(&linked, Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists);
        let made = match linked {
            Err(_) if !exists => fs::rename(&fresh, &self.path), // no links on this file system
            _ => fs::remove_file(&fresh),
        };
        if exists {
            return Err(Error::IdentityExists {
                path: self.path.clone(),
            });
        }
        made.map_err(|source| Error::File {
            doing: "make",
            path: self.path.clone(),
            source,
        })?;
        self.sync_name()
    }

    /// Writes the file anew under another passphrase, or none: the old file or the new one is there after a crash.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Keystore`]; the old file is still there.
    pub fn replace(
        &self,
        seed: &Seed,
        passphrase: Option<&str>,
        random: &dyn Random,
    ) -> Result<(), Error> {
        let fresh = self.path.with_extension("new");
        self.write(&fresh, seed, passphrase, random)?;
        fs::rename(&fresh, &self.path).map_err(|source| Error::File {
            doing: "rename",
            path: fresh,
            source,
        })?;
        self.sync_name()
    }

    /// Copies the identity file to another place that has none, sealed or not as it is. Durable.
    ///
    /// # Errors
    /// [`Error::IdentityExists`] unless what is there is the same; [`Error::Keystore`] if this is no identity file.
    pub fn copy(&self, to: &Self) -> Result<(), Error> {
        let bytes = self.read()?;
        keystore::is_sealed(&bytes).map_err(|source| self.refused(source))?;
        if to.exists() {
            return if to.read()? == bytes {
                Ok(())
            } else {
                Err(Error::IdentityExists {
                    path: to.path.clone(),
                })
            };
        }
        let fresh = to.path.with_extension("new");
        Self::put(&fresh, &bytes)?;
        fs::rename(&fresh, &to.path).map_err(|source| Error::File {
            doing: "rename",
            path: fresh,
            source,
        })?;
        to.sync_name()
    }

    fn write(
        &self,
        path: &Path,
        seed: &Seed,
        passphrase: Option<&str>,
        random: &dyn Random,
    ) -> Result<(), Error> {
        Self::put(
            path,
            &keystore::lock(seed, passphrase, KdfParams::DEFAULT, random),
        )
    }

    fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let failed = |doing| {
            move |source| Error::File {
                doing,
                path: path.to_owned(),
                source,
            }
        };
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        ate_log::private_file(&mut options);
        let mut file = options.open(path).map_err(failed("make"))?;
        file.write_all(bytes).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))
    }

    /// Makes the file's name durable.
    fn sync_name(&self) -> Result<(), Error> {
        let dir = self.path.parent().unwrap_or_else(|| Path::new("."));
        ate_log::sync_directory(dir).map_err(|source| Error::File {
            doing: "sync",
            path: dir.to_owned(),
            source,
        })
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NoIdentity {
                path: self.path.clone(),
            },
            _ => Error::File {
                doing: "read",
                path: self.path.clone(),
                source,
            },
        };
        let bytes = fs::metadata(&self.path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(self.refused(KeystoreError::NotAKeystore));
        }
        fs::read(&self.path).map_err(failed)
    }

    fn refused(&self, source: KeystoreError) -> Error {
        Error::Keystore {
            path: self.path.clone(),
            source,
        }
    }
}
