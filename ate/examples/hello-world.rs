//! The smallest program: `cargo run --example hello-world`. Run it again and the record is still there, with one more beside it.

use ate::prelude::*;

#[derive(Serialize, Deserialize, Record)]
struct World {
    commandment: String,
}

#[tokio::main]
async fn main() -> ate::Result<()> {
    let store = Store::open("ate-data").await?;
    let chain = store.chain("universe").await?;
    let hello = chain
        .add(World {
            commandment: "Hello".into(),
        })
        .await?;
    #[expect(clippy::print_stdout, reason = "an example shows what it does")]
    {
        println!(
            "{} from {} records",
            chain.get(&hello).await?.commandment,
            chain.all::<World>().len()
        );
    }
    Ok(())
}
