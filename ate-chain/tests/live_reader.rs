//! A second process reads along: it sees what is durable and verified, and nothing else, however the writer behaves.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::sync::Arc;

use ate_chain::{Depth, Draft, Local, OpenError, Position, Proof, RecordKey};
use ate_log::{FileLog, Log, LogOptions, MemStorage};
use common::*;

const ROOT: RecordKey = RecordKey::ROOT;

fn writer(storage: &MemStorage) -> Arc<dyn Log> {
    Arc::new(FileLog::open(Arc::new(storage.clone()), LogOptions::default()).unwrap())
}

fn reader(storage: &MemStorage) -> Arc<dyn Log> {
    Arc::new(FileLog::open_reader(Arc::new(storage.clone())).unwrap())
}

/// A log of three commits, and the frames of a batch of two that would come next.
fn start() -> (MemStorage, Arc<dyn Log>, Arc<Local>, Vec<Kept>) {
    let storage = MemStorage::new();
    let log = writer(&storage);
    let root = identity(1);
    let local = Local::create(&committer(log.clone(), 1), "chain", &root).unwrap();
    let author = local.author(&root);
    write(&author, |draft| define(draft, ROOT));
    write(&author, |draft| {
        add(draft, ROOT, "a", "a");
    });
    let kept = frames(&*log);
    let (copy, _) = rebuilt(&kept);
    let ahead = Local::open(&committer(copy.clone(), 2), local.chain(), None).unwrap();
    let author = ahead.author(&root);
    let batch: Vec<_> = ["b", "c"]
        .map(|name| {
            let mut draft = Draft::new(author.clone());
            add(&mut draft, ROOT, name, name);
            ahead.commit(draft).unwrap()
        })
        .into();
    for pending in batch {
        pending.wait().unwrap();
    }
    let next = frames(&*copy)[kept.len()..].to_vec();
    assert_eq!(next.len(), 3);
    (storage, log, local, next)
}

#[test]
fn a_reader_follows_and_a_writer_has_nothing_to_catch_up_with() {
    let (storage, log, local, _) = start();
    let root = identity(1);
    let told = Arc::new(Told::default());
    let along = committer(reader(&storage), 3);
    let along = open_told(&along, local.chain(), told.clone());
    assert_eq!(along.position(), Position(3));
    let author = local.author(&root);
    for index in 0..5 {
        write(&author, |draft| {
            add(draft, ROOT, &format!("more {index}"), "text");
        });
        if index % 2 == 0 {
            assert_eq!(along.catch_up().unwrap(), Position(4 + index));
            assert_eq!(
                along.root_at(along.position()),
                local.root_at(local.position())
            );
        }
        assert_eq!(local.catch_up().unwrap(), Position(4 + index));
    }
    assert_eq!(along.catch_up().unwrap(), Position(8));
    assert_eq!(*told.0.lock(), [0, 1, 2, 3, 4, 5, 6, 7]);
    let reading = along.author(&root);
    assert_eq!(
        text(
            &reading,
            &reading.named_key(&ROOT, "notes", "more 4").unwrap()
        ),
        "text"
    );
    // Another chain in the same log moves nothing here.
    let other = Local::create(local.committer(), "other", &root).unwrap();
    write(&other.author(&root), |draft| define(draft, ROOT));
    assert_eq!(along.catch_up().unwrap(), Position(8));
    // What a reader puts to rest goes on where its own state ends, even if the log was read on for another chain.
    write(&author, |draft| {
        add(draft, ROOT, "unread", "text");
    });
    along.committer().log().refresh().unwrap();
    let (bytes, ()) = along.at_rest(|| ()).unwrap();
    let rest = ate_chain::Rest::decode(local.chain(), &bytes).unwrap();
    let again = Local::open(&committer(log, 4), local.chain(), Some(rest)).unwrap();
    assert_eq!(again.position(), Position(9));
}

#[test]
fn forged_commits_are_not_shown_even_for_a_moment() {
    let (storage, log, local, mut next) = start();
    let told = Arc::new(Told::default());
    let along = committer(reader(&storage), 3);
    let along = open_told(&along, local.chain(), told.clone());
    let end = next[0].parts[0].len();
    next[0].parts[0][end - 1] ^= 1;
    let places = append(&*log, &next);
    let root = along.root_at(Position(3));
    for _ in 0..2 {
        match along.catch_up() {
            Err(OpenError::Damaged {
                seq: 3,
                at,
                why: "the signature does not hold",
                ..
            }) => assert_eq!(at, places[0]),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            (along.position(), along.root_at(Position(3))),
            (Position(3), root)
        );
        assert_eq!(along.root_at(Position(4)), None);
        assert_eq!(*told.0.lock(), [0, 1, 2]);
        let author = along.author(&identity(1));
        let key = author.named_key(&ROOT, "notes", "b").unwrap();
        assert_eq!(along.record(&key), None);
    }
}

#[test]
fn what_comes_before_a_bad_frame_is_shown_and_the_bad_frame_named_again() {
    let (storage, log, local, mut next) = start();
    let along = open(reader(&storage), local.chain()).unwrap();
    next[2].number = 7;
    let places = append(&*log, &next);
    for _ in 0..2 {
        match along.catch_up() {
            Err(OpenError::Damaged { seq: 4, at, .. }) => assert_eq!(at, places[2]),
            other => panic!("{other:?}"),
        }
        assert_eq!(along.position(), Position(4));
        assert!(
            along.at_rest(|| ()).is_none(),
            "a rest would forget the proof that is half used"
        );
    }
}

#[test]
fn a_reader_may_stop_between_a_proof_and_its_commits() {
    let (storage, log, local, next) = start();
    let along = open(reader(&storage), local.chain()).unwrap();
    for (frame, position) in next.iter().zip([3, 4, 5]) {
        append(&*log, std::slice::from_ref(frame));
        assert_eq!(along.catch_up().unwrap(), Position(position));
    }
    let author = along.author(&identity(1));
    assert_eq!(
        text(&author, &author.named_key(&ROOT, "notes", "c").unwrap()),
        "c"
    );
    assert!(Local::verify(&*log, local.chain(), Depth::Deep, |_| {}).is_ok());
    // The proof is used up: nothing more comes under it.
    let mut again = next[2].clone();
    again.number = 5;
    append(&*log, &[again]);
    let error = along.catch_up().unwrap_err();
    assert!(
        error.to_string().contains("no proof covers this commit"),
        "{error}"
    );
    assert_eq!(Proof::decode(&next[0].parts[0]).unwrap().commits.len(), 2);
}
