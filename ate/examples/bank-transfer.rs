//! Money moves from account to account, all or nothing, from four threads at once: `cargo run --example bank-transfer [DIR]`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::thread;

use ate::prelude::*;

#[derive(Serialize, Deserialize, Record)]
struct Account {
    owner: String,
    balance: i64,
}

#[derive(Serialize, Deserialize, Record)]
struct Transfer {
    from: String,
    to: String,
    amount: i64,
}

const OWNERS: [&str; 4] = ["anna", "ben", "carol", "dan"];

fn transfer(
    chain: &Chain,
    from: &str,
    to: &str,
    amount: i64,
) -> Result<Receipt, Box<dyn std::error::Error>> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let (_, receipt) = chain
        .transact(move |tx| {
            // Runs again if somebody else changed one of the accounts meanwhile.
            let (from, to) = (from.clone(), to.clone());
            async move {
                let giver: Dao<Account> = tx.get(&from).await?;
                if giver.balance < amount {
                    return Err(
                        format!("{from} has {} and cannot give {amount}", giver.balance).into(),
                    );
                }
                tx.update(&from, move |account: &mut Account| {
                    account.balance -= amount
                })
                .await?;
                tx.update(&to, move |account: &mut Account| account.balance += amount)
                    .await?;
                tx.add(&Transfer { from, to, amount })?;
                Ok(())
            }
        })
        .wait()?;
    Ok(receipt)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ate-data/bank-transfer".into());
    let store = Store::open(dir).wait()?;
    let bank = store.chain("bank").wait()?;
    for owner in OWNERS {
        bank.put(
            owner,
            Account {
                owner: owner.into(),
                balance: 100,
            },
        )
        .wait()?;
    }
    let before = bank.all::<Transfer>().len();
    thread::scope(|scope| {
        for (giver, taker) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
            let bank = &bank;
            scope.spawn(move || {
                for _ in 0..10 {
                    transfer(bank, OWNERS[giver], OWNERS[taker], 5)
                        .expect("100 are enough for ten times 5");
                }
            });
        }
    });
    let mut total = 0;
    for owner in OWNERS {
        let account: Dao<Account> = bank.get(owner).wait()?;
        println!("{} has {}", account.owner, account.balance);
        total += account.balance;
    }
    println!(
        "{total} in all, after {} transfers",
        bank.all::<Transfer>().len() - before
    );
    match transfer(&bank, "anna", "ben", 1000) {
        Ok(_) => println!("anna is rich"),
        Err(error) => println!("refused: {error}"),
    }
    Ok(())
}
