//! Limits: what is too large is refused before anything is written, with an error that names the limit, and the store goes on.

use ate::prelude::*;
use ate::{CommitError, Error, ErrorKind};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Blob {
    bytes: String,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn blob(bytes: usize) -> Blob {
    Blob {
        bytes: "b".repeat(bytes),
    }
}

fn kind(error: CommitError) -> ErrorKind {
    Error::from(error).kind()
}

#[test]
fn bodies_up_to_16_mib() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("large").wait()?;
    // The body holds two length prefixes beside the text, and the limit is on the sealed bytes.
    let large = chain.add(blob((16 << 20) - 100)).wait()?;
    assert_eq!(chain.get(&large).wait()?.bytes.len(), (16 << 20) - 100);
    let position = chain.position();
    let error = chain
        .add(blob((16 << 20) + 1))
        .wait()
        .map(drop)
        .expect_err("too large");
    assert!(error.to_string().contains("16777216"), "{error}");
    assert_eq!(kind(error), ErrorKind::Limit);
    let tx = chain.begin();
    let small = tx.add(&blob(1))?;
    assert!(tx.update(small, |b| *b = blob(17 << 20)).wait().is_err());
    assert!(tx.put("x", &blob(17 << 20)).is_err());
    assert_eq!(tx.get(small).wait()?.bytes.len(), 1, "as it was");
    assert_eq!(chain.position(), position);
    tx.commit().wait()?;
    Ok(())
}

#[test]
fn commits_up_to_31_mib() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("large").wait()?;
    let tx = chain.begin();
    let keys: Vec<Key<Blob>> = (0..4)
        .map(|_| tx.add(&blob(8 << 20)))
        .collect::<Result<_, _>>()?;
    let error = tx.commit().wait().map(drop).expect_err("32 MiB");
    assert!(error.to_string().contains("too large"), "{error}");
    assert_eq!(kind(error), ErrorKind::Limit);
    assert!(chain.is_new());
    // Nothing was written, so it can be made smaller.
    tx.remove(keys[3])?;
    tx.commit().wait()?;
    assert_eq!(chain.all::<Blob>(), keys[..3]);
    Ok(())
}

#[test]
fn events_up_to_65536() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("many").wait()?;
    let tx = chain.begin().serializable();
    tx.add(&blob(1))?;
    for number in 0..65_540 {
        assert!(tx.get::<Blob>(format!("n{number}")).wait().is_err());
    }
    let error = tx
        .commit()
        .wait()
        .map(drop)
        .expect_err("reads are events, too");
    assert!(error.to_string().contains("65536"), "{error}");
    assert_eq!(kind(error), ErrorKind::Limit);
    let tx = chain.begin();
    // One event defines the schema.
    for _ in 0..65_535 {
        tx.add(&blob(1))?;
    }
    assert_eq!(
        tx.add(&blob(1)).map(drop).map_err(kind),
        Err(ErrorKind::Limit)
    );
    tx.commit().wait()?;
    store.close().wait()?;
    let store = Store::open(dir.path()).wait()?;
    assert_eq!(store.chain("many").wait()?.all::<Blob>().len(), 65_535);
    Ok(())
}

#[test]
fn records_up_to_64_deep() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("deep").wait()?;
    let tx = chain.begin();
    let mut at = tx.add(&blob(1))?;
    for _ in 1..64 {
        at = tx.push(at, "below", &blob(1))?;
    }
    tx.commit().wait()?;
    let error = chain
        .push(at, "below", blob(1))
        .wait()
        .map(drop)
        .expect_err("too deep");
    assert_eq!(kind(error), ErrorKind::Rejected);
    Ok(())
}

#[test]
fn a_cache_of_nothing() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::builder(dir.path()).cache_bytes(0).open().wait()?;
    let chain = store.chain("uncached").wait()?;
    let keys: Vec<Key<Blob>> = (0..100)
        .map(|n| chain.add(blob(n)).wait().map(|dao| dao.key()))
        .collect::<Result<_, _>>()?;
    for (bytes, key) in keys.iter().enumerate() {
        assert_eq!(chain.get(key).wait()?.bytes.len(), bytes);
        assert!(chain.peek(key).is_none() && chain.contains(key));
    }
    assert_eq!(chain.cache_bytes(), 0);
    Ok(())
}
