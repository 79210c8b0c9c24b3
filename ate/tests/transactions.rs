//! A transaction sees its own writes, in every order, and depends on what it read.

use ate::prelude::*;
use ate::{CommitError, Error, ErrorKind, Expect, Json, ReadError};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Counter {
    value: i64,
}

#[derive(Serialize, Deserialize, Record)]
struct Other {
    text: String,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn counter(value: i64) -> Counter {
    Counter { value }
}

fn chain() -> Result<(Store, Chain), Error> {
    let store = Store::in_memory()?;
    let chain = store.chain("test").wait()?;
    Ok((store, chain))
}

fn value(chain: &Chain, name: &str) -> Result<i64, ReadError> {
    Ok(chain.get::<Counter>(name).wait()?.value)
}

fn is_absent<T>(read: Result<T, ReadError>) -> bool {
    matches!(read, Err(ReadError::NotFound { .. }))
}

#[test]
fn staged_writes_are_read_back() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("a", counter(1)).wait()?;
    let tx = chain.begin();
    assert!(tx.is_empty());
    tx.put("a", &counter(2))?;
    assert_eq!(tx.get::<Counter>("a").wait()?.value, 2);
    tx.put("a", &counter(3))?;
    tx.update("a", |c: &mut Counter| c.value *= 10).wait()?;
    tx.update("a", |c: &mut Counter| c.value += 1).wait()?;
    assert_eq!(tx.get::<Counter>("a").wait()?.value, 31);
    let new = tx.add(&counter(7))?;
    tx.update(new, |c| c.value += 1).wait()?;
    assert_eq!(tx.get(new).wait()?.value, 8);
    assert_eq!(value(&chain, "a")?, 1, "nobody else sees it");
    assert_eq!(tx.len(), 2);
    let receipt = tx.commit().wait()?;
    assert_eq!(value(&chain, "a")?, 31);
    assert_eq!(chain.get(new).wait()?.value, 8);
    assert_eq!(chain.get(new).wait()?.version().seq, receipt.position.0 - 1);
    assert_eq!(
        chain.history::<Counter>("a")?.len(),
        2,
        "one event a record"
    );
    Ok(())
}

#[test]
fn what_was_staged_can_be_removed() -> Outcome {
    let (_store, chain) = chain()?;
    let kept = chain.put("kept", counter(1)).wait()?;
    let tx = chain.begin();
    let first = tx.add(&counter(1))?;
    let second = tx.add(&counter(2))?;
    tx.put("new", &counter(3))?;
    tx.remove(first)?;
    assert!(is_absent(tx.get(first).wait()));
    assert!(matches!(
        tx.remove(first),
        Err(CommitError::Read(ReadError::NotFound { .. }))
    ));
    tx.remove::<Counter>("new")?;
    assert!(is_absent(tx.get::<Counter>("new").wait()));
    tx.put("new", &counter(4))?;
    tx.put("kept", &counter(5))?;
    tx.remove(&kept)?;
    assert!(is_absent(tx.get(&kept).wait()));
    assert!(tx.update(&kept, |c| c.value = 1).wait().is_err());
    assert!(tx.remove(&kept).is_err(), "once is enough");
    tx.update(second, |c| c.value = 9).wait()?;
    tx.commit().wait()?;
    assert_eq!(chain.all::<Counter>(), [second]);
    assert_eq!(chain.get(second).wait()?.value, 9);
    assert_eq!(value(&chain, "new")?, 4);
    assert!(is_absent(chain.get(&kept).wait()));
    Ok(())
}

#[test]
fn removed_and_written_again_in_one_commit() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("a", counter(1)).wait()?;
    let tx = chain.begin();
    tx.remove::<Counter>("a")?;
    assert!(matches!(
        tx.put_if(
            "a",
            &counter(2),
            Expect::Version(chain.version::<Counter>("a").ok_or("it stands")?)
        ),
        Err(CommitError::NotAtVersion { stored: None, .. })
    ));
    tx.put_if("a", &counter(2), Expect::Absent)?;
    assert_eq!(tx.get::<Counter>("a").wait()?.value, 2);
    assert!(matches!(
        tx.put_if("a", &counter(3), Expect::Absent),
        Err(CommitError::Exists { .. })
    ));
    tx.commit().wait()?;
    assert_eq!(value(&chain, "a")?, 2);
    // And across commits: from the tombstone.
    chain.remove::<Counter>("a").wait()?;
    assert!(!chain.contains::<Counter>("a"));
    assert_eq!(chain.key_of::<Counter>("a"), None);
    chain.put("a", counter(3)).wait()?;
    assert_eq!(value(&chain, "a")?, 3);
    chain.remove::<Counter>("a").wait()?;
    chain
        .put(
            "a",
            Other {
                text: "of another type now".into(),
            },
        )
        .wait()?;
    assert_eq!(chain.get::<Other>("a").wait()?.text, "of another type now");
    let versions = chain.history::<Other>("a")?;
    let live: Vec<bool> = versions.iter().map(|entry| entry.live).collect();
    assert_eq!(live, [true, false, true, false, true, true]);
    Ok(())
}

#[test]
fn one_life_only() -> Outcome {
    let (_store, chain) = chain()?;
    let tx = chain.begin();
    assert!(matches!(tx.commit().wait(), Err(CommitError::Spent { .. })));
    tx.add(&counter(1))?;
    let other_handle = tx.clone();
    tx.commit().wait()?;
    assert!(matches!(tx.commit().wait(), Err(CommitError::Spent { .. })));
    assert!(matches!(
        other_handle.add(&counter(1)),
        Err(CommitError::Spent { .. })
    ));
    assert!(matches!(
        tx.remove::<Counter>("a"),
        Err(CommitError::Spent { .. }) | Err(CommitError::Read(_))
    ));
    let before = chain.position();
    let dropped = chain.begin();
    dropped.add(&counter(2))?;
    dropped.put(
        "x",
        &Other {
            text: String::new(),
        },
    )?;
    drop(dropped);
    assert_eq!(chain.position(), before);
    chain.put("x", Other { text: "y".into() }).wait()?;
    Ok(())
}

#[test]
fn a_put_after_a_read_is_no_blind_write() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("a", counter(1)).wait()?;
    let tx = chain.begin();
    let read = tx.get::<Counter>("a").wait()?.value;
    chain.put("a", counter(100)).wait()?;
    tx.put("a", &counter(read + 1))?;
    let Err(CommitError::Conflict(conflict)) = tx.commit().wait() else {
        return Err("the record was changed after it was read".into());
    };
    assert_eq!(
        conflict.key(),
        chain.key_of::<Counter>("a").ok_or("it stands")?.raw()
    );
    let tx = conflict.into_transaction();
    assert!(
        matches!(tx.commit().wait(), Err(CommitError::Conflict(_))),
        "still what was read"
    );
    tx.update("a", |c: &mut Counter| c.value += 1).wait()?;
    tx.commit().wait()?;
    assert_eq!(value(&chain, "a")?, 101);
    // The same for a record that was not there.
    let tx = chain.begin();
    assert!(is_absent(tx.get::<Counter>("b").wait()));
    chain.put("b", counter(1)).wait()?;
    tx.put("b", &counter(2))?;
    assert!(matches!(tx.commit().wait(), Err(CommitError::Conflict(_))));
    assert_eq!(value(&chain, "b")?, 1);
    Ok(())
}

#[test]
fn what_was_read_first_counts() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("a", counter(1)).wait()?;
    let tx = chain.begin();
    assert_eq!(tx.get::<Counter>("a").wait()?.value, 1);
    chain.put("a", counter(2)).wait()?;
    tx.update("a", |c: &mut Counter| c.value += 10).wait()?;
    assert!(matches!(tx.commit().wait(), Err(CommitError::Conflict(_))));
    let tx = chain.begin();
    tx.update("a", |c: &mut Counter| c.value += 10).wait()?;
    chain.put("a", counter(5)).wait()?;
    tx.remove::<Counter>("a")?;
    assert!(
        matches!(tx.commit().wait(), Err(CommitError::Conflict(_))),
        "it removes what it knew"
    );
    assert_eq!(value(&chain, "a")?, 5);
    Ok(())
}

#[test]
fn blind_puts_follow_whatever_happens() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("changed", counter(1)).wait()?;
    chain.put("removed", counter(1)).wait()?;
    let tx = chain.begin();
    for name in ["changed", "removed", "appeared", "came and went"] {
        tx.put(name, &counter(9))?;
    }
    let added = tx.add(&counter(10))?;
    chain.put("changed", counter(2)).wait()?;
    chain.remove::<Counter>("removed").wait()?;
    chain.put("appeared", counter(3)).wait()?;
    chain.put("came and went", counter(3)).wait()?;
    chain.remove::<Counter>("came and went").wait()?;
    tx.commit().wait()?;
    for name in ["changed", "removed", "appeared", "came and went"] {
        assert_eq!(value(&chain, name)?, 9, "{name}");
    }
    assert_eq!(chain.get(added).wait()?.value, 10);
    // What follows stays within its type, as a put does.
    let tx = chain.begin();
    tx.put("typed", &counter(1))?;
    chain
        .put(
            "typed",
            Other {
                text: "first".into(),
            },
        )
        .wait()?;
    let error = tx
        .commit()
        .wait()
        .map(drop)
        .expect_err("a record of another type stands there");
    assert!(
        matches!(error, CommitError::Read(ReadError::Schema { .. })),
        "{error}"
    );
    Ok(())
}

#[test]
fn expectations_hold_when_the_commit_is_ordered() -> Outcome {
    let (_store, chain) = chain()?;
    let first = chain.put_if("a", counter(1), Expect::Absent).wait()?;
    assert!(matches!(
        chain.put_if("a", counter(2), Expect::Absent).wait(),
        Err(CommitError::Exists { version, .. }) if version == first.version()
    ));
    let tx = chain.begin();
    tx.put_if("a", &counter(2), Expect::Version(first.version()))?;
    tx.put_if("b", &counter(2), Expect::Absent)?;
    chain.put("a", counter(3)).wait()?;
    let Err(CommitError::Conflict(conflict)) = tx.commit().wait() else {
        return Err("the version was demanded".into());
    };
    assert_eq!(conflict.records()[0].expected, Some(first.version()));
    assert_eq!(conflict.records()[0].stored, chain.version::<Counter>("a"));
    assert!(!chain.contains::<Counter>("b"));
    Ok(())
}

#[test]
fn serializable_reads_are_preconditions() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("a", counter(1)).wait()?;
    chain.put("gone", counter(1)).wait()?;
    chain.remove::<Counter>("gone").wait()?;
    // Without it, what was read alone does not matter.
    let tx = chain.begin();
    tx.get::<Counter>("a").wait()?;
    tx.add(&counter(1))?;
    chain.put("a", counter(2)).wait()?;
    tx.commit().wait()?;
    for (name, happens) in [("a", true), ("absent", true), ("gone", true), ("a", false)] {
        let tx = chain.begin().serializable();
        drop(tx.get::<Counter>(name).wait());
        drop(tx.get::<Counter>("untouched").wait());
        tx.add(&counter(1))?;
        if happens {
            chain.put(name, counter(3)).wait()?;
        }
        match (tx.commit().wait(), happens) {
            (Err(CommitError::Conflict(conflict)), true) => {
                let tx = conflict.into_transaction();
                assert!(matches!(tx.commit().wait(), Err(CommitError::Conflict(_))));
                assert_eq!(tx.get::<Counter>(name).wait()?.value, 3);
                tx.commit().wait()?;
            }
            (Ok(_), false) => {}
            (outcome, _) => return Err(format!("{name}: {outcome:?}").into()),
        }
    }
    Ok(())
}

#[test]
fn an_open_transaction_hinders_nobody() -> Outcome {
    let (_store, chain) = chain()?;
    // The first use of a type defines its schema: one that stays uncommitted must not make others wait for it.
    let open = chain.begin();
    open.add(&counter(1))?;
    chain.add(counter(2)).wait()?;
    chain.add(Other { text: "x".into() }).wait()?;
    open.add(&Other { text: "y".into() })?;
    open.commit().wait()?;
    assert_eq!(chain.all::<Counter>().len(), 2);
    Ok(())
}

#[test]
fn a_schema_that_came_meanwhile_is_no_conflict_after_one() -> Outcome {
    let (_store, chain) = chain()?;
    chain.put("a", Json::new("1")?).wait()?;
    let tx = chain.begin();
    tx.get::<Json>("a").wait()?;
    tx.put("a", &Json::new("2")?)?;
    tx.add(&counter(1))?;
    chain.put("a", Json::new("3")?).wait()?;
    let Err(CommitError::Conflict(conflict)) = tx.commit().wait() else {
        return Err("the record was changed".into());
    };
    chain.add(counter(2)).wait()?;
    let tx = conflict.into_transaction();
    tx.put("a", &Json::new("4")?)?;
    tx.commit().wait()?;
    assert_eq!(chain.get::<Json>("a").wait()?.as_str(), "4");
    assert_eq!(chain.all::<Counter>().len(), 2);
    Ok(())
}

#[test]
fn parents_and_children_in_one_commit() -> Outcome {
    let (_store, chain) = chain()?;
    let tx = chain.begin();
    let parent = tx.add(&counter(1))?;
    let child = tx.push(
        parent,
        "parts",
        &Other {
            text: "child".into(),
        },
    )?;
    let grandchild = tx.push(
        child,
        "parts",
        &Other {
            text: "grandchild".into(),
        },
    )?;
    let named = tx.put("named", &counter(2))?;
    tx.push::<Counter, _>(
        "named",
        "parts",
        &Other {
            text: "below a name".into(),
        },
    )?;
    tx.commit().wait()?;
    assert_eq!(chain.children::<_, Other>(parent, "parts")?, [child]);
    assert_eq!(chain.children::<_, Other>(child, "parts")?, [grandchild]);
    assert_eq!(chain.children::<Counter, Other>("named", "parts")?.len(), 1);
    assert_eq!(chain.children::<_, Other>(named, "others")?, []);
    let second = chain
        .push(
            parent,
            "parts",
            Other {
                text: "second".into(),
            },
        )
        .wait()?;
    assert_eq!(
        chain.children::<_, Other>(parent, "parts")?,
        [child, second.key()]
    );
    chain.remove(child).wait()?;
    assert_eq!(chain.children::<_, Other>(parent, "parts")?, [second.key()]);
    assert_eq!(chain.get(grandchild).wait()?.text, "grandchild");
    // No parent, no child; and collections that are not the caller's.
    let tx = chain.begin();
    tx.remove(parent)?;
    assert!(tx.push(parent, "parts", &counter(1)).is_err());
    assert!(chain.push(child, "parts", counter(1)).wait().is_err());
    for collection in ["", "ate.schema", "a\nb"] {
        let error = chain
            .push(parent, collection, counter(1))
            .wait()
            .map(drop)
            .expect_err("no collection");
        assert_eq!(
            Error::from(error).kind(),
            ErrorKind::Limit,
            "{collection:?}"
        );
    }
    Ok(())
}

#[test]
fn an_error_from_torn_reads_is_tried_again() -> Outcome {
    let (_store, chain) = chain()?;
    let a = chain.add(counter(5)).wait()?.key();
    let b = chain.add(counter(5)).wait()?.key();
    let (meddler, mut runs) = (chain.clone(), 0);
    let (total, _) = chain
        .transact(move |tx| {
            runs += 1;
            let (chain, run) = (meddler.clone(), runs);
            async move {
                let first = tx.get(a).await?.value;
                if run == 1 {
                    let move_one = chain.begin();
                    move_one.update(a, |c| c.value -= 1).await?;
                    move_one.update(b, |c| c.value += 1).await?;
                    move_one.commit().await?;
                }
                let total = first + tx.get(b).await?.value;
                if total != 10 {
                    return Err("money has vanished".into());
                }
                tx.add(&counter(total))?;
                Ok(total)
            }
        })
        .wait()?;
    assert_eq!(total, 10);
    let before = chain.position();
    let own = chain
        .transact(|_| async { Err::<(), _>("no".into()) })
        .wait();
    assert!(matches!(own, Err(ate::view::TransactError::Own(error)) if error.to_string() == "no"));
    assert_eq!(chain.position(), before);
    Ok(())
}
