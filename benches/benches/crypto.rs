//! Hot paths of `ate-crypto`: signatures, sealing, trees, names.

use ate_crypto::merkle::{Tree, leaf_hash};
use ate_crypto::{
    Hash, Identity, NameKey, Part, PartAt, Purpose, ReadKey, Salt, Seed, SeededRandom, sha256,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn signatures(criterion: &mut Criterion) {
    let identity = Identity::from_seed(&Seed::from_bytes([1; 32]));
    let signature = identity.sign(Purpose::Batch, b"root");
    criterion.bench_function("sign", |bench| {
        bench.iter(|| identity.sign(Purpose::Batch, b"root"));
    });
    criterion.bench_function("verify", |bench| {
        bench.iter(|| identity.who().verify(Purpose::Batch, b"root", &signature));
    });
}

fn sealing(criterion: &mut Criterion) {
    let random = SeededRandom::new(1);
    let key = ReadKey::generate(&random);
    let at = PartAt {
        event: 0,
        part: Part::Content,
    };
    criterion.bench_function("seal key of a commit", |bench| {
        bench.iter(|| key.seal_key(&Salt([7; 32])));
    });
    let seal = key.seal_key(&Salt([7; 32]));
    let mut group = criterion.benchmark_group("seal");
    for bytes in [200usize, 1 << 20] {
        let plaintext = vec![7; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} bytes"), |bench| {
            let mut out = Vec::with_capacity(bytes + 64);
            bench.iter(|| {
                out.clear();
                seal.seal(at, &[3; 170], &[9; 32], &plaintext, &mut out);
            });
        });
    }
    group.finish();
}

fn trees(criterion: &mut Criterion) {
    let leaves: Vec<Hash> = (0..10_000u32)
        .map(|leaf| leaf_hash(&leaf.to_le_bytes()))
        .collect();
    criterion.bench_function("tree of 10,000 leaves", |bench| {
        bench.iter_batched(|| leaves.clone(), Tree::from_leaves, BatchSize::LargeInput);
    });
    let tree = Tree::from_leaves(leaves);
    criterion.bench_function("root at an older size", |bench| {
        bench.iter(|| tree.root_at(7777));
    });
    let mut group = criterion.benchmark_group("sha-256");
    group.throughput(Throughput::Bytes(264));
    group.bench_function("264 bytes", |bench| bench.iter(|| sha256(&[&[7; 264]])));
    group.finish();
}

fn names(criterion: &mut Criterion) {
    let key = NameKey::generate(&SeededRandom::new(1));
    criterion.bench_function("name token", |bench| {
        bench.iter(|| key.token(&[0; 16], "", "settings/theme"));
    });
}

criterion_group!(all, signatures, sealing, trees, names);
criterion_main!(all);
