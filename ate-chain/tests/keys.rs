//! Who can read what: scopes, grants, rotations, and scopes given to records and taken back.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use ate_chain::{
    Author, CreateOptions, Draft, HistoryEntry, Local, Opened, Position, ReadError, Readers,
    RecordKey, Ref, SealError, Version, WritePolicy,
};
use ate_log::MemLog;
use common::*;

const ROOT: RecordKey = RecordKey::ROOT;

struct Store {
    log: Arc<MemLog>,
    local: Arc<Local>,
    root: Author,
    ann: Author,
    bob: Author,
}

/// A chain whose root scope only the root reads. Ann and Bob are known; everything below `shared` may be written by all three.
fn store() -> (Store, RecordKey) {
    let log = Arc::new(MemLog::new());
    let local = Local::create(&committer(log.clone(), 1), "chain", &identity(1)).unwrap();
    let of = |byte| local.author(&identity(byte));
    let (root, ann, bob) = (of(1), of(2), of(3));
    let mut shared = ROOT;
    write(&root, |draft| {
        define(draft, ROOT);
        draft.introduce(ann.identity().who().clone());
        draft.introduce(bob.identity().who().clone());
        let write = Some(WritePolicy::any_of([root.id(), ann.id(), bob.id()]));
        shared = add_with(
            draft,
            ROOT,
            "shared",
            "",
            CreateOptions {
                write,
                ..CreateOptions::default()
            },
        );
    });
    (
        Store {
            log,
            local,
            root,
            ann,
            bob,
        },
        shared,
    )
}

impl Store {
    /// The same store after a restart: nothing is held that the log does not give.
    fn again(&self) -> Self {
        let local = open(self.log.clone(), self.local.chain()).unwrap();
        let of = |byte| local.author(&identity(byte));
        Self {
            log: self.log.clone(),
            root: of(1),
            ann: of(2),
            bob: of(3),
            local,
        }
    }

    /// Nobody else reads; those named read the same.
    fn check(&self, key: &RecordKey, expected: &str, readers: &[u8]) {
        for store in [self, &self.again()] {
            let at = version(&store.local, key);
            for (byte, author) in [(1, &store.root), (2, &store.ann), (3, &store.bob)] {
                let newest = store.local.open_content(author, key);
                let by_version = store.local.open_version(author, key, at);
                for opened in [newest, by_version] {
                    if readers.contains(&byte) {
                        assert_eq!(
                            opened.unwrap().content,
                            expected.as_bytes(),
                            "reader {byte}"
                        );
                    } else {
                        assert!(no_key(&opened), "reader {byte}: {opened:?}");
                    }
                }
            }
        }
    }
}

fn no_key(opened: &Result<Opened, ReadError>) -> bool {
    matches!(opened, Err(ReadError::NoKey { .. }))
}

fn scoped(
    draft: &mut Draft,
    parent: RecordKey,
    name: &str,
    text: &str,
    readers: Readers,
) -> RecordKey {
    let options = CreateOptions {
        readers: Some(readers),
        ..CreateOptions::default()
    };
    let key = add_with(draft, parent, name, text, options);
    define(draft, key);
    key
}

fn change(author: &Author, key: RecordKey, text: &str, readers: Option<Readers>) -> u64 {
    write(author, |draft| {
        let at = stands(author.local(), &key);
        draft
            .update(key, at, &schema(), text.into(), None, readers)
            .unwrap();
    })
}

fn history(local: &Local, key: &RecordKey) -> Vec<HistoryEntry> {
    let mut entries = Vec::new();
    local
        .history(key, |entry| {
            entries.push(*entry);
            ControlFlow::Continue(())
        })
        .unwrap();
    entries
}

#[test]
fn each_reader_opens_what_it_was_given_and_nothing_else() {
    let (store, shared) = store();
    let (ann, bob) = (
        store.ann.identity().who().clone(),
        store.bob.identity().who().clone(),
    );
    let (mut private, mut hers, mut open, mut inherited, mut below) =
        (ROOT, ROOT, ROOT, ROOT, ROOT);
    write(&store.root, |draft| {
        private = scoped(draft, shared, "private", "mine", Readers::Only(Vec::new()));
        hers = scoped(
            draft,
            shared,
            "hers",
            "for ann",
            Readers::Only(vec![ann.clone()]),
        );
        open = scoped(draft, shared, "open", "for all", Readers::Public);
        let readers = Some(Readers::Inherit);
        inherited = add_with(
            draft,
            shared,
            "inherited",
            "as above",
            CreateOptions {
                readers,
                ..CreateOptions::default()
            },
        );
        below = add(draft, hers, "below", "for ann too");
    });
    store.check(&private, "mine", &[1]);
    store.check(&hers, "for ann", &[1, 2]);
    store.check(&below, "for ann too", &[1, 2]);
    store.check(&open, "for all", &[1, 2, 3]);
    store.check(&inherited, "as above", &[1]);
    // Who cannot read a scope cannot write into it either; who can, can.
    let mut draft = Draft::new(store.bob.clone());
    let refused = draft.create(
        hers,
        "notes",
        Some("x"),
        &schema(),
        Vec::new(),
        CreateOptions::default(),
    );
    assert!(
        matches!(
            refused,
            Err(SealError::NoKey { .. } | SealError::Read(ReadError::NoKey { .. }))
        ),
        "{refused:?}"
    );
    assert!(matches!(
        draft.grant(hers, bob.clone()),
        Err(SealError::NoKey { .. } | SealError::Read(ReadError::NoKey { .. }))
    ));
    let mut from_ann = ROOT;
    write(&store.ann, |draft| {
        from_ann = add(draft, hers, "from ann", "to the root")
    });
    store.check(&from_ann, "to the root", &[1, 2]);
    write(&store.bob, |draft| {
        add(draft, open, "from bob", "to all");
    });
    // Names stay names: the same key from every reader of the scope, and none from others.
    let again = store.again();
    assert_eq!(again.ann.named_key(&hers, "notes", "below").unwrap(), below);
    assert_eq!(
        again.root.named_key(&hers, "notes", "below").unwrap(),
        below
    );
    assert!(again.bob.named_key(&hers, "notes", "below").is_err());
    // Granted later, all of the epoch opens, by the reader who was given it.
    write(&again.ann, |draft| draft.grant(hers, bob.clone()).unwrap());
    let again = again.again();
    again.check(&below, "for ann too", &[1, 2, 3]);
    again.check(&private, "mine", &[1]);
}

#[test]
fn a_rotation_shuts_out_who_is_not_given_the_new_key() {
    for link in [true, false] {
        let (store, shared) = store();
        let (ann, bob) = (
            store.ann.identity().who().clone(),
            store.bob.identity().who().clone(),
        );
        let (mut scope, mut old, mut new) = (ROOT, ROOT, ROOT);
        write(&store.root, |draft| {
            scope = scoped(
                draft,
                shared,
                "scope",
                "1",
                Readers::Only(vec![ann.clone()]),
            );
            old = add(draft, scope, "old", "written before");
        });
        write(&store.root, |draft| {
            draft.rotate(scope, vec![bob.clone()], link).unwrap();
            new = add(draft, scope, "new", "written with the rotation");
        });
        // Ann keeps what she could read; Bob reads the new, and the old through the link.
        store.check(
            &old,
            "written before",
            if link { &[1, 2, 3] } else { &[1, 2] },
        );
        store.check(&new, "written with the rotation", &[1, 3]);
        let again = store.again();
        assert_eq!(again.local.record(&new).unwrap().sealed, (scope, 2));
        // Names are found as before, by all who ever had the name key.
        for author in [&again.root, &again.ann, &again.bob] {
            assert_eq!(author.named_key(&scope, "notes", "old").unwrap(), old);
        }
        // Ann cannot write for a scope that she cannot read any more.
        let mut draft = Draft::new(again.ann.clone());
        let refused = draft.update(
            old,
            stands(&again.local, &old),
            &schema(),
            Vec::new(),
            None,
            None,
        );
        assert!(
            matches!(
                refused,
                Err(SealError::NoKey { .. } | SealError::Read(ReadError::NoKey { .. }))
            ),
            "{refused:?}"
        );
        // A draft sealed under the old epoch is refused when a rotation overtakes it.
        let mut late = Draft::new(again.root.clone());
        add(&mut late, scope, "late", "late");
        let sealed = late.seal(0).unwrap();
        write(&again.root, |draft| {
            draft.rotate(scope, Vec::new(), true).unwrap()
        });
        let answer = again.local.submit(sealed).wait();
        let stale = ate_chain::Reject::StaleEpoch { scope, current: 3 };
        assert!(matches!(answer, Err(ate_chain::SubmitError::Rejected(reject)) if reject == stale));
        let again = again.again();
        let second = change(&again.root, new, "third epoch", None);
        again.check(&new, "third epoch", &[1]);
        let first = history(&again.local, &new)[1].version;
        assert!(first.seq < second);
        assert_eq!(
            again
                .local
                .open_version(&again.bob, &new, first)
                .unwrap()
                .content,
            b"written with the rotation"
        );
    }
}

#[test]
fn a_scope_given_and_taken_moves_the_content_and_leaves_the_past() {
    let (store, shared) = store();
    let ann = store.ann.identity().who().clone();
    let (mut key, mut child) = (ROOT, ROOT);
    write(&store.root, |draft| {
        key = add(draft, shared, "record", "1");
        child = add(draft, key, "child", "under the root's scope");
    });
    let first = version(&store.local, &key);
    store.check(&key, "1", &[1]);
    // Given: Ann reads it and what is written below it from now on, in the same commit too.
    let mut with_it = ROOT;
    write(&store.root, |draft| {
        let at = stands(&store.local, &key);
        draft
            .update(
                key,
                at,
                &schema(),
                b"2".to_vec(),
                None,
                Some(Readers::Only(vec![ann.clone()])),
            )
            .unwrap();
        define(draft, key);
        with_it = add(draft, key, "with it", "written with it");
        draft
            .update(
                child,
                stands(&store.local, &child),
                &schema(),
                b"sealed anew".to_vec(),
                None,
                None,
            )
            .unwrap();
    });
    store.check(&key, "2", &[1, 2]);
    store.check(&with_it, "written with it", &[1, 2]);
    store.check(&child, "sealed anew", &[1, 2]);
    let opened = store.again();
    assert!(no_key(&opened.local.open_version(&opened.ann, &key, first)));
    assert_eq!(
        opened
            .local
            .open_version(&opened.root, &key, first)
            .unwrap()
            .content,
        b"1"
    );
    let second = version(&store.local, &key);
    // Taken back: the root alone reads what comes, Ann what was.
    let later = change(&store.root, key, "3", Some(Readers::Inherit));
    store.check(&key, "3", &[1]);
    let again = store.again();
    assert_eq!(
        again
            .local
            .open_version(&again.ann, &key, second)
            .unwrap()
            .content,
        b"2"
    );
    write(&again.root, |draft| {
        add(draft, key, "after", "after");
    });
    assert!(no_key(&again.local.open_content(
        &again.ann,
        &again.root.named_key(&key, "notes", "after").unwrap()
    )));
    assert_eq!(
        again.root.named_key(&shared, "notes", "record").unwrap(),
        key
    );
    // Given again, it goes on in the next epoch under the old name key.
    change(&again.root, key, "4", Some(Readers::Only(vec![ann])));
    again.check(&key, "4", &[1, 2]);
    assert_eq!(again.local.record(&key).unwrap().sealed, (key, 2));
    assert_eq!(
        again
            .again()
            .ann
            .named_key(&key, "notes", "with it")
            .unwrap(),
        with_it
    );
    let versions: Vec<Version> = history(&again.local, &key)
        .iter()
        .map(|entry| entry.version)
        .collect();
    assert_eq!(
        (versions.len(), versions[1].seq, versions[2], versions[3]),
        (4, later, second, first)
    );
    for (version, text) in versions.iter().zip(["4", "3", "2", "1"]) {
        assert_eq!(
            again
                .local
                .open_version(&again.root, &key, *version)
                .unwrap()
                .content,
            text.as_bytes()
        );
        let at = again
            .local
            .version_at(&key, Position(version.seq + 1))
            .unwrap();
        assert_eq!(at, Some(*version));
        assert_ne!(
            again.local.version_at(&key, Position(version.seq)).unwrap(),
            Some(*version)
        );
    }
}

#[test]
fn history_goes_through_death_and_return() {
    let (store, shared) = store();
    let mut key = ROOT;
    write(&store.root, |draft| {
        key = add(draft, shared, "phoenix", "1")
    });
    let first = version(&store.local, &key);
    write(&store.root, |draft| draft.remove(key, Ref::At(first)));
    let gone = version(&store.local, &key);
    write(&store.root, |draft| {
        let options = CreateOptions {
            supersedes: Ref::At(gone),
            ..CreateOptions::default()
        };
        assert_eq!(add_with(draft, shared, "phoenix", "2", options), key);
        // With a child in the same commit.
        add(draft, key, "child", "child");
    });
    let store = store.again();
    let back = version(&store.local, &key);
    let entries = history(&store.local, &key);
    let seen: Vec<(Version, bool)> = entries
        .iter()
        .map(|entry| (entry.version, entry.live))
        .collect();
    assert_eq!(seen, [(back, true), (gone, false), (first, true)]);
    let at = |position: u64| store.local.version_at(&key, Position(position)).unwrap();
    assert_eq!(
        [
            at(first.seq),
            at(gone.seq),
            at(gone.seq + 1),
            at(back.seq + 1)
        ],
        [None, Some(first), None, Some(back)]
    );
    assert!(matches!(
        store.local.open_version(&store.root, &key, gone),
        Err(ReadError::NotFound { .. })
    ));
    assert!(matches!(
        store.local.open_version(&store.root, &shared, back),
        Err(ReadError::NotFound { .. })
    ));
    assert_eq!(
        store
            .local
            .version_at(&RecordKey([9; 16]), Position(9))
            .unwrap(),
        None
    );
    store.check(&key, "2", &[1]);
}

#[test]
fn a_name_is_found_again_by_whoever_is_given_its_scope() {
    let (store, shared) = store();
    let ann = store.ann.identity().who().clone();
    write(&store.root, |draft| {
        let scope = scoped(draft, shared, "scope", "", Readers::Only(vec![ann.clone()]));
        add(draft, scope, "one", "");
        add(draft, scope, "two", "");
    });
    let names = |author: &Author| {
        let mut names = Vec::new();
        let closed = author
            .local()
            .visit_names(author, |found| names.push(found.name.to_owned()))
            .unwrap();
        names.sort();
        (names, closed)
    };
    let all = ["one", "scope", "shared", "text", "text", "two"]
        .map(str::to_owned)
        .to_vec();
    for store in [&store, &store.again()] {
        assert_eq!(names(&store.root), (all.clone(), 0));
        assert_eq!(
            names(&store.ann),
            (["one", "text", "two"].map(str::to_owned).to_vec(), 3)
        );
        assert_eq!(names(&store.bob), (Vec::new(), 6));
    }
}

#[test]
fn a_long_commit_head_is_read_whole() {
    // Forty scopes in one commit: the head with their commitments is longer than the first look at it.
    let (store, shared) = store();
    let mut keys = Vec::new();
    write(&store.root, |draft| {
        for index in 0..40 {
            keys.push(scoped(
                draft,
                shared,
                &format!("scope {index}"),
                "text",
                Readers::Public,
            ));
        }
    });
    for key in &keys {
        assert_eq!(text(&store.again().bob, key), "text");
    }
}
