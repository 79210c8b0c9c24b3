//! Opening, verifying, and what a million records take in memory.

use ate::{Depth, Store};
use ate_benches::{Sample, percentile, resident_bytes, row, timed};

use crate::bulk::fill;
use crate::{Bench, Outcome};

const RECORDS: u64 = 1_000_000;

fn filled(bench: &Bench) -> Result<std::path::PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    let dir = bench.fresh("million")?;
    let store = Store::open(&dir).wait()?;
    fill(&store.chain("bench").wait()?, RECORDS, 1)?;
    store.close().wait()?;
    Ok(dir)
}

pub(crate) fn open(bench: &Bench) -> Outcome {
    let dir = filled(bench)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let (chain, time) = timed(|| {
            Store::open(&dir)
                .wait()
                .and_then(|store| store.chain("bench").wait().map(|chain| (store, chain)))
        });
        let (store, chain) = chain?;
        times.push(time);
        let keys = chain.all::<Sample>();
        chain.get(keys[keys.len() / 2]).wait()?;
        store.close().wait()?;
    }
    times.sort_unstable();
    row(
        "open 1 M records",
        percentile(&times, 50).as_secs_f64() * 1e3,
        "ms",
        "from the sealed snapshot, median of 5",
    );
    let dir = bench.fresh("empty-open")?;
    drop(Store::open(&dir).wait()?);
    let mut times = Vec::new();
    for _ in 0..20 {
        let (store, time) = timed(|| Store::open(&dir).wait());
        times.push(time);
        drop(store?);
    }
    times.sort_unstable();
    row(
        "open an empty store",
        percentile(&times, 50).as_secs_f64() * 1e3,
        "ms",
        "median of 20",
    );
    Ok(())
}

pub(crate) fn verify(bench: &Bench) -> Outcome {
    let dir = filled(bench)?;
    let store = Store::builder(&dir).read_only().open().wait()?;
    let id = store.chains()?[0].id;
    for (depth, shown) in [
        (Depth::Heads, "heads"),
        (Depth::Bodies, "heads and bodies"),
        (Depth::Deep, "every signature"),
    ] {
        let (verified, time) = timed(|| store.verify(&id, depth, |_| {}));
        let proved = verified?.proved;
        let note = format!(
            "{shown}; {} signatures for {} proofs; one core",
            proved.signatures, proved.proofs
        );
        row(
            "verify from genesis, bulk",
            proved.events as f64 / time.as_secs_f64(),
            "events/s",
            &note,
        );
    }
    let store = bench.store("verify-lone")?;
    let chain = store.chain("bench").wait()?;
    for number in 0..20_000 {
        chain.add(Sample::new(number)).wait()?;
    }
    for depth in [Depth::Heads, Depth::Deep] {
        let (verified, time) = timed(|| store.verify(&chain.id(), depth, |_| {}));
        let proved = verified?.proved;
        let note = format!(
            "{depth:?}; {} signatures for {} proofs; one core",
            proved.signatures, proved.proofs
        );
        row(
            "verify from genesis, lone commits",
            proved.events as f64 / time.as_secs_f64(),
            "events/s",
            &note,
        );
    }
    Ok(())
}

/// Fills a store and ends: what `--fill` does.
pub(crate) fn fill_million(dir: &std::path::Path) -> Outcome {
    let store = Store::open(dir).wait()?;
    fill(&store.chain("bench").wait()?, RECORDS, 1)?;
    store.close().wait()?;
    Ok(())
}

pub(crate) fn memory(bench: &Bench) -> Outcome {
    let dir = bench.fresh("million")?;
    // Processes of their own: what other rows and the filling took is not counted.
    for step in ["--fill", "--measure"] {
        let mut child = std::process::Command::new(std::env::current_exe()?);
        if !child.arg(step).arg(&dir).status()?.success() {
            return Err(format!("the memory row failed at {step}").into());
        }
    }
    Ok(())
}

/// Opens a filled store, reads all of it and prints what that takes: what `--measure` does.
pub(crate) fn measure_memory(dir: &std::path::Path) -> Outcome {
    let before = resident_bytes();
    let store = Store::open(dir).wait()?;
    let chain = store.chain("bench").wait()?;
    let opened = resident_bytes();
    row(
        "memory, 1 M records",
        chain.local().memory_bytes() as f64 / RECORDS as f64,
        "B/record",
        "rows, index, commits, tree",
    );
    let per_record = opened.saturating_sub(before) as f64 / RECORDS as f64;
    row(
        "… resident growth by opening",
        per_record,
        "B/record",
        &format!("process {} MiB", opened >> 20),
    );
    for key in chain.all::<Sample>() {
        chain.get(key).wait()?;
    }
    row(
        "… after reading all",
        (resident_bytes() >> 20) as f64,
        "MiB",
        &format!("cache {} MiB of a 64 MiB budget", chain.cache_bytes() >> 20),
    );
    Ok(())
}
