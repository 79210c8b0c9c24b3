//! Hot paths of `ate-log`: appending, scanning, reading. In memory, so that the disk is not measured.

use std::ops::ControlFlow;

use ate_log::{Entry, FrameKind, Log, MemLog, Scan, StreamId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BODY: [u8; 250] = [7; 250];

fn append(log: &MemLog, parts: &[&[u8]], number: u64) {
    let entry = Entry {
        kind: FrameKind::Commit,
        stream: StreamId([1; 32]),
        number,
        head_parts: 1,
        parts,
    };
    let mut placed = Vec::with_capacity(1);
    log.append(&[entry], &mut placed).expect("memory takes it");
}

fn appending(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for count in [1usize, 1000] {
        let parts = vec![&BODY[..]; count];
        group.throughput(Throughput::Bytes((count * BODY.len()) as u64));
        group.bench_function(format!("{count} parts of 250 bytes"), |bench| {
            let (mut log, mut number, mut bytes) = (MemLog::new(), 0, 0);
            bench.iter(|| {
                if bytes > 256 << 20 {
                    (log, bytes) = (MemLog::new(), 0);
                }
                append(&log, &parts, number);
                number += 1;
                bytes += count * BODY.len();
            });
        });
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let log = MemLog::new();
    let parts = vec![&BODY[..]; 1000];
    (0..64).for_each(|number| append(&log, &parts, number));
    log.sync().expect("memory syncs");
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Bytes(64 * 1000 * BODY.len() as u64));
    group.bench_function("64 frames of 1000 parts, checked", |bench| {
        bench.iter(|| {
            log.scan(Scan::from(log.start()).with_bodies(), &mut |_| {
                ControlFlow::Continue(())
            })
        });
    });
    group.finish();
    let frame = log.read_frame(log.start()).expect("the first frame");
    let at = frame.frame().parts().next().expect("it has parts").0;
    criterion.bench_function("read 250 bytes", |bench| {
        let mut out = BODY;
        bench.iter(|| log.read(at, &mut out));
    });
}

criterion_group!(all, appending, reading);
criterion_main!(all);
