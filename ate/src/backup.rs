//! Copying a store while it is used, and putting the copy back.
//!
//! The log does the copying ([`ate_log::FileLog::backup`]). What is added here is what only chains can tell: a restored store is declared whole when every
//! chain in it has been verified, body by body, and nothing is put in the place of a store that is there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ate_chain::{ChainId, Committer, Depth, Directory, Local, Position, Proved};
use ate_crypto::{Hash, Random};
use ate_log::{
    BackedUp, FileLog, FileStorage, FrameKind, Log, LogOptions, Pace, Repaired, Restored, Scan,
    Storage,
};

use crate::ambient::{SystemClock, SystemRandom};
use crate::error::Error;
use crate::keystore::Keystore;
use crate::store::{ChainInfo, Store};

/// What [`Store::backup`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backup {
    /// What was copied and what was there.
    pub copied: BackedUp,
    /// The chains in the copy and where each ends.
    pub chains: Vec<(ChainInfo, Position)>,
}

/// What [`restore`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoredStore {
    /// What was copied.
    pub copied: Restored,
    /// The chains, each verified to where it ends, and its Merkle root.
    pub chains: Vec<(ChainInfo, Position, Hash)>,
    /// Whether there is an identity to read and write them with.
    pub has_identity: bool,
}

/// What a restore is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RestoreStep {
    /// So many bytes were copied.
    Copied(u64),
    /// So much of a chain was proved.
    Proved(Proved),
}

/// How the history of a store stands to that of a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// It has the same.
    Equal,
    /// It has all of the backup and more.
    Newer,
    /// The backup has all of it and more.
    Older,
    /// Each has something that the other has not.
    Diverged,
    /// It cannot be read, or is of another log.
    Unknown,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Equal => "with the same history as the backup",
            Self::Newer => "that is newer than the backup",
            Self::Older => "that is older than the backup",
            Self::Diverged => {
                "with a history that the backup does not have, and without some that it has"
            }
            Self::Unknown => "that cannot be compared with the backup",
        })
    }
}

/// A function as a pace: it gets how many bytes were moved so far.
struct Told<F>(F, u64);

impl<F: FnMut(u64) -> ControlFlow<()>> Pace for Told<F> {
    fn did(&mut self, bytes: u64) -> ControlFlow<()> {
        self.1 += bytes;
        (self.0)(self.1)
    }
}

impl Store {
    /// Copies the store into another directory while it is used: everything durable up to now. What an earlier backup there has is not copied again.
    /// `progress` gets the bytes read so far and may end it.
    ///
    /// **The identity is not copied**: without it, or its 24 words, nobody can read the backup. [`Keystore::copy`] copies its file. Snapshots are not
    /// copied either; they are made anew.
    ///
    /// # Errors
    /// [`Error::Backup`]: the earlier backup stays. [`Error::InMemory`] for a store without files.
    ///
    /// # Cost
    /// As [`FileLog::backup`], and one pass over the heads of the copy to tell where chains end.
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Backup, Error> {
        let files = self.files().ok_or(Error::InMemory)?;
        copy(files, to.as_ref(), progress)
    }
}

/// As [`Store::backup`], of the store in a directory that another process may be writing. It takes no identity and no passphrase: nothing is read in it.
///
/// # Errors
/// As [`Store::backup`]; [`Error::Log`] if there is no log in `dir`.
pub fn backup(
    dir: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Backup, Error> {
    let files = FileLog::open_reader(Arc::new(FileStorage::new(dir.as_ref())))?;
    copy(&files, to.as_ref(), progress)
}

fn copy(
    files: &FileLog,
    to: &Path,
    progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Backup, Error> {
    let to: Arc<dyn Storage> = Arc::new(FileStorage::new(to));
    let copied = files.backup(&to, &mut Told(progress, 0))?;
    let copy = ate_log::open_backup(&to)?;
    Ok(Backup {
        copied,
        chains: ends(&copy)?,
    })
}

/// The chains of a log and where each ends, as its frames say.
fn ends(log: &FileLog) -> Result<Vec<(ChainInfo, Position)>, Error> {
    let chains = chains_of(log)?;
    let mut ends: BTreeMap<_, u64> = BTreeMap::new();
    log.scan(Scan::from(log.start()), &mut |frame| {
        match frame.kind {
            FrameKind::Commit => drop(ends.insert(frame.stream, frame.number + 1)),
            FrameKind::Void => drop(ends.insert(frame.stream, frame.number)),
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    let end = |chain: &ChainInfo| ends.get(&chain.id.stream()).copied().unwrap_or(0);
    Ok(chains
        .into_iter()
        .map(|chain| {
            let end = Position(end(&chain));
            (chain, end)
        })
        .collect())
}

fn chains_of(log: &dyn Log) -> Result<Vec<ChainInfo>, Error> {
    let mut directory = Directory::new(log);
    directory.update(log)?;
    let info = |entry: ate_chain::DirectoryEntry| ChainInfo {
        name: entry.name.into(),
        id: entry.chain,
        root: entry.root,
    };
    Ok(directory.entries().map(info).collect())
}

/// Copies the backup in `from` into `to`, verifies every chain with all its bodies, and only then makes it a store. Until then, also after a crash, the
/// directory opens for nobody and may be restored into again.
///
/// The restored store is another one than the copied: it writes into lanes of its own, so its commits are never mistaken for those that the original makes
/// after the backup. No identity is put there, see [`Keystore::copy`]; one that is there stays.
///
/// # Errors
/// [`Error::Occupied`] if there is a store, with how its history stands to the backup: nothing is changed then. [`Error::Backup`] names what in the backup
/// is damaged, [`Error::Chain`] what does not verify.
pub fn restore(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    mut progress: impl FnMut(RestoreStep) -> ControlFlow<()>,
) -> Result<RestoredStore, Error> {
    let dir = to.as_ref();
    let from: Arc<dyn Storage> = Arc::new(FileStorage::new(from.as_ref()));
    let to: Arc<dyn Storage> = Arc::new(FileStorage::new(dir));
    let mut store = [0; 16];
    SystemRandom.fill(&mut store);
    let mut pace = Told(|bytes| progress(RestoreStep::Copied(bytes)), 0);
    let restoring = match ate_log::restore(&from, &to, store, &mut pace) {
        Err(ate_log::BackupError::HoldsAStore { .. }) => return Err(occupied(&from, &to, dir)),
        restoring => restoring?,
    };
    let log = restoring.reader()?;
    let mut chains = Vec::new();
    let mut stopped = ControlFlow::Continue(());
    for chain in chains_of(&log)? {
        let (_, position, root) = Local::verify(&log, chain.id, Depth::Bodies, |proved| {
            if stopped.is_continue() {
                stopped = progress(RestoreStep::Proved(*proved));
            }
        })?;
        if stopped.is_break() {
            return Err(ate_log::BackupError::Stopped.into());
        }
        chains.push((chain, position, root));
    }
    drop(log);
    let copied = restoring.finish()?;
    finish_erasures(to, chains.iter().map(|(chain, ..)| chain.id))?;
    Ok(RestoredStore {
        copied,
        chains,
        has_identity: Keystore::in_dir(dir).exists(),
    })
}

/// What [`repair`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairedStore {
    /// What was mended, what the damaged files are called now, and what stays damaged.
    pub done: Repaired,
    /// The chains that verify, to where they do.
    pub chains: Vec<(ChainInfo, Position)>,
    /// The chains that do not, and why: the other copy did not have what they lack.
    pub broken: Vec<(ChainInfo, String)>,
}

/// Mends the damaged store in `dir` with another copy of it: a backup, or a copied directory. What stands at the same place there and passes all checksums is
/// taken; then every chain is verified, with all its bodies, and only then the damaged files are replaced. They are kept beside as `damaged-NAME`.
///
/// A chain that lacks what the other copy does not have either is named in [`RepairedStore::broken`]; the others are whole. Erased bytes that came back with a
/// file are erased again.
///
/// # Errors
/// [`Error::Backup`]: it is no copy of this store, or another process writes it. [`Error::Foreign`]: what would be mended passes its checksums and is not what
/// was signed. Nothing was changed then.
pub fn repair(
    dir: impl AsRef<Path>,
    from: impl AsRef<Path>,
    mut progress: impl FnMut(RestoreStep) -> ControlFlow<()>,
) -> Result<RepairedStore, Error> {
    let from: Arc<dyn Storage> = Arc::new(FileStorage::new(from.as_ref()));
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::new(dir.as_ref()));
    let mut store = [0; 16];
    SystemRandom.fill(&mut store);
    let mut pace = Told(|bytes| progress(RestoreStep::Copied(bytes)), 0);
    let prepared = ate_log::repair(&storage, &from, store, &mut pace)?;
    let log = prepared.reader()?;
    let (mut chains, mut broken) = (Vec::new(), Vec::new());
    for chain in chains_of(&log)? {
        let verified = Local::verify(&log, chain.id, Depth::Bodies, |proved| {
            // Whatever it says: the end is near.
            let _ = progress(RestoreStep::Proved(*proved));
        });
        match verified {
            Ok((_, position, _)) => chains.push((chain, position)),
            Err(error) if prepared.damaged().is_empty() => {
                return Err(Error::Foreign {
                    chain: chain.name,
                    source: Box::new(error),
                });
            }
            Err(error) => broken.push((chain, error.to_string())),
        }
    }
    drop(log);
    let done = prepared.finish()?;
    if done.damaged.is_empty() {
        finish_erasures(storage, chains.iter().map(|(chain, _)| chain.id))?;
    }
    Ok(RepairedStore {
        done,
        chains,
        broken,
    })
}

/// Destroys what the restored history says is erased and the copied files still had: the backup may have been made between the two.
fn finish_erasures(
    storage: Arc<dyn Storage>,
    chains: impl Iterator<Item = ChainId>,
) -> Result<(), Error> {
    let log = Arc::new(FileLog::open(storage, LogOptions::default())?);
    let committer = committer(log.clone());
    for chain in chains {
        let local = Local::at(&committer, chain, None);
        local.load()?;
        local.finish_erasures()?;
    }
    committer.close();
    Ok(log.close()?)
}

fn committer(log: Arc<FileLog>) -> Arc<Committer> {
    let store = log.store_id();
    Committer::new(
        log,
        Arc::new(SystemClock),
        Arc::new(SystemRandom),
        None,
        store,
    )
}

/// Why nothing is restored over the store in `dir`.
fn occupied(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>, dir: &Path) -> Error {
    let standing = || {
        let ours = FileLog::open_reader(Arc::clone(to)).ok()?;
        let theirs = ate_log::open_backup(from).ok()?;
        compare(Arc::new(ours), Arc::new(theirs)).ok()
    };
    Error::Occupied {
        dir: PathBuf::from(dir),
        standing: standing().unwrap_or(Standing::Unknown),
    }
}

/// How the history in `ours` stands to that in `theirs`, chain by chain: by size and Merkle root.
fn compare(ours: Arc<FileLog>, theirs: Arc<FileLog>) -> Result<Standing, Error> {
    let chains = [chains_of(&*ours)?, chains_of(&*theirs)?];
    let (ours, theirs) = (committer(ours), committer(theirs));
    let mut ids: Vec<ChainId> = chains.iter().flatten().map(|chain| chain.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let (mut more_here, mut more_there) = (false, false);
    let load =
        |committer: &Arc<Committer>, chain, has: bool| -> Result<Option<Arc<Local>>, Error> {
            if !has {
                return Ok(None);
            }
            let local = Local::at(committer, chain, None);
            local.load()?;
            Ok(Some(local))
        };
    for id in ids {
        let has = chains
            .each_ref()
            .map(|chains| chains.iter().any(|chain| chain.id == id));
        match (load(&ours, id, has[0])?, load(&theirs, id, has[1])?) {
            (Some(here), Some(there)) => {
                let common = here.position().min(there.position());
                if here.root_at(common) != there.root_at(common) {
                    return Ok(Standing::Diverged);
                }
                more_here |= here.position() > common;
                more_there |= there.position() > common;
            }
            (here, there) => {
                more_here |= here.is_some();
                more_there |= there.is_some();
            }
        }
    }
    Ok(match (more_here, more_there) {
        (false, false) => Standing::Equal,
        (true, false) => Standing::Newer,
        (false, true) => Standing::Older,
        (true, true) => Standing::Diverged,
    })
}
