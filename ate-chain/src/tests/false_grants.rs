//! A writer hands a reader keys that are not those of the scope. The reader believes the chain's commitment, not the writer.

use std::sync::{Arc, OnceLock};

use ate_crypto::{Identity, NameKey, ReadKey, Seed, SeededRandom, sha256};
use ate_log::MemLog;

use crate::committer::Committer;
use crate::draft::{Author, CreateOptions, Draft};
use crate::error::ReadError;
use crate::ids::RecordKey;
use crate::keyring::ScopeKeys;
use crate::local::Local;
use crate::observe::ConfirmedCommit;
use crate::ports::{Clock, Observer};

struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1
    }
}

/// Opens names as they go by, as a view does.
#[derive(Default)]
struct Names(OnceLock<Author>);

impl Observer for Names {
    fn confirmed(&self, commit: &ConfirmedCommit<'_>) {
        if let Some(author) = self.0.get() {
            author.local().open_names(author, commit, |_, _, _| {});
        }
    }
}

fn grant(author: &Author, to: &Identity, falsely: bool) {
    let mut draft = Draft::new(author.clone());
    draft.grant(RecordKey::ROOT, to.who().clone()).unwrap();
    if falsely {
        let random = SeededRandom::new(99);
        let keys = ScopeKeys {
            epoch: 1,
            read: Arc::new(ReadKey::generate(&random)),
            name: Arc::new(NameKey::generate(&random)),
        };
        draft.keys.insert(RecordKey::ROOT, keys);
    }
    author.local().commit(draft).unwrap().wait().unwrap();
}

#[test]
fn a_key_that_the_chain_does_not_commit_to_is_never_held() {
    let [root, bob] = [[1; 32], [2; 32]].map(|seed| Identity::from_seed(&Seed::from_bytes(seed)));
    let log = Arc::new(MemLog::new());
    let random = Arc::new(SeededRandom::new(5));
    let committer = Committer::new(log, Arc::new(Noon), random, None, [0; 16]);
    let local = Local::create(&committer, "chain", &root).unwrap();
    let (author, reader) = (local.author(&root), local.author(&bob));
    let names = Arc::new(Names::default());
    local.observe(names.clone());
    assert!(names.0.set(reader.clone()).is_ok());
    let mut draft = Draft::new(author.clone());
    let options = CreateOptions {
        defines: true,
        ..CreateOptions::default()
    };
    let schema = sha256(&[b"text"]);
    let key = draft
        .create(
            RecordKey::ROOT,
            "schema",
            Some("text"),
            &schema,
            b"text".to_vec(),
            options,
        )
        .unwrap();
    local.commit(draft).unwrap().wait().unwrap();

    grant(&author, &bob, true);
    assert!(reader.keyring.held_key(&RecordKey::ROOT, 1).is_none());
    let refused = local.open_content(&reader, &key);
    assert!(
        matches!(refused, Err(ReadError::NoKey { .. })),
        "{refused:?}"
    );
    assert!(
        reader
            .named_key(&RecordKey::ROOT, "schema", "text")
            .is_err()
    );

    // The true one counts, before and after another false one.
    grant(&author, &bob, false);
    grant(&author, &bob, true);
    assert!(reader.keyring.held_key(&RecordKey::ROOT, 1).is_some());
    assert_eq!(local.open_content(&reader, &key).unwrap().content, b"text");
    assert_eq!(
        reader
            .named_key(&RecordKey::ROOT, "schema", "text")
            .unwrap(),
        key
    );
    let late = Author {
        keyring: Arc::new(crate::keyring::Keyring::new(
            bob,
            &committer.common().seal_keys,
        )),
        ..author
    };
    assert_eq!(local.open_content(&late, &key).unwrap().content, b"text");
}
