//! Rows over QUIC on the loopback interface: a node and its replicas in one process, each with a store and a runtime of its own.

use std::time::{Duration, Instant};

use ate::{Chain, Identity, Seed, ServeOptions, Serving, Store};
use ate_benches::{Sample, now, percentile, row};

use crate::commits::floor;
use crate::{Bench, Outcome};

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Commits of the first filling, a thousand records each.
const COMMITS: u64 = 300;
const RECORDS: u64 = 1000;

/// A node, and the address of a chain at it.
pub(crate) fn node(bench: &Bench, name: &str) -> Result<(Serving, String), Failed> {
    let host = bench.store(name)?;
    let serving = host.serve(&ServeOptions::on("127.0.0.1:0".parse()?))?;
    let url = format!("{}/bench", serving.address()?);
    Ok((serving, url))
}

/// A store of the one identity that all clients here have.
pub(crate) fn client(bench: &Bench, name: &str) -> Result<Store, Failed> {
    let identity = Identity::from_seed(&Seed::from_bytes([9; 32]));
    Ok(Store::builder(bench.fresh(name)?)
        .identity(identity)
        .open()
        .wait()?)
}

pub(crate) fn reaches(chain: &Chain, position: u64) -> Result<(), Failed> {
    while chain.position().0 < position {
        let past = chain
            .local()
            .past_within(chain.position(), Duration::from_secs(60));
        past.ok_or("the replica does not follow")?;
    }
    Ok(())
}

/// How fast a new replica takes in and verifies a chain.
pub(crate) fn catch_up(bench: &Bench) -> Outcome {
    let (serving, url) = node(bench, "catchup-host")?;
    let writer = client(bench, "catchup-writer")?;
    let chain = writer.create_chain(&url).wait()?;
    let begun = now();
    for commit in 0..COMMITS {
        let transaction = chain.begin();
        for record in 0..RECORDS {
            transaction.add(&Sample::new(commit * RECORDS + record))?;
        }
        transaction.commit().wait()?;
    }
    let (records, time) = (COMMITS * RECORDS, begun.elapsed());
    let rate = records as f64 / time.as_secs_f64();
    row(
        "bulk over the wire",
        rate,
        "records/s",
        "1000 a commit, one after the other, durable at the node",
    );
    let reader = client(bench, "catchup-reader")?;
    let begun = now();
    let copy = reader.chain(&url).wait()?;
    reaches(&copy, chain.position().0)?;
    let time = begun.elapsed();
    assert_eq!(copy.root(), chain.root());
    let rate = records as f64 / time.as_secs_f64();
    let note = format!(
        "{records} records in {time:.2?}, contents included; node, replica and kernel on the same cores"
    );
    row("catch-up", rate, "events/s", &note);
    drop((copy, chain));
    serving.shut_down().wait();
    Ok(())
}

/// From the call on A to the moment when B has verified it.
pub(crate) fn seen(bench: &Bench) -> Outcome {
    let (signature, sync) = floor(bench)?;
    let (serving, url) = node(bench, "seen-host")?;
    let a = client(bench, "seen-a")?;
    let chain = a.create_chain(&url).wait()?;
    chain.add(Sample::new(0)).wait()?;
    let b = client(bench, "seen-b")?;
    let copy = b.chain(&url).wait()?;
    reaches(&copy, chain.position().0)?;
    let (mut seen, mut answered) = (Vec::new(), Vec::new());
    let start = now();
    while start.elapsed() < bench.length {
        let (next, sample) = (copy.position().0 + 1, Sample::new(seen.len() as u64));
        let watching = copy.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let watcher = std::thread::spawn(move || {
            let _ = ready.send(());
            reaches(&watching, next).map(|()| now())
        });
        is_ready.recv()?;
        let begun = now();
        chain.add(sample).wait()?;
        answered.push(begun.elapsed());
        let at: Instant = watcher.join().map_err(|_| "the watcher failed")??;
        seen.push(at.duration_since(begun));
    }
    seen.sort_unstable();
    answered.sort_unstable();
    let p50 = percentile(&seen, 50);
    let extra = p50.saturating_sub(signature + sync);
    let note = format!(
        "p50 {p50:?} p99 {:?}; signature {signature:?} + append and sync {sync:?}; the rest {extra:?}; answer on A p50 {:?}",
        percentile(&seen, 99),
        percentile(&answered, 50),
    );
    row(
        "commit on A, seen on B",
        1.0 / p50.as_secs_f64(),
        "a second",
        &note,
    );
    drop((copy, chain));
    serving.shut_down().wait();
    Ok(())
}
