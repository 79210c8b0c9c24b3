//! Typed reads by key: from memory, and all the way from the log.

use ate::{Chain, Key, Store};
use ate_benches::{Mix, Sample, now, row};

use crate::{Bench, Outcome};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Reads a second of random keys from `threads` threads.
fn reads(bench: &Bench, chain: &Chain, keys: &[Key<Sample>], threads: u64) -> Result<f64, Error> {
    let start = now();
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|seed| {
                scope.spawn(move || -> Result<u64, Error> {
                    let (mut mix, mut count, mut sum) = (Mix(seed), 0u64, 0u64);
                    while start.elapsed() < bench.length {
                        for _ in 0..256 {
                            let key = keys[(mix.next() % keys.len() as u64) as usize];
                            sum = sum.wrapping_add(chain.get(key).wait()?.id);
                            count += 1;
                        }
                    }
                    std::hint::black_box(sum);
                    Ok(count)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .map_err(|_| Error::from("a worker panicked"))?
            })
            .sum::<Result<u64, Error>>()
    })?;
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

pub(crate) fn read(bench: &Bench) -> Outcome {
    for count in [300_000u64, 1_000_000] {
        let dir = bench.fresh("read")?;
        {
            let store = Store::open(&dir).wait()?;
            super::bulk::fill(&store.chain("bench").wait()?, count, 1)?;
            store.close().wait()?;
        }
        let shown = count / 1000;
        {
            let store = Store::builder(&dir).cache_bytes(0).open().wait()?;
            let chain = store.chain("bench").wait()?;
            let keys = chain.all::<Sample>();
            for threads in [1, 2] {
                row(
                    &format!("read, opened and decoded, {shown} k"),
                    reads(bench, &chain, &keys, threads)?,
                    "reads/s",
                    &format!("{threads} threads, nothing cached"),
                );
            }
        }
        let store = Store::builder(&dir).cache_bytes(1 << 30).open().wait()?;
        let chain = store.chain("bench").wait()?;
        let keys = chain.all::<Sample>();
        keys.iter()
            .try_for_each(|key| chain.get(*key).wait().map(drop))?;
        for threads in [1, 2] {
            row(
                &format!("typed read by key, {shown} k"),
                reads(bench, &chain, &keys, threads)?,
                "reads/s",
                &format!("{threads} threads, resident"),
            );
        }
    }
    Ok(())
}
