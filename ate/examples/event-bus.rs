//! Parts of a program that tell each other what happened: `cargo run --example event-bus [DIR]`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::thread;

use ate::prelude::*;

#[derive(Serialize, Deserialize, Record)]
struct Order {
    article: String,
    pieces: u32,
}

#[derive(Serialize, Deserialize, Record)]
struct Letter {
    text: String,
}

fn order(article: &str, pieces: u32) -> Order {
    Order {
        article: article.into(),
        pieces,
    }
}

/// Writes a letter for each order, also for those that came while it did not run. An order may come twice after a crash: its version names the letter, so
/// that there is one all the same.
fn run_mailer(bus: &Chain, at_most: usize) -> ate::Result<usize> {
    let mut orders = bus.subscribe::<Order>().from(Position(0)).named("mailer");
    let mut written = 0;
    // With `next().wait()` (or `.await`) in place of `try_next()` it would wait for more.
    while written < at_most
        && let Some(change) = orders.try_next()?
    {
        let Change::Put(order) = change else { continue };
        let text = format!("{} × {}, thank you", order.pieces, order.article);
        let name = format!("letters/{}", order.version());
        bus.put(name.as_str(), Letter { text }).wait()?;
        written += 1;
    }
    // Otherwise the last one would come again: only asking for the next says that it is done.
    orders.ack().wait()?;
    Ok(written)
}

fn main() -> ate::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ate-data/event-bus".into());
    let store = Store::open(dir).wait()?;
    let bus = store.chain("orders").wait()?;

    // A consumer of what happens from now on. It has a thread of its own; a slow one would hold up nobody.
    let mut live = bus.subscribe::<Order>();
    let screen = thread::spawn(move || -> ate::Result<u32> {
        let mut pieces = 0;
        // It ends when the store is closed, after everything before was handed out.
        while let Some(change) = live.next().wait()? {
            if let Change::Put(order) = change {
                pieces += order.pieces;
            }
        }
        Ok(pieces)
    });

    bus.add(order("bolt", 100)).wait()?;
    bus.add(order("nut", 20)).wait()?;
    println!("the mailer wrote {} letter", run_mailer(&bus, 1)?);
    // The mailer is away ...
    bus.add(order("washer", 3)).wait()?;
    // ... and goes on where it was.
    println!("the mailer wrote {} letters", run_mailer(&bus, 100)?);
    for consumer in bus.consumers()? {
        println!("`{}` is done up to {}", consumer.name, consumer.next);
    }
    let letters = bus.names("letters/")?.len();
    store.close().wait()?;
    let pieces = screen.join().expect("the thread does not panic")?;
    println!("{letters} letters so far, {pieces} pieces ordered in this run");
    Ok(())
}
