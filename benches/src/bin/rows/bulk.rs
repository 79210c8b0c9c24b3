//! Many records a commit, large bodies, and what they take on disk.

use std::collections::VecDeque;
use std::path::Path;

use ate::{Chain, Json, Pending, Receipt, Record, Store};
use ate_benches::{Sample, now, row};

use crate::{Bench, Outcome};

const PER_COMMIT: u64 = 1000;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Adds `count` records, `PER_COMMIT` a commit, with `in_flight` commits on their way.
pub(crate) fn fill(chain: &Chain, count: u64, in_flight: usize) -> Result<(), Error> {
    let mut waiting: VecDeque<Pending<Result<Receipt, ate::CommitError>>> = VecDeque::new();
    let mut number = 0;
    while number < count {
        let tx = chain.begin();
        for _ in 0..PER_COMMIT.min(count - number) {
            tx.add(&Sample::new(number))?;
            number += 1;
        }
        waiting.push_back(tx.commit());
        if waiting.len() >= in_flight {
            waiting.pop_front().expect("just pushed").wait()?;
        }
    }
    waiting
        .into_iter()
        .try_for_each(|pending| pending.wait().map(drop))?;
    Ok(())
}

/// Adds prepared records until the time is up; records a second.
fn rate(bench: &Bench, name: &str, threads: usize) -> Result<f64, Error> {
    let store = bench.store(name)?;
    let chain = store.chain("bench").wait()?;
    chain.add(Sample::new(0)).wait()?;
    let samples: Vec<Sample> = (0..PER_COMMIT).map(Sample::new).collect();
    let start = now();
    let done = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| -> Outcome {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (chain, samples, done) = (chain.clone(), &samples, &done);
                scope.spawn(move || -> Outcome {
                    while start.elapsed() < bench.length {
                        let tx = chain.begin();
                        samples
                            .iter()
                            .try_for_each(|sample| tx.add(sample).map(drop))?;
                        tx.commit().wait()?;
                        done.fetch_add(PER_COMMIT, std::sync::atomic::Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    Ok(done.into_inner() as f64 / start.elapsed().as_secs_f64())
}

pub(crate) fn bulk(bench: &Bench) -> Outcome {
    row(
        "1000 records a commit",
        rate(bench, "bulk", 1)?,
        "records/s",
        "one after the other",
    );
    row(
        "… 2 commits in flight",
        rate(bench, "bulk2", 2)?,
        "records/s",
        "two threads",
    );
    Ok(())
}

fn used(dir: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

pub(crate) fn bytes(bench: &Bench) -> Outcome {
    let grow = |name: &str, count: u64, bulk: bool| -> Result<f64, Error> {
        let dir = bench.fresh(name)?;
        let size = |count: u64| -> Result<u64, Error> {
            let store = Store::open(&dir).wait()?;
            let chain = store.chain("bench").wait()?;
            if bulk {
                fill(&chain, count, 1)?;
            } else {
                (0..count)
                    .try_for_each(|number| chain.add(Sample::new(number)).wait().map(drop))?;
            }
            store.close().wait()?;
            // Only the log: snapshots are a cache.
            let names: Vec<String> = ate_log::Storage::list(&ate_log::FileStorage::new(&dir))?;
            let segments = names.iter().filter(|name| name.ends_with(".seg"));
            Ok(segments
                .map(|name| dir.join(name).metadata().map(|meta| meta.len()))
                .sum::<Result<u64, _>>()?)
        };
        let first = size(1)?;
        Ok((size(count)? - first) as f64 / count as f64)
    };
    let body = ate::view::encode(&Sample::new(5))?.len();
    row(
        "bytes on disk, bulk",
        grow("bytes", 100_000, true)?,
        "B/record",
        &format!("body {body} B; log only"),
    );
    row(
        "bytes on disk, lone commits",
        grow("lone-bytes", 1000, false)?,
        "B/commit",
        "log only",
    );
    let dir = bench.fresh("empty")?;
    drop(Store::open(&dir).wait()?);
    row(
        "empty store",
        used(&dir)? as f64 / 1024.0,
        "KiB",
        "all files",
    );
    Ok(())
}

pub(crate) fn bodies(bench: &Bench) -> Outcome {
    let store = bench.store("bodies")?;
    let chain = store.chain("bench").wait()?;
    let document = Json::new(format!("\"{}\"", "x".repeat((1 << 20) - 2)))?;
    chain.add(Json::new("0")?).wait()?;
    let (start, mut count) = (now(), 0u32);
    while start.elapsed() < bench.length {
        let tx = chain.begin();
        for _ in 0..4 {
            tx.add(&document)?;
            count += 1;
        }
        tx.commit().wait()?;
    }
    row(
        "1 MiB bodies, written",
        f64::from(count) / start.elapsed().as_secs_f64(),
        "MiB/s",
        "4 a commit",
    );
    let keys =
        chain.children::<Json, Json>(ate::Key::from_raw(ate::RecordKey::ROOT), Json::NAME)?;
    let (start, mut count) = (now(), 0u32);
    for key in keys.iter().cycle() {
        if start.elapsed() > bench.length / 2 {
            break;
        }
        chain.document::<Json>(key)?;
        count += 1;
    }
    row(
        "1 MiB bodies, read",
        f64::from(count) / start.elapsed().as_secs_f64(),
        "MiB/s",
        "hashed, opened, checked as JSON",
    );
    Ok(())
}
