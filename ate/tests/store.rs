//! The life of a store: write, close, open again, read, verify; readers beside a writer; two identities.

use ate::prelude::*;
use ate::{Depth, ErrorKind, Expect, Identity, Json, Seed};

#[derive(Serialize, Deserialize, Record, Clone, PartialEq, Debug)]
struct Account {
    email: String,
    balance: i64,
    tags: Vec<String>,
}

fn account(number: i64) -> Account {
    Account {
        email: format!("user{number}@example.org"),
        balance: number,
        tags: vec!["a".into(), number.to_string()],
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn what_was_written_is_there_after_reopening() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (key, root, position) = {
        let store = Store::open(dir.path()).wait()?;
        assert!(store.is_new_identity());
        let chain = store.chain("universe").wait()?;
        assert!(chain.is_new());
        let dao = chain.add(account(1)).wait()?;
        assert_eq!(chain.get(&dao).wait()?.email, "user1@example.org");
        let tx = chain.begin();
        for number in 2..1000 {
            tx.add(&account(number))?;
        }
        let receipt = tx.commit().wait()?;
        chain
            .put("settings/theme", Json::new(r#"{"dark": true}"#)?)
            .wait()?;
        chain
            .put("settings/theme", Json::new(r#"{"dark": false}"#)?)
            .wait()?;
        chain.put("settings/font", Json::new("1")?).wait()?;
        chain.remove::<Json>("settings/font").wait()?;
        assert_eq!(
            receipt.root,
            chain
                .root_at(receipt.position)
                .expect("it was just reached")
        );
        store.close().wait()?;
        (dao.key(), chain.root(), chain.position())
    };
    for round in 0..2 {
        let store = Store::open(dir.path()).wait()?;
        assert_eq!(store.notes(), Vec::<String>::new(), "round {round}");
        let chain = store.chain("universe").wait()?;
        assert_eq!((chain.root(), chain.position()), (root, position));
        assert_eq!(*chain.get(key).wait()?, account(1));
        assert_eq!(chain.all::<Account>().len(), 999);
        assert_eq!(
            chain.get::<Json>("settings/theme").wait()?.as_str(),
            r#"{"dark": false}"#
        );
        assert_eq!(chain.names("settings/")?.len(), 1);
        let was = chain.as_of(Position(position.0 - 3));
        assert_eq!(
            was.get::<Json>("settings/theme").wait()?.as_str(),
            r#"{"dark": true}"#
        );
        assert!(was.get::<Json>("settings/font").wait().is_err());
        let verified = store.verify(&chain.id(), Depth::Deep, |_| {})?;
        assert_eq!((verified.position, verified.root), (position, root));
        assert_eq!(store.chains()?.len(), 1);
    }
    Ok(())
}

#[test]
fn a_second_writer_is_refused_and_a_reader_follows() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("live").wait()?;
    chain.put("a", Json::new("1")?).wait()?;
    let error = Store::open(dir.path())
        .wait()
        .map(drop)
        .expect_err("one writer");
    assert_eq!(error.kind(), ErrorKind::Locked);
    let reader = Store::builder(dir.path()).read_only().open().wait()?;
    let seen = reader.existing_chain("live").wait()?;
    assert_eq!(seen.get::<Json>("a").wait()?.as_str(), "1");
    chain.put("a", Json::new("2")?).wait()?;
    chain.put("b", Json::new("3")?).wait()?;
    seen.catch_up()?;
    assert_eq!(seen.get::<Json>("a").wait()?.as_str(), "2");
    assert_eq!(seen.names("")?.len(), 2);
    assert_eq!(seen.root(), chain.root());
    let refused = seen
        .put("c", Json::new("4")?)
        .wait()
        .map(drop)
        .expect_err("a reader does not write");
    assert_eq!(ate::Error::from(refused).kind(), ErrorKind::Denied);
    Ok(())
}

#[test]
fn conflicts_hand_the_transaction_back() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("bank").wait()?;
    let anna = chain.add(account(10)).wait()?;
    let tx = chain.begin();
    tx.update(&anna, |account: &mut Account| account.balance -= 5)
        .wait()?;
    tx.add(&account(77))?;
    chain
        .update(&anna, |account: &mut Account| account.balance += 100)
        .wait()?;
    let Err(ate::CommitError::Conflict(conflict)) = tx.commit().wait() else {
        panic!("a conflict")
    };
    assert_eq!(conflict.records()[0].key, anna.key().raw());
    assert_eq!(chain.all::<Account>().len(), 1, "nothing of it was written");
    assert!(matches!(
        chain
            .put_if(&anna, account(1), Expect::Version(anna.version()))
            .wait(),
        Err(ate::CommitError::NotAtVersion { .. })
    ));
    let key = anna.key();
    let (left, receipt) = chain
        .transact(move |tx| async move {
            let from = tx.get::<Account>(key).await?;
            tx.update(key, |account: &mut Account| account.balance -= 5)
                .await?;
            Ok(from.balance - 5)
        })
        .wait()?;
    assert_eq!(left, 105);
    assert_eq!(receipt.position, chain.position());
    Ok(())
}

#[test]
fn a_second_identity_reads_what_it_was_granted_and_nothing_else() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let bob = Identity::from_seed(&Seed::from_bytes([7; 32]));
    let open = chain.add(account(1)).readable_by([bob.who()]).wait()?;
    let shut = chain.add(account(2)).wait()?;
    let as_bob = chain.as_identity(&bob);
    assert_eq!(*as_bob.get(&open).wait()?, account(1));
    let error = as_bob.get(&shut).wait().map(drop).expect_err("not for Bob");
    assert_eq!(ate::Error::from(error).kind(), ErrorKind::Denied);
    assert!(as_bob.peek(&shut).is_none());
    let refused = as_bob
        .update(&open, |account: &mut Account| account.balance = 0)
        .wait()
        .map(drop)
        .expect_err("Bob may not write");
    assert_eq!(ate::Error::from(refused).kind(), ErrorKind::Denied);
    chain.share::<Account>(&shut, bob.who()).wait()?;
    assert_eq!(*as_bob.get(&shut).wait()?, account(2));
    chain.unshare::<Account>(&shut, &[]).wait()?;
    chain
        .update(&shut, |account: &mut Account| account.balance = 99)
        .wait()?;
    let error = as_bob.get(&shut).wait().map(drop).expect_err("cut off");
    assert_eq!(ate::Error::from(error).kind(), ErrorKind::Denied);
    let shared = chain
        .add(account(5))
        .readable_by([bob.who()])
        .writable_by([bob.who()])
        .wait()?;
    as_bob
        .update(&shared, |account: &mut Account| account.balance = 6)
        .wait()?;
    assert_eq!(chain.get(&shared).wait()?.balance, 6);
    Ok(())
}
