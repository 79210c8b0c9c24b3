//! The smallest program: `cargo run --example hello-world`. Run it again and the record is still there, with one more beside it.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use ate::prelude::*;

#[derive(Serialize, Deserialize, Record)]
struct World {
    commandment: String,
}

#[tokio::main]
async fn main() -> ate::Result<()> {
    let store = Store::open("ate-data").await?; // makes an identity on first use
    let chain = store.chain("universe").await?; // opens, or creates with this identity as its root
    let commandment = "Hello".into();
    let hello = chain.add(World { commandment }).await?; // durable when this returns
    let world = chain.get(&hello).await?;
    let count = chain.all::<World>().len();
    println!("{} from one of {count} records", world.commandment);
    Ok(())
}
