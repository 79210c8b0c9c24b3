//! What can stand in the way of opening a store, and what each obstacle is called.

use std::fs;

use ate::log::{Entry, FileLog, FileStorage, FrameKind, Log as _, LogOptions};
use ate::prelude::*;
use ate::{Error, ErrorKind, Json, Keystore};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn refused(builder: ate::StoreBuilder) -> Result<Error, Box<dyn std::error::Error>> {
    Ok(builder.open().wait().err().ok_or("it opened")?)
}

fn written(dir: &std::path::Path, records: usize) -> Outcome {
    let store = Store::open(dir).wait()?;
    let chain = store.chain("chain").wait()?;
    let tx = chain.begin();
    for number in 0..records {
        tx.put(
            format!("n{number}"),
            &Json::new(format!("{{\"number\":{number}}}"))?,
        )?;
    }
    tx.commit().wait()?;
    Ok(store.close().wait()?)
}

#[test]
fn a_file_is_no_directory() -> Outcome {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    fs::write(&file, "text")?;
    for builder in [
        Store::builder(&file),
        Store::builder(&file).read_only(),
        Store::builder(file.join("below")),
    ] {
        let error = refused(builder)?;
        assert!(
            matches!(error.kind(), ErrorKind::Io | ErrorKind::NotFound),
            "{error:?}"
        );
        assert!(error.to_string().contains("file"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file)?, "text");
    Ok(())
}

#[test]
fn a_log_without_its_identity_gets_no_new_one() -> Outcome {
    let dir = tempfile::tempdir()?;
    written(dir.path(), 3)?;
    fs::remove_file(Keystore::in_dir(dir.path()).path())?;
    for damage in [false, true] {
        if damage {
            let segment = segment(dir.path())?;
            fs::write(&segment, "no segment at all")?;
        }
        let error = refused(Store::builder(dir.path()))?;
        assert!(matches!(error, Error::NoIdentity { .. }), "{error:?}");
        assert!(
            !Keystore::in_dir(dir.path()).exists(),
            "it could read nothing of it"
        );
    }
    Ok(())
}

#[test]
fn one_identity_however_many_make_it() -> Outcome {
    let dir = tempfile::tempdir()?;
    let outcomes: Vec<Result<Store, Error>> = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Store::open(dir.path()).wait()))
            .collect();
        opening
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let kept = Keystore::in_dir(dir.path()).identity(None)?.id();
    for outcome in outcomes {
        match outcome {
            Ok(store) => assert_eq!(store.identity().id(), kept),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error:?}"),
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path())?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(
        left.iter()
            .filter(|name| name.to_string_lossy().starts_with("identity"))
            .count(),
        1,
        "{left:?}"
    );
    Ok(())
}

#[test]
fn the_passphrase_is_asked_for_and_checked() -> Outcome {
    let dir = tempfile::tempdir()?;
    let id = {
        let store = Store::builder(dir.path())
            .passphrase("correct horse")
            .open()
            .wait()?;
        let chain = store.chain("c").wait()?;
        chain.put("a", Json::new("1")?).wait()?;
        store.identity().id()
    };
    assert!(Keystore::in_dir(dir.path()).is_sealed()?);
    assert_eq!(
        refused(Store::builder(dir.path()))?.kind(),
        ErrorKind::Denied
    );
    assert_eq!(
        refused(Store::builder(dir.path()).passphrase("wrong"))?.kind(),
        ErrorKind::Denied
    );
    let store = Store::builder(dir.path())
        .passphrase("correct horse")
        .open()
        .wait()?;
    assert_eq!(store.identity().id(), id);
    assert_eq!(
        store.chain("c").wait()?.get::<Json>("a").wait()?.as_str(),
        "1"
    );
    Ok(())
}

#[test]
fn reading_changes_no_file() -> Outcome {
    let dir = tempfile::tempdir()?;
    written(dir.path(), 2000)?;
    let state = || -> std::io::Result<Vec<_>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir.path())? {
            let entry = entry?;
            files.push((entry.file_name(), fs::read(entry.path())?));
        }
        files.sort();
        Ok(files)
    };
    let before = state()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500))?;
    }
    {
        let store = Store::builder(dir.path()).read_only().open().wait()?;
        let chain = store.existing_chain("chain").wait()?;
        assert_eq!(chain.names("")?.len(), 2000);
        let error = store
            .chain("another")
            .wait()
            .map(drop)
            .expect_err("a reader makes nothing");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        store.close().wait()?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))?;
    }
    assert!(state()? == before);
    assert_eq!(
        refused(Store::builder(dir.path().join("absent")).read_only())?.kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        refused(Store::builder(dir.path().join("absent")).must_exist())?.kind(),
        ErrorKind::NotFound
    );
    assert!(!dir.path().join("absent").exists());
    Ok(())
}

fn segment(dir: &std::path::Path) -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
    let mut largest = None;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "identity"
            && name != "lock"
            && !name.contains("chain-")
            && !name.contains("directory")
        {
            largest = Some(entry.path());
        }
    }
    Ok(largest.ok_or("there is a segment")?)
}

#[test]
fn a_newer_commit_format_is_named() -> Outcome {
    let dir = tempfile::tempdir()?;
    written(dir.path(), 3)?;
    {
        // What a newer program would write: a commit head of the next format version, in a frame whose checksums hold.
        let log = FileLog::open(
            std::sync::Arc::new(FileStorage::new(dir.path())),
            LogOptions::default(),
        )?;
        let (mut last, mut part) = (None, Vec::new());
        log.scan(ate_log::Scan::from(log.start()), &mut |frame| {
            if frame.kind == FrameKind::Commit {
                last = Some((frame.stream, frame.number));
                part = frame.part(0).unwrap_or_default().to_vec();
            }
            std::ops::ControlFlow::Continue(())
        })?;
        let (stream, number) = last.ok_or("there are commits")?;
        // Order time, length of the head, then its format version.
        let version = part[8..]
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .ok_or("a length")?
            + 9;
        part[version] += 1;
        let parts: [&[u8]; 2] = [&part, &[]];
        let entry = Entry {
            kind: FrameKind::Commit,
            stream,
            number: number + 1,
            head_parts: 2,
            parts: &parts,
        };
        log.append(&[entry], &mut Vec::new())?;
        log.sync()?;
        log.close()?;
    }
    let store = Store::open(dir.path()).wait()?;
    let error = store.chain("chain").wait().map(drop).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::NewerSchema, "{error:?}");
    Ok(())
}

#[test]
fn a_closed_store_reads_and_refuses_writes() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("c").wait()?;
    chain.put("a", Json::new("1")?).wait()?;
    let tx = chain.begin();
    tx.put("a", &Json::new("2")?)?;
    store.close().wait()?;
    store.close().wait()?;
    assert_eq!(chain.get::<Json>("a").wait()?.as_str(), "1");
    for error in [
        tx.commit().wait().map(drop).expect_err("closed"),
        chain
            .put("b", Json::new("2")?)
            .wait()
            .map(drop)
            .expect_err("closed"),
    ] {
        assert_eq!(error.to_string(), "the store is closed");
        let error = Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(
            error
                .remedy()
                .is_some_and(|remedy| remedy.contains("keep the store"))
        );
    }
    // A chain outlives its store in the same way.
    let chain = {
        let store = Store::in_memory()?;
        let chain = store.chain("c").wait()?;
        chain.put("a", Json::new("1")?).wait()?;
        chain
    };
    assert_eq!(chain.get::<Json>("a").wait()?.as_str(), "1");
    assert!(chain.put("a", Json::new("2")?).wait().is_err());
    Ok(())
}
