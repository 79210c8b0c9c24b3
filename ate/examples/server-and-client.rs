//! A node that holds a chain for others, a store that writes to it, and a second one that reads along: `cargo run --features net --example server-and-client [DIR]`.
//!
//! The three would be three programs on three machines. The node can read nothing of what it holds, and need not be trusted with anything but not to vanish.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use ate::prelude::*;
use ate::{Identity, ServeOptions, Serving};

#[derive(Serialize, Deserialize, Record)]
struct Reading {
    sensor: String,
    celsius: f32,
}

fn reading(celsius: f32) -> Reading {
    Reading {
        sensor: "cellar".into(),
        celsius,
    }
}

/// On this machine alone, at a port of the system's choice (0) or a given one, which the system may take a moment to give back.
fn serve(store: &Store, port: u16) -> ate::Result<Serving> {
    let options = ServeOptions::on(([127, 0, 0, 1], port).into());
    let mut tries_left = 100;
    loop {
        match store.serve(&options) {
            Err(_) if tries_left > 0 => tries_left -= 1,
            served => return served,
        }
        sleep(Duration::from_millis(100));
    }
}

/// A store of the same person on another machine: the same identity, which travels as its 24 words, over a directory of its own.
fn second_store(dir: PathBuf, identity: &Identity) -> ate::Result<Store> {
    Store::builder(dir).identity(identity.clone()).open().wait()
}

fn main() -> ate::Result<()> {
    let dir = std::env::args().nth(1);
    let dir = PathBuf::from(dir.unwrap_or_else(|| "ate-data/server-and-client".into()));

    let node = Store::open(dir.join("node")).wait()?;
    let serving = serve(&node, 0)?;
    // `ate://KEY@127.0.0.1:PORT`: it names the key that must answer, so nobody can answer in the node's place.
    let address = serving.address()?;
    let url = format!("{address}/readings");

    // The writer founds the chain at the first run and finds it at the next.
    let writer = Store::open(dir.join("writer")).wait()?;
    let readings = writer.create_chain(&url).wait()?;
    let first = readings.add(reading(11.5)).wait()?;
    println!("durable at the node, as {}", first.version());

    let reader = second_store(dir.join("reader"), writer.identity())?;
    let copy = reader.chain(&url).wait()?;
    // From behind that reading on. At a second run this store has not come as far yet: it shows what it has at once, and follows.
    let mut live = copy.subscribe::<Reading>().after(first.version());
    readings.add(reading(12.0)).wait()?;
    if let Some(Change::Put(seen)) = live.next().wait()? {
        println!("{} is at {} °C", seen.sensor, seen.celsius);
    }

    // The node goes away. Both stores go on: what they have is on their own disks, what is written waits there too.
    serving.shut_down().wait();
    node.close().wait()?;
    let waiting = readings.add(reading(12.5)).into_future();
    println!(
        "{} readings are here all the same",
        copy.all::<Reading>().len()
    );

    let node = Store::open(dir.join("node")).wait()?;
    let serving = serve(&node, address.port())?;
    waiting.wait()?;
    if let Some(Change::Put(seen)) = live.next().wait()? {
        println!("after the restart: {} °C", seen.celsius);
    }
    assert_eq!(copy.root(), readings.root(), "both proved the same history");

    // The node proves the same history, and opens none of it.
    let held = node.existing_chain(&copy.id().to_string()).wait()?;
    assert_eq!(held.root(), copy.root());
    assert_eq!(held.names("")?.len(), 0);
    let keys = held
        .keys_in_order()
        .into_iter()
        .map(Key::<Reading>::from_raw);
    assert!(!readings.all::<Reading>().is_empty());
    assert!(keys.into_iter().all(|key| held.document(key).is_err()));

    reader.close().wait()?;
    writer.close().wait()?;
    serving.shut_down().wait();
    node.close().wait()
}
