//! Several identities in one chain: who reads, who writes, and what that changes for names and children.

use ate::prelude::*;
use ate::{CommitError, Error, ErrorKind, Identity, RecordKey, Seed};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Secret {
    text: String,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn secret(text: &str) -> Secret {
    Secret { text: text.into() }
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&Seed::from_bytes([seed; 32]))
}

fn kind<T>(outcome: Result<T, impl Into<Error>>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.into().kind())
}

const ROOT: Key<Secret> = Key::from_raw(RecordKey::ROOT);

#[test]
fn names_open_with_the_grant() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let bob = identity(7);
    chain.put("before", secret("1")).wait()?;
    let as_bob = chain.as_identity(&bob);
    assert_eq!(as_bob.names("")?.len(), 0, "sealed names are none");
    assert_eq!(
        kind(as_bob.get::<Secret>("before").wait()),
        Some(ErrorKind::Denied)
    );
    chain.put("between", secret("2")).wait()?;
    let key = chain.key_of::<Secret>("before").ok_or("it stands")?;
    assert_eq!(kind(as_bob.get(key).wait()), Some(ErrorKind::Denied));
    chain.share(ROOT, bob.who()).wait()?;
    assert_eq!(as_bob.names("")?.len(), 2);
    chain.put("after", secret("3")).wait()?;
    assert_eq!(as_bob.names("")?.len(), 3);
    assert_eq!(as_bob.get::<Secret>("after").wait()?.text, "3");
    assert_eq!(as_bob.get::<Secret>("before").wait()?.text, "1");
    assert_eq!(
        kind(as_bob.put("own", secret("4")).wait()),
        Some(ErrorKind::Denied),
        "reading is not writing"
    );
    // Cut off: what is written from now on is closed, names too.
    chain.unshare(ROOT, &[]).wait()?;
    chain.put("later", secret("5")).wait()?;
    chain.put("before", secret("6")).wait()?;
    assert_eq!(as_bob.names("")?.len(), 3);
    assert_eq!(
        kind(as_bob.get::<Secret>("before").wait()),
        Some(ErrorKind::Denied)
    );
    assert_eq!(
        as_bob
            .as_of(Position(3))
            .get::<Secret>("before")
            .wait()?
            .text,
        "1",
        "what was read stays readable"
    );
    assert_eq!(chain.names("")?.len(), 4);
    Ok(())
}

#[test]
fn a_scope_and_what_is_below_it() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (bob, carol) = (identity(7), identity(8));
    let (head, child) = {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("vault").wait()?;
        let head = chain
            .put("team", secret("head"))
            .readable_by([bob.who()])
            .wait()?;
        let child = chain.push(&head, "parts", secret("child")).wait()?;
        let as_bob = chain.as_identity(&bob);
        assert_eq!(as_bob.get(&head).wait()?.text, "head");
        assert_eq!(as_bob.children::<_, Secret>(&head, "parts")?, [child.key()]);
        assert_eq!(as_bob.get(&child).wait()?.text, "child");
        assert_eq!(
            kind(chain.as_identity(&carol).get(&child).wait()),
            Some(ErrorKind::Denied)
        );
        assert_eq!(
            kind(
                chain
                    .as_identity(&carol)
                    .children::<_, Secret>(&head, "parts")
            ),
            Some(ErrorKind::Denied)
        );
        chain.share(&head, carol.who()).wait()?;
        assert_eq!(chain.as_identity(&carol).get(&child).wait()?.text, "child");
        // Written again for others: the scope gets a new key.
        chain
            .put("team", secret("for carol"))
            .readable_by([carol.who()])
            .wait()?;
        assert_eq!(
            chain.as_identity(&carol).get(&head).wait()?.text,
            "for carol"
        );
        assert_eq!(kind(as_bob.get(&head).wait()), Some(ErrorKind::Denied));
        assert_eq!(as_bob.get(&child).wait()?.text, "child");
        store.close().wait()?;
        (head.key(), child.key())
    };
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("vault").wait()?;
    assert_eq!(chain.get(head).wait()?.text, "for carol");
    assert_eq!(
        chain.as_identity(&carol).get(head).wait()?.text,
        "for carol"
    );
    assert_eq!(chain.as_identity(&bob).get(child).wait()?.text, "child");
    assert_eq!(
        kind(chain.as_identity(&bob).get(head).wait()),
        Some(ErrorKind::Denied)
    );
    Ok(())
}

#[test]
fn a_shared_parent_keeps_its_children() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let bob = identity(7);
    let parent = chain.add(secret("parent")).wait()?;
    let old = chain.push(&parent, "parts", secret("old")).wait()?;
    chain.share(&parent, bob.who()).wait()?;
    let new = chain.push(&parent, "parts", secret("new")).wait()?;
    assert_eq!(
        chain.children::<_, Secret>(&parent, "parts")?,
        [old.key(), new.key()]
    );
    let as_bob = chain.as_identity(&bob);
    assert_eq!(as_bob.children::<_, Secret>(&parent, "parts")?, [new.key()]);
    assert_eq!(as_bob.get(&new).wait()?.text, "new");
    assert_eq!(
        kind(as_bob.get(&old).wait()),
        Some(ErrorKind::Denied),
        "sealed before it was shared"
    );
    let below = chain.push(&old, "deeper", secret("x")).wait()?;
    assert_eq!(chain.children::<_, Secret>(&old, "deeper")?, [below.key()]);
    Ok(())
}

#[test]
fn a_public_scope_is_everybodys() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let open = chain.add(secret("for all")).public().wait()?;
    let child = chain.push(&open, "parts", secret("too")).wait()?;
    let closed = chain.add(secret("for me")).wait()?;
    let anybody = chain.as_identity(&identity(9));
    assert_eq!(anybody.get(&open).wait()?.text, "for all");
    assert_eq!(
        anybody.children::<_, Secret>(&open, "parts")?,
        [child.key()]
    );
    assert_eq!(anybody.get(&child).wait()?.text, "too");
    assert_eq!(kind(anybody.get(&closed).wait()), Some(ErrorKind::Denied));
    assert_eq!(
        kind(anybody.update(&open, |s| s.text.clear()).wait()),
        Some(ErrorKind::Denied)
    );
    Ok(())
}

#[test]
fn writers_are_who_was_named() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let (bob, carol) = (identity(7), identity(8));
    let shared = chain
        .put("shared", secret("0"))
        .readable_by([bob.who(), carol.who()])
        .writable_by([bob.who()])
        .wait()?;
    let (as_bob, as_carol) = (chain.as_identity(&bob), chain.as_identity(&carol));
    as_bob.update(&shared, |s| s.text.push('b')).wait()?;
    let below = as_bob.push(&shared, "parts", secret("bob's")).wait()?;
    assert_eq!(chain.get(&below).wait()?.author(), bob.id());
    assert_eq!(
        kind(as_carol.update(&shared, |s| s.text.push('c')).wait()),
        Some(ErrorKind::Denied)
    );
    assert_eq!(
        kind(as_bob.add(secret("elsewhere")).wait()),
        Some(ErrorKind::Denied)
    );
    // Another list, for a record with content: the content stays.
    let tx = chain.begin();
    tx.set_writers(
        shared.key().raw(),
        &[carol.who().clone(), store.identity().who().clone()],
    )?;
    assert!(matches!(
        tx.put(&shared, &secret("x")).err(),
        None | Some(CommitError::Staged { .. })
    ));
    let tx = chain.begin();
    tx.set_writers(
        shared.key().raw(),
        &[carol.who().clone(), store.identity().who().clone()],
    )?;
    tx.commit().wait()?;
    assert_eq!(chain.get(&shared).wait()?.text, "0b");
    as_carol.update(&shared, |s| s.text.push('c')).wait()?;
    assert_eq!(
        kind(as_bob.update(&shared, |s| s.text.push('b')).wait()),
        Some(ErrorKind::Denied)
    );
    assert_eq!(chain.get(&shared).wait()?.text, "0bc");
    let fixed = chain.add(secret("fixed")).frozen().wait()?;
    assert_eq!(
        kind(chain.update(&fixed, |s| s.text.clear()).wait()),
        Some(ErrorKind::Denied)
    );
    assert_eq!(kind(chain.remove(&fixed).wait()), Some(ErrorKind::Denied));
    assert_eq!(chain.get(&fixed).wait()?.text, "fixed");
    Ok(())
}

#[test]
fn puts_for_readers_race_without_conflicts() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let bob = identity(7);
    std::thread::scope(|scope| {
        for by in 0..4 {
            let (chain, bob) = (chain.clone(), &bob);
            scope.spawn(move || {
                for round in 0..10 {
                    let value = secret(&format!("{by}.{round}"));
                    chain
                        .put("same", value)
                        .readable_by([bob.who()])
                        .wait()
                        .expect("follows");
                }
            });
        }
    });
    let mine = chain.get::<Secret>("same").wait()?;
    assert_eq!(chain.history::<Secret>("same")?.len(), 40);
    assert_eq!(chain.as_identity(&bob).get(&mine).wait()?.text, mine.text);
    Ok(())
}
