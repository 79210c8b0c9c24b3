//! What somebody writes on the first day compiles, in threads and tasks, with `?` into any error.

use ate::prelude::*;

#[derive(Serialize, Deserialize, Record)]
struct Account {
    owner: String,
    balance: i64,
}

#[derive(Serialize, Deserialize, Record)]
struct Entry {
    amount: i64,
}

fn account(owner: &str, balance: i64) -> Account {
    Account {
        owner: owner.into(),
        balance,
    }
}

#[derive(Debug)]
struct Broke;

impl std::fmt::Display for Broke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broke")
    }
}

impl std::error::Error for Broke {}

const fn is_handle<T: Clone + Send + Sync + 'static>() {}
const fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
fn is_task<T: Future + Send + 'static>(task: T) -> T {
    task
}

const _: () = {
    is_handle::<Store>();
    is_handle::<Chain>();
    is_handle::<View>();
    is_handle::<Transaction>();
    is_handle::<Dao<Account>>();
    is_handle::<Key<std::cell::Cell<u8>>>();
    is_handle::<Receipt>();
    is_handle::<Who>();
    is_error::<ate::Error>();
    is_error::<ate::ReadError>();
    is_error::<ate::CommitError>();
    is_error::<ate::view::TransactError>();
};

async fn transfer(chain: Chain, a: Key<Account>, b: Key<Account>) -> ate::Result<i64> {
    let (left, receipt) = chain
        .transact(move |tx| async move {
            let from = tx.get(a).await?;
            if from.balance < 5 {
                return Err(Broke.into());
            }
            tx.update(a, |x| x.balance -= 5).await?;
            tx.update(b, |x| x.balance += 5).await?;
            tx.push(a, "entries", &Entry { amount: -5 })?;
            Ok(from.balance - 5)
        })
        .await?;
    assert_eq!(receipt.position, chain.position());
    Ok(left)
}

#[tokio::test]
async fn with_a_runtime() -> ate::Result<()> {
    let store = Store::in_memory()?;
    let chain = store.chain("bank").await?;
    let anna = chain.add(account("anna", 7)).await?;
    let ben = chain.put("accounts/ben", account("ben", 0)).await?;
    let task = tokio::spawn(is_task(transfer(chain.clone(), anna.key(), ben.key())));
    assert_eq!(task.await.expect("no panic")?, 2);
    assert_eq!(chain.get(&ben).await?.balance, 5);
    let broke = transfer(chain.clone(), anna.key(), ben.key())
        .await
        .expect_err("2 are left");
    assert_eq!(broke.to_string(), "broke");
    assert_eq!(chain.children::<_, Entry>(&anna, "entries")?.len(), 1);
    let ben: Dao<Account> = chain.get("accounts/ben").await?;
    assert_eq!((ben.owner.as_str(), ben.balance), ("ben", 5));
    let tx = chain.begin();
    tx.update(&ben, |x| x.balance += 1).await?;
    chain.update(&ben, |x| x.balance += 10).await?;
    match tx.commit().await {
        Err(ate::CommitError::Conflict(conflict)) => {
            let tx = conflict.into_transaction();
            tx.update(&ben, |x| x.balance += 1).await?;
            tx.commit().await?;
        }
        other => panic!("a conflict, not {other:?}"),
    }
    let was = chain.as_of(Position(2));
    assert_eq!(was.get(&anna).await?.balance, 7);
    assert_eq!(chain.get(&ben).await?.balance, 16);
    let text = store.identity().who().to_string();
    assert_eq!(
        &text.parse::<Who>().expect("its own text"),
        store.identity().who()
    );
    is_task(chain.add(account("carol", 1)).into_future()).await?;
    is_task(store.close()).await?;
    Ok(())
}

#[test]
fn without_a_runtime_into_any_error() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let store = Store::in_memory()?;
    let chain = store.chain("bank").wait()?;
    let anna = chain.add(account("anna", 7)).wait()?;
    chain.update(&anna, |x| x.balance += 1).wait()?;
    chain.begin().add(&account("ben", 1))?;
    let name: String = "settings/owner".into();
    chain.put(&name, account("carol", 1)).wait()?;
    chain.put(name.as_str(), account("carol", 2)).wait()?;
    chain.put(name, account("carol", 3)).wait()?;
    let owner: Dao<Account> = chain.get("settings/owner").wait()?;
    assert_eq!(owner.balance, 3);
    chain.remove(&owner).wait()?;
    assert!(chain.get::<Account>("settings/owner").wait().is_err());
    std::thread::spawn(move || chain.get(&anna).wait().map(|dao| dao.balance))
        .join()
        .expect("no panic")?;
    Ok(())
}
