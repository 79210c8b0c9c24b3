//! Hot paths of `ate-chain` and `ate-view`: sealing, committing, verifying and reading, over a log in memory.

use ate::{Depth, Key, RecordKey, Store};
use ate_benches::Sample;
use ate_chain::{CreateOptions, Draft};
use ate_crypto::sha256;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PER_COMMIT: u64 = 1000;

fn filled(commits: u64) -> Result<(Store, ate::Chain), ate::Error> {
    let store = Store::in_memory()?;
    let chain = store.chain("bench").wait()?;
    for commit in 0..commits {
        let tx = chain.begin();
        for number in 0..PER_COMMIT {
            tx.add(&Sample::new(commit * PER_COMMIT + number))?;
        }
        tx.commit().wait()?;
    }
    Ok((store, chain))
}

fn chain(criterion: &mut Criterion) {
    let (store, chain) = filled(20).expect("memory takes it");
    let author = chain.local().author(store.identity());
    let mut group = criterion.benchmark_group("chain");
    group.throughput(Throughput::Elements(PER_COMMIT));
    group.bench_function("draft and seal 1000 records", |bench| {
        bench.iter_batched(
            || vec![vec![7u8; 200]; PER_COMMIT as usize],
            |bodies| {
                let mut draft = Draft::new(author.clone());
                for body in bodies {
                    let schema = sha256(&[b"schema"]);
                    let options = CreateOptions::default();
                    draft
                        .create(RecordKey::ROOT, "bench", None, &schema, body, options)
                        .expect("within the limits");
                }
                draft.seal(0).expect("the keys are held")
            },
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(20 * PER_COMMIT));
    for depth in [Depth::Heads, Depth::Bodies] {
        group.bench_function(format!("verify 20,000 records, {depth:?}"), |bench| {
            bench.iter(|| store.verify(&chain.id(), depth, |_| {}).map(drop));
        });
    }
    group.finish();
}

fn view(criterion: &mut Criterion) {
    let (_store, chain) = filled(20).expect("memory takes it");
    let keys: Vec<Key<Sample>> = chain.all();
    let mut next = keys.iter().cycle();
    criterion.bench_function("view: read a resident record", |bench| {
        keys.iter().for_each(|key| drop(chain.get(*key).wait()));
        bench.iter(|| {
            chain
                .get(*next.next().expect("it cycles"))
                .wait()
                .map(|dao| dao.id)
        });
    });
    criterion.bench_function("view: encode a record", |bench| {
        let sample = Sample::new(7);
        bench.iter(|| ate::view::encode(&sample));
    });
    let mut group = criterion.benchmark_group("view");
    group.throughput(Throughput::Elements(PER_COMMIT));
    group.sample_size(20);
    group.bench_function("commit 1000 records", |bench| {
        let samples: Vec<Sample> = (0..PER_COMMIT).map(Sample::new).collect();
        let (_store, chain) = filled(1).expect("memory takes it");
        bench.iter(|| {
            let tx = chain.begin();
            for sample in &samples {
                tx.add(sample).expect("it encodes");
            }
            tx.commit().wait().expect("memory takes it").position
        });
    });
    group.finish();
}

criterion_group!(all, chain, view);
criterion_main!(all);
