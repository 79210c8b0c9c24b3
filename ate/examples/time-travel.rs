//! Every state of a chain can be read again: `cargo run --example time-travel [DIR]`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use ate::prelude::*;

#[derive(Serialize, Deserialize, Record)]
struct Page {
    text: String,
}

fn page(text: &str) -> Page {
    Page { text: text.into() }
}

fn main() -> ate::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ate-data/time-travel".into());
    let store = Store::open(dir).wait()?;
    let wiki = store.chain("wiki").wait()?;

    // Positions are counted from here, so that the second run shows the same.
    wiki.put("start", page("empty")).wait()?;
    let first = wiki.position();
    wiki.put("start", page("hello")).wait()?;
    wiki.put("news", page("we are open")).wait()?;
    let view = wiki.view();
    wiki.put("start", page("hello world")).wait()?;
    wiki.remove::<Page>("news").wait()?;

    for steps in 0..=4 {
        let then = wiki.as_of(Position(first.0 + steps));
        let mut line = format!("after {steps}:");
        for entry in then.names("")? {
            let page: Dao<Page> = then.get(&entry.name).wait()?;
            line.push_str(&format!(" {}={:?}", entry.name, page.text));
        }
        println!("{line}");
    }
    // A view that is held stays as it was, whatever is written meanwhile.
    println!("held: {:?}", view.get::<Page>("news").wait()?.text);
    let lives = wiki
        .history::<Page>("news")?
        .iter()
        .take(2)
        .map(|entry| entry.live)
        .collect::<Vec<_>>();
    println!("news, newest first: {lives:?}");
    Ok(())
}
