//! Many chains in one store: making them, opening the store, opening one, letting go of one, and what ten thousand open ones take.

use std::path::Path;

use ate::{Chain, Pending, Store};
use ate_benches::{Mix, Sample, percentile, resident_bytes, row, timed};

use crate::{Bench, Outcome};

const CHAINS: u64 = 100_000;
/// Chains that are written to in one round: they share its signature and its sync.
const AT_ONCE: u64 = 1000;
/// Chains that are held open.
const OPEN: u64 = 10_000;
const LOOKS: usize = 1000;

fn name(chain: u64) -> String {
    format!("customer-{chain:06}")
}

/// `ATE_BENCH_CHAINS` makes it smaller, for a quick look.
fn chains() -> u64 {
    let asked = std::env::var("ATE_BENCH_CHAINS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(CHAINS)
}

pub(crate) fn many(bench: &Bench) -> Outcome {
    let dir = bench.fresh("many")?;
    // Processes of their own: the memory of one is not counted in the other.
    for step in ["--fill-many", "--measure-many"] {
        let mut child = std::process::Command::new(std::env::current_exe()?);
        if !child.arg(step).arg(&dir).status()?.success() {
            return Err(format!("the row failed at {step}").into());
        }
    }
    Ok(())
}

/// Makes the chains and ends: what `--fill-many` does. A genesis and two commits of one record each.
pub(crate) fn fill(dir: &Path) -> Outcome {
    let (count, store) = (chains(), Store::open(dir).wait()?);
    let (filled, time) = timed(|| -> Outcome {
        for batch in 0..count.div_ceil(AT_ONCE) {
            let numbers = batch * AT_ONCE..((batch + 1) * AT_ONCE).min(count);
            let opened: Vec<Chain> = numbers
                .map(|number| store.chain(&name(number)).wait())
                .collect::<Result<_, _>>()?;
            for _ in 0..2 {
                let answers: Vec<Pending<_>> = opened
                    .iter()
                    .zip(batch * AT_ONCE..)
                    .map(|(chain, number)| {
                        let tx = chain.begin();
                        tx.add(&Sample::new(number)).map(|_| tx.commit())
                    })
                    .collect::<Result<_, _>>()?;
                for answer in answers {
                    answer.wait()?;
                }
            }
        }
        Ok(())
    });
    filled?;
    let info = store.info();
    row(
        "make chains, 3 commits each",
        count as f64 / time.as_secs_f64(),
        "chains/s",
        &format!(
            "{count} chains in {:.1} s, {} at once; {} open, process {} MiB",
            time.as_secs_f64(),
            AT_ONCE,
            info.open_chains,
            resident_bytes() >> 20
        ),
    );
    row(
        "… syncs for 1000 commits",
        info.syncs as f64 * 1000.0 / info.commits as f64,
        "",
        &format!("{} syncs, {} commits", info.syncs, info.commits),
    );
    let (closed, time) = timed(|| store.close().wait());
    closed?;
    row(
        "… on disk",
        store.info().disk_bytes as f64 / count as f64,
        "B/chain",
        &format!("closed in {:.0} ms", time.as_secs_f64() * 1e3),
    );
    Ok(())
}

/// Opens the store again and measures: what `--measure-many` does.
pub(crate) fn measure(dir: &Path) -> Outcome {
    let count = chains();
    let before = resident_bytes();
    let (store, time) = timed(|| Store::open(dir).wait());
    let store = store?;
    let (listed, list_time) = timed(|| store.chains().map(|chains| chains.len() as u64));
    let listed = listed?;
    let (chain, chain_time) = timed(|| store.chain(&name(0)).wait());
    drop(chain?);
    row(
        "open a store of many chains",
        time.as_secs_f64() * 1e3,
        "ms",
        &format!(
            "{listed} chains; {:.0} ms to list them, {:.0} ms to open the first",
            list_time.as_secs_f64() * 1e3,
            chain_time.as_secs_f64() * 1e3
        ),
    );
    let known = resident_bytes();
    row(
        "… memory",
        known.saturating_sub(before) as f64 / listed as f64,
        "B/chain",
        "the list and what the log keeps of its segments",
    );
    let mut times = Vec::new();
    let mut held = Vec::new();
    for number in 1..OPEN.min(count) {
        let (chain, time) = timed(|| store.chain(&name(number)).wait());
        held.push(chain?);
        times.push(time);
    }
    // The first ones index segments of the log, each once.
    let first = times[0];
    times.sort_unstable();
    row(
        "open one chain of many",
        percentile(&times, 50).as_secs_f64() * 1e6,
        "us",
        &format!(
            "median of {}, 99th {:.0} us, the first {:.0} us",
            times.len(),
            percentile(&times, 99).as_secs_f64() * 1e6,
            first.as_secs_f64() * 1e6
        ),
    );
    let opened = resident_bytes();
    row(
        "… memory, open",
        opened.saturating_sub(known) as f64 / held.len() as f64,
        "B/chain",
        &format!("{} open, process {} MiB", held.len(), opened >> 20),
    );
    for chain in &held {
        for key in chain.all::<Sample>() {
            chain.get(key).wait()?;
        }
    }
    let read = resident_bytes();
    row(
        "… memory, read",
        read.saturating_sub(known) as f64 / held.len() as f64,
        "B/chain",
        &format!("every record read once, process {} MiB", read >> 20),
    );
    drop(held);
    store.close().wait()?;
    drop(store);
    come_back(dir, count)
}

/// Every chain is let go when the next is opened.
fn come_back(dir: &Path, count: u64) -> Outcome {
    let store = Store::builder(dir)
        .open_chains_max(0)
        .without_maintenance()
        .open()
        .wait()?;
    let (mut mix, mut times) = (Mix(7), Vec::new());
    for _ in 0..LOOKS {
        let number = mix.next() % count;
        let (chain, time) = timed(|| store.chain(&name(number)).wait());
        let chain = chain?;
        let key = chain.all::<Sample>()[0];
        chain.get(key).wait()?;
        times.push(time);
    }
    times.sort_unstable();
    row(
        "let a chain go, open another",
        percentile(&times, 50).as_secs_f64() * 1e6,
        "us",
        &format!(
            "median of {LOOKS} at random, 99th {:.0} us, {} open",
            percentile(&times, 99).as_secs_f64() * 1e6,
            store.info().open_chains
        ),
    );
    Ok(())
}
