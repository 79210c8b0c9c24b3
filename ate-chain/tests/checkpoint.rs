//! Checkpoints: what a sequencer signed once it cannot unsay.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::sync::Arc;

use ate_chain::{Checkpoint, CheckpointError, Local, Position, RecordKey};
use ate_log::MemLog;
use common::*;

fn grow(local: &Arc<Local>, name: &str) {
    write(&local.author(&identity(1)), |draft| {
        add(draft, RecordKey::ROOT, name, name);
    });
}

fn start() -> (Arc<MemLog>, Arc<Local>) {
    let log = Arc::new(MemLog::new());
    let local = Local::create(&committer(log.clone(), 1), "chain", &identity(1)).unwrap();
    assert_eq!(local.checkpoint(&identity(1)), None);
    write(&local.author(&identity(1)), |draft| {
        define(draft, RecordKey::ROOT)
    });
    grow(&local, "a");
    (log, local)
}

#[test]
fn a_checkpoint_holds_as_long_as_the_history_does() {
    let (log, local) = start();
    let note = local.checkpoint(&identity(1)).unwrap();
    let expected = Checkpoint {
        chain: local.chain(),
        size: 3,
        root: local.root_at(Position(3)).unwrap(),
    };
    assert_eq!(local.check(&note), Ok(expected));
    let keys = local.genesis().unwrap().note_keys.clone();
    assert_eq!(
        Checkpoint::verify(&note, &local.chain(), &keys),
        Ok(expected)
    );
    assert!(note.starts_with(&expected.body()));
    // Longer is fine.
    let short = frames(&*log);
    grow(&local, "b");
    assert_eq!(local.check(&note), Ok(expected));
    let newer = local.checkpoint(&identity(1)).unwrap();
    // Shorter is not, and neither is another past.
    let (rolled_back, _) = rebuilt(&short);
    let rolled_back = open(rolled_back, local.chain()).unwrap();
    assert_eq!(rolled_back.check(&note), Ok(expected));
    let size = 4;
    let claimed = local.root_at(Position(size)).unwrap();
    assert_eq!(
        rolled_back.check(&newer),
        Err(CheckpointError::Root {
            size,
            claimed,
            actual: None
        })
    );
    grow(&rolled_back, "another b");
    let actual = rolled_back.root_at(Position(size));
    assert!(actual.is_some_and(|actual| actual != claimed));
    assert_eq!(
        rolled_back.check(&newer),
        Err(CheckpointError::Root {
            size,
            claimed,
            actual
        })
    );
}

#[test]
fn only_the_sequencer_signs_and_only_for_its_chain() {
    let (_, local) = start();
    let note = local.checkpoint(&identity(1)).unwrap();
    assert_eq!(local.checkpoint(&identity(2)), None);
    let keys = local.genesis().unwrap().note_keys.clone();
    let others: [Box<[u8]>; 1] = [identity(2).note_keys().public_bytes().into()];
    assert_eq!(
        Checkpoint::verify(&note, &local.chain(), &others),
        Err(CheckpointError::Note)
    );
    assert_eq!(
        Checkpoint::verify(&note, &local.chain(), &[] as &[Box<[u8]>]),
        Err(CheckpointError::Note)
    );
    assert_eq!(
        Checkpoint::verify(&note, &local.chain(), &[vec![1u8, 2]]),
        Err(CheckpointError::Note)
    );
    let other = Local::create(
        &committer(Arc::new(MemLog::new()), 2),
        "chain",
        &identity(1),
    )
    .unwrap();
    write(&other.author(&identity(1)), |draft| {
        define(draft, RecordKey::ROOT)
    });
    assert_eq!(other.check(&note), Err(CheckpointError::Note));
    // Signed with the right keys, but saying something else.
    let origin = Checkpoint::origin(&local.chain());
    let signed = |body: &str| identity(1).note_keys().sign_note(&origin, body);
    let body = local.check(&note).unwrap().body();
    assert_eq!(
        Checkpoint::verify(&signed(&body), &local.chain(), &keys).map(|checkpoint| checkpoint.size),
        Ok(3)
    );
    for bad in [
        body.replace("\n3\n", "\n03\n"),
        body.replace("\n3\n", "\n+3\n"),
        format!("{body}more\n"),
        body.replace('=', ""),
    ] {
        let verdict = Checkpoint::verify(&signed(&bad), &local.chain(), &keys);
        assert!(
            matches!(verdict, Err(CheckpointError::Body | CheckpointError::Note)),
            "{bad}: {verdict:?}"
        );
    }
    for index in (0..note.len()).step_by(97) {
        let mut bytes = note.clone().into_bytes();
        bytes[index] ^= 1;
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(local.check(&text).is_err(), "byte {index}");
        }
    }
}
