//! A secret that a second identity may read until it may not: `cargo run --example shared-vault [DIR]`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use ate::prelude::*;
use ate::{Identity, Seed};

#[derive(Serialize, Deserialize, Record)]
struct Secret {
    text: String,
}

fn show(who: &str, chain: &Chain, secret: Key<Secret>) {
    match chain.get(secret).wait() {
        Ok(secret) => println!("{who} reads: {}", secret.text),
        Err(error) => println!("{who} cannot: {}", ate::Error::from(error).kind().as_str()),
    }
}

fn main() -> ate::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ate-data/shared-vault".into());
    let store = Store::open(dir).wait()?;
    let vault = store.chain("vault").wait()?;

    // Bob has a store of his own somewhere; of him we need the public half, a line of text. Here he is made from a fixed seed.
    let bob = Identity::from_seed(&Seed::from_bytes([7; 32]));
    let as_bob = vault.as_identity(&bob);

    let secret = vault
        .add(Secret {
            text: "the door opens at nine".into(),
        })
        .wait()?
        .key();
    show("bob before", &as_bob, secret);

    vault.share(secret, bob.who()).wait()?;
    show("bob after share", &as_bob, secret);

    // A new read key from here on, for nobody but us. What Bob has read he keeps, and older versions with it.
    vault.unshare(secret, &[]).wait()?;
    vault
        .update(secret, |secret| {
            secret.text = "the door opens at ten".into()
        })
        .wait()?;
    show("bob after unshare", &as_bob, secret);
    show("owner", &vault, secret);

    let refused = as_bob.update(secret, |secret| secret.text.clear()).wait();
    println!(
        "bob writes: {}",
        refused.map_or_else(|error| ate::Error::from(error).kind().as_str(), |_| "done")
    );
    Ok(())
}
