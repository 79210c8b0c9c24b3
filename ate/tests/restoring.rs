//! Backups of a store in use, and stores made of them: what the backup has is there and proved, and what is written after it
//! can never be mistaken for what the original writes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ate::log::{BackupError, FileLog, FileStorage, OpenError};
use ate::prelude::*;
use ate::{Chain, Depth, Error, ErrorKind, Json, Keystore, Standing};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn on<T>(_: T) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn put(chain: &Chain, number: u64) -> Result<(), Error> {
    let text = format!("{{\"number\": {number}, \"text\": \"{}\"}}", "x".repeat(40));
    chain
        .put(
            format!("n/{number}").as_str(),
            Json::new(text).expect("JSON"),
        )
        .wait()?;
    Ok(())
}

fn names(chain: &Chain) -> Result<Vec<String>, Error> {
    let mut names: Vec<_> = chain
        .names("")?
        .into_iter()
        .map(|entry| entry.name.to_string())
        .collect();
    names.sort();
    Ok(names)
}

#[test]
fn a_store_is_backed_up_while_it_is_written_and_put_back() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let (data, to, new) = (
        dirs.path().join("data"),
        dirs.path().join("backup"),
        dirs.path().join("new"),
    );
    let store = Store::open(&data).wait()?;
    let chains = [store.chain("a").wait()?, store.chain("b").wait()?];
    for chain in &chains {
        put(chain, 0)?;
    }
    let done = AtomicBool::new(false);
    let backups = std::thread::scope(|scope| -> Result<_, Error> {
        let writer = scope.spawn(|| -> Result<(), Error> {
            let mut number = 1;
            while !done.load(Ordering::Relaxed) {
                put(&chains[number as usize % 2], number)?;
                number += 1;
            }
            Ok(())
        });
        // By the writing process, and by another one beside it.
        let mut backups = Vec::new();
        for round in 0..3 {
            backups.push(if round == 1 {
                ate::backup(&data, &to, on)?
            } else {
                store.backup(&to, on)?
            });
        }
        done.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")?;
        Ok(backups)
    })?;
    assert!(
        backups
            .windows(2)
            .all(|pair| pair[0].copied.end <= pair[1].copied.end)
    );
    let last = backups.last().expect("three");

    let restored = ate::restore(&to, &new, on)?;
    assert!(!restored.has_identity);
    assert_eq!(restored.chains.len(), 2);
    for ((chain, position), (other, proved, root)) in last.chains.iter().zip(&restored.chains) {
        assert_eq!((chain, position), (other, proved));
        let original = chains
            .iter()
            .find(|open| open.id() == chain.id)
            .expect("one of two");
        assert_eq!(original.root_at(*position), Some(*root));
    }
    let missing = Store::builder(&new).open().wait();
    assert!(
        matches!(missing, Err(Error::NoIdentity { .. })),
        "nothing is read without the identity"
    );
    Keystore::in_dir(&data).copy(&Keystore::in_dir(&new))?;
    let again = Store::open(&new).wait()?;
    for (info, position, root) in &restored.chains {
        let chain = again.existing_chain(&info.name).wait()?;
        assert_eq!((chain.position(), chain.root()), (*position, *root));
        let (here, there) = (
            names(&chain)?,
            names(&store.existing_chain(&info.name).wait()?)?,
        );
        assert!(here.iter().all(|name| there.contains(name)));
        again.verify(&chain.id(), Depth::Deep, |_| {})?;
    }
    Ok(())
}

#[test]
fn a_restored_store_and_its_original_never_use_the_same_place_in_a_lane() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let (data, to) = (dirs.path().join("data"), dirs.path().join("backup"));
    let store = Store::open(&data).wait()?;
    let chain = store.chain("a").wait()?;
    put(&chain, 0)?;
    let backed_up = store.backup(&to, on)?;
    let end = backed_up.chains[0].1;
    let mut stores = vec![store];
    for name in ["first", "second"] {
        let dir = dirs.path().join(name);
        ate::restore(&to, &dir, on)?;
        Keystore::in_dir(&data).copy(&Keystore::in_dir(&dir))?;
        stores.push(Store::open(&dir).wait()?);
    }
    let mut seen = BTreeSet::new();
    for (index, store) in stores.iter().enumerate() {
        let chain = store.chain("a").wait()?;
        for number in 0..5 {
            put(&chain, 100 * index as u64 + number)?;
        }
        for seq in end.0..chain.position().0 {
            let head = chain.commit(seq)?.head;
            assert!(
                seen.insert((head.lane, head.number)),
                "store {index} commit {seq} is in the place of another store's"
            );
        }
    }
    assert_eq!(seen.len(), 15);
    Ok(())
}

#[test]
fn nothing_is_restored_over_a_store_and_it_is_said_how_it_stands() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let path = |name: &str| dirs.path().join(name);
    let store = Store::open(path("data")).wait()?;
    let chain = store.chain("a").wait()?;
    put(&chain, 0)?;
    store.backup(path("old"), on)?;
    put(&chain, 1)?;
    store.backup(path("backup"), on)?;
    ate::restore(path("old"), path("older"), on)?;
    ate::restore(path("backup"), path("equal"), on)?;
    Keystore::in_dir(&path("data")).copy(&Keystore::in_dir(&path("older")))?;
    ate::restore(path("old"), path("diverged"), on)?;
    Keystore::in_dir(&path("data")).copy(&Keystore::in_dir(&path("diverged")))?;
    {
        let store = Store::open(path("diverged")).wait()?;
        put(&store.chain("a").wait()?, 7)?;
    }
    put(&chain, 2)?;
    for (name, expected) in [
        ("data", Standing::Newer),
        ("equal", Standing::Equal),
        ("older", Standing::Older),
        ("diverged", Standing::Diverged),
    ] {
        let refused = ate::restore(path("backup"), path(name), on).expect_err("there is a store");
        assert_eq!(refused.kind(), ErrorKind::Rejected, "{name}");
        assert!(
            matches!(&refused, Error::Occupied { standing, .. } if *standing == expected),
            "{name}: {refused}"
        );
    }
    put(&chain, 3)?;
    Ok(())
}

#[test]
fn a_backup_that_does_not_verify_makes_no_store() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let (to, new) = (dirs.path().join("backup"), dirs.path().join("new"));
    let store = Store::open(dirs.path().join("data")).wait()?;
    let chain = store.chain("a").wait()?;
    for number in 0..20 {
        put(&chain, number)?;
    }
    store.backup(&to, on)?;
    let segment = to.join("log-00000001.seg");
    let good = std::fs::read(&segment)?;
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&segment, bad)?;
    let refused = ate::restore(&to, &new, on).expect_err("the backup is damaged");
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    let opened = FileLog::open_reader(Arc::new(FileStorage::new(&new)));
    assert!(matches!(opened, Err(OpenError::Unfinished { .. })));
    std::fs::write(&segment, good)?;
    assert_eq!(ate::restore(&to, &new, on)?.chains[0].1, chain.position());
    Ok(())
}

#[test]
fn a_backup_is_not_written_to() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let (data, to) = (dirs.path().join("data"), dirs.path().join("backup"));
    let store = Store::open(&data).wait()?;
    put(&store.chain("a").wait()?, 0)?;
    store.backup(&to, on)?;
    Keystore::in_dir(&data).copy(&Keystore::in_dir(&to))?;
    let written = Store::open(&to).wait();
    assert!(matches!(
        &written,
        Err(Error::Log(OpenError::Backup { .. }))
    ));
    let read = Store::builder(&to).read_only().open().wait()?;
    assert_eq!(names(&read.existing_chain("a").wait()?)?, ["n/0"]);
    let itself = store.backup(&data, on);
    assert!(
        matches!(itself, Err(Error::Backup(BackupError::HoldsAStore { .. }))),
        "{itself:?}"
    );
    assert!(matches!(
        Store::in_memory()?.backup(&to, on),
        Err(Error::InMemory)
    ));
    let stopped = store.backup(dirs.path().join("other"), |_| ControlFlow::Break(()));
    assert!(
        matches!(stopped, Err(Error::Backup(BackupError::Stopped))),
        "{stopped:?}"
    );
    Ok(())
}

#[test]
fn a_damaged_store_is_mended_and_every_chain_proved() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let (data, to) = (dirs.path().join("data"), dirs.path().join("backup"));
    let (position, root) = {
        let store = Store::open(&data).wait()?;
        let chain = store.chain("a").wait()?;
        for number in 0..30 {
            put(&chain, number)?;
        }
        store.backup(&to, on)?;
        store.close().wait()?;
        (chain.position(), chain.root())
    };
    let segment = data.join("log-00000001.seg");
    let mut bytes = std::fs::read(&segment)?;
    for part in 1..5 {
        let at = bytes.len() * part / 5;
        bytes[at] ^= 1;
    }
    std::fs::write(&segment, &bytes)?;
    let repaired = ate::repair(&data, &to, on)?;
    assert!(
        repaired.done.damaged.is_empty() && repaired.broken.is_empty(),
        "{repaired:?}"
    );
    assert_eq!(std::fs::read(data.join("damaged-log-00000001.seg"))?, bytes);
    let store = Store::open(&data).wait()?;
    let chain = store.chain("a").wait()?;
    assert_eq!((chain.position(), chain.root()), (position, root));
    put(&chain, 100)?;
    let busy = ate::repair(&data, &to, on).expect_err("it is open");
    assert_eq!(busy.kind(), ErrorKind::Locked);
    Ok(())
}

#[test]
fn what_was_erased_is_not_in_the_next_backup_and_not_in_what_is_restored() -> Outcome {
    let dirs = tempfile::tempdir()?;
    let (data, to, new) = (
        dirs.path().join("data"),
        dirs.path().join("backup"),
        dirs.path().join("new"),
    );
    let store = Store::open(&data).wait()?;
    let chain = store.chain("a").wait()?;
    let large = format!("\"{}\"", "large".repeat(30_000));
    chain
        .put("secret", Json::new(large).expect("JSON"))
        .wait()?;
    put(&chain, 1)?;
    store.backup(&to, on)?;
    let key = chain.key_of::<Json>("secret").expect("it is there");
    chain.erase::<Json>(key).wait()?;
    chain.local().finish_erasures()?;
    store.backup(&to, on)?;
    let restored = ate::restore(&to, &new, on)?;
    assert_eq!(restored.chains[0].1, chain.position());
    let size = |dir: &std::path::Path| -> std::io::Result<u64> {
        let bytes = std::fs::read(dir.join("large-00000001.seg"))?;
        Ok(bytes[64..].iter().filter(|byte| **byte != 0).count() as u64)
    };
    assert_eq!((size(&to)?, size(&new)?), (0, 0), "nothing of it is left");
    Ok(())
}
