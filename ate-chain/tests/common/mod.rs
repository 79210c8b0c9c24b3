//! What the tests share: a clock and a store that are under control, and logs taken apart into frames and put together again.
#![allow(dead_code, reason = "every test file uses its own part")]

pub(crate) mod gate;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate_chain::{
    Author, ChainId, Clock, Committer, CreateOptions, Draft, Local, Observer, OpenError, RecordKey,
    Ref, Spawn, Version,
};
use ate_crypto::{Hash, Identity, Seed, SeededRandom, sha256};
use ate_log::{Entry, FrameKind, Location, Log, MemLog, PartBytes, Scan, StreamId};
use parking_lot::Mutex;

/// A clock that moves when it is told to.
#[derive(Default)]
pub(crate) struct Hands(pub(crate) AtomicU64);

impl Clock for Hands {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The store's thread, as a plain thread.
pub(crate) struct Threads;

impl Spawn for Threads {
    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        std::thread::spawn(work);
    }
}

/// Remembers the numbers of the commits it was told of.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<u64>>);

impl Observer for Told {
    fn confirmed(&self, commit: &ate_chain::ConfirmedCommit<'_>) {
        self.0.lock().push(commit.seq());
    }
}

pub(crate) fn identity(byte: u8) -> Identity {
    Identity::from_seed(&Seed::from_bytes([byte; 32]))
}

/// A committer without a thread. `session` tells apart the runs of one store: its randomness.
pub(crate) fn committer(log: Arc<dyn Log>, session: u64) -> Arc<Committer> {
    let random = Arc::new(SeededRandom::new(session));
    Committer::new(log, Arc::new(Hands::default()), random, None, [1; 16])
}

pub(crate) fn schema() -> Hash {
    sha256(&[b"text"])
}

/// Defines the one schema of the tests in the scope below `parent`.
pub(crate) fn define(draft: &mut Draft, parent: RecordKey) {
    let options = CreateOptions {
        defines: true,
        ..CreateOptions::default()
    };
    draft
        .create(
            parent,
            "schema",
            Some("text"),
            &schema(),
            b"text".to_vec(),
            options,
        )
        .expect("the draft holds the keys");
}

pub(crate) fn add(draft: &mut Draft, parent: RecordKey, name: &str, text: &str) -> RecordKey {
    add_with(draft, parent, name, text, CreateOptions::default())
}

pub(crate) fn add_with(
    draft: &mut Draft,
    parent: RecordKey,
    name: &str,
    text: &str,
    options: CreateOptions,
) -> RecordKey {
    draft
        .create(parent, "notes", Some(name), &schema(), text.into(), options)
        .expect("the draft holds the keys")
}

/// Commits one draft and waits for it.
pub(crate) fn write(author: &Author, fill: impl FnOnce(&mut Draft)) -> u64 {
    let mut draft = Draft::new(author.clone());
    fill(&mut draft);
    author.local().commit(draft).unwrap().wait().unwrap().seq
}

pub(crate) fn text(author: &Author, key: &RecordKey) -> String {
    let opened = author.local().open_content(author, key).unwrap();
    String::from_utf8(opened.content).unwrap()
}

pub(crate) fn stands(local: &Local, key: &RecordKey) -> Ref {
    Ref::At(version(local, key))
}

pub(crate) fn version(local: &Local, key: &RecordKey) -> Version {
    local.record(key).unwrap().version
}

/// A frame that belongs to no log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub(crate) kind: FrameKind,
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
    pub(crate) head_parts: u8,
    pub(crate) parts: Vec<Vec<u8>>,
}

pub(crate) fn frames(log: &dyn Log) -> Vec<Kept> {
    let mut kept = Vec::new();
    log.scan(Scan::from(log.start()).with_bodies(), &mut |frame| {
        kept.push(Kept {
            kind: frame.kind,
            stream: frame.stream,
            number: frame.number,
            head_parts: frame.head_parts,
            parts: frame.parts().map(|part| bytes_of(log, part)).collect(),
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    kept
}

/// A part, wherever it lies.
fn bytes_of(log: &dyn Log, (at, part): (Location, PartBytes<'_>)) -> Vec<u8> {
    let mut out = vec![0; part.len() as usize];
    match part.here() {
        Some(bytes) => out.copy_from_slice(bytes),
        None => log.read_body(at, &mut out).unwrap(),
    }
    out
}

pub(crate) fn append(log: &dyn Log, kept: &[Kept]) -> Vec<Location> {
    let mut placed = Vec::new();
    for frame in kept {
        let parts: Vec<&[u8]> = frame.parts.iter().map(Vec::as_slice).collect();
        let entry = Entry {
            kind: frame.kind,
            stream: frame.stream,
            number: frame.number,
            head_parts: frame.head_parts,
            parts: &parts,
        };
        log.append(&[entry], &mut placed).unwrap();
    }
    log.sync().unwrap();
    placed.iter().map(|placed| placed.frame).collect()
}

/// A log of these frames, and where each of them stands.
pub(crate) fn rebuilt(kept: &[Kept]) -> (Arc<MemLog>, Vec<Location>) {
    let log = Arc::new(MemLog::new());
    let places = append(&*log, kept);
    (log, places)
}

pub(crate) fn open(log: Arc<dyn Log>, chain: ChainId) -> Result<Arc<Local>, OpenError> {
    Local::open(&committer(log, 999), chain, None)
}

/// Opens a chain with an observer.
pub(crate) fn open_told(committer: &Arc<Committer>, chain: ChainId, told: Arc<Told>) -> Arc<Local> {
    let local = Local::at(committer, chain, None);
    local.observe(told);
    local.load().unwrap();
    local
}
