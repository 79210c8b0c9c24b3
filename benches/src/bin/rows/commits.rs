//! Small commits: alone, from 64 threads, from many tasks; beside them what a signature and a sync cost by themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ate_benches::{Sample, now, percentile, row, timed};
use ate_log::Log;

use crate::{Bench, Outcome};

/// The median time of one hybrid signature and of one append with sync of a small group.
pub(crate) fn floor(
    bench: &Bench,
) -> Result<(Duration, Duration), Box<dyn std::error::Error + Send + Sync>> {
    let identity = ate::Identity::from_seed(&ate::Seed::from_bytes([1; 32]));
    let mut signatures: Vec<Duration> = (0..2000)
        .map(|number: u32| {
            timed(|| identity.sign(ate_crypto::Purpose::Batch, &number.to_le_bytes())).1
        })
        .collect();
    signatures.sort_unstable();
    let storage = std::sync::Arc::new(ate_log::FileStorage::new(bench.fresh("floor")?));
    let log = ate_log::FileLog::open(storage, ate_log::LogOptions::new([1; 16]))?;
    let body = vec![7u8; 4000];
    let mut placed = Vec::new();
    let mut syncs = Vec::new();
    for number in 0..2000 {
        let parts: [&[u8]; 1] = [&body];
        let entry = ate_log::Entry {
            kind: ate_log::FrameKind::Proof,
            stream: ate_log::StreamId([2; 32]),
            number,
            head_parts: 1,
            parts: &parts,
        };
        let (outcome, time) = timed(|| log.append(&[entry], &mut placed).and_then(|()| log.sync()));
        outcome?;
        syncs.push(time);
    }
    syncs.sort_unstable();
    Ok((percentile(&signatures, 50), percentile(&syncs, 50)))
}

pub(crate) fn lone(bench: &Bench) -> Outcome {
    let (signature, sync) = floor(bench)?;
    let store = bench.store("lone")?;
    let chain = store.chain("bench").wait()?;
    chain.add(Sample::new(0)).wait()?;
    let (mut times, start) = (Vec::new(), now());
    while start.elapsed() < bench.length {
        let sample = Sample::new(times.len() as u64);
        let (outcome, time) = timed(|| chain.add(sample).wait());
        outcome?;
        times.push(time);
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    let extra = p50.saturating_sub(signature + sync);
    let note = format!(
        "p50 {p50:?} p99 {p99:?}; signature {signature:?} + append and sync {sync:?}; the rest {extra:?}"
    );
    row("lone committer", rate, "commits/s", &note);
    Ok(())
}

pub(crate) fn threads(bench: &Bench) -> Outcome {
    let store = bench.store("threads")?;
    let chain = store.chain("bench").wait()?;
    chain.add(Sample::new(0)).wait()?;
    let (done, start) = (AtomicU64::new(0), now());
    let before = store.info();
    std::thread::scope(|scope| -> Outcome {
        let workers: Vec<_> = (0..64u64)
            .map(|worker| {
                let (chain, done, length) = (chain.clone(), &done, bench.length);
                scope.spawn(move || -> Outcome {
                    let mut number = worker << 32;
                    while start.elapsed() < length {
                        chain.add(Sample::new(number)).wait()?;
                        number += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    report(
        &store,
        &before,
        "64 committers, threads",
        done.load(Ordering::Relaxed),
        start.elapsed(),
    );
    Ok(())
}

fn report(store: &ate::Store, before: &ate::StoreInfo, name: &str, done: u64, time: Duration) {
    let after = store.info();
    let (syncs, commits) = (after.syncs - before.syncs, after.commits - before.commits);
    let note = format!("{:.1} commits a sync", commits as f64 / syncs as f64);
    row(name, done as f64 / time.as_secs_f64(), "commits/s", &note);
}

pub(crate) fn tasks(bench: &Bench) -> Outcome {
    for count in [64u64, 1024] {
        let store = bench.store("tasks")?;
        let chain = store.chain("bench").wait()?;
        chain.add(Sample::new(0)).wait()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()?;
        let (done, start) = (std::sync::Arc::new(AtomicU64::new(0)), now());
        let before = store.info();
        runtime.block_on(async {
            let workers: Vec<_> = (0..count)
                .map(|worker| {
                    let (chain, done, length) = (chain.clone(), done.clone(), bench.length);
                    tokio::spawn(async move {
                        let mut number = worker << 32;
                        while start.elapsed() < length {
                            chain.add(Sample::new(number)).await?;
                            number += 1;
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Outcome::Ok(())
                    })
                })
                .collect();
            for worker in workers {
                worker.await??;
            }
            Outcome::Ok(())
        })?;
        report(
            &store,
            &before,
            &format!("{count} committers, tasks"),
            done.load(Ordering::Relaxed),
            start.elapsed(),
        );
    }
    Ok(())
}
