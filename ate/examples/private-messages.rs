//! Two people write to each other through a node that can read nothing: `cargo run --features net --example private-messages [DIR]`.
//!
//! Anna and Bob each have a store and an identity of their own. They meet in a room: a record on Anna's chain that both may read and write below. The node
//! orders and keeps their messages, and passes calls on while both are there. To it all of that is sealed.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::{Path, PathBuf};

use ate::calls::{Call, Request};
use ate::prelude::*;
use ate::{ServeOptions, Subscription};

/// The head of a scope of its own: whoever has its keys reads what is below.
#[derive(Serialize, Deserialize, Record)]
struct Room {
    about: String,
}

/// What they say to each other is typed.
#[derive(Serialize, Deserialize, Record, Debug, PartialEq)]
enum Message {
    Text { from: String, text: String },
    Meet { place: String, hour: u8 },
}

/// What one asks and the other answers at once is a call: nothing of it is kept.
#[derive(Serialize, Deserialize)]
struct FreeHours {
    day: String,
}

impl Request for FreeHours {
    type Answer = Vec<u8>;
    type Error = String;
    const NAME: &'static str = "calendar";
}

async fn free_hours(call: Call<FreeHours>) -> Result<Vec<u8>, String> {
    match call.day.as_str() {
        "saturday" => Ok(vec![9, 16]),
        day => Err(format!("nothing is known of {day}")),
    }
}

const SECRET: &str = "the password is swordfish";

/// The room of the first run, or a new one that Bob may read and write in.
fn open_room(talk: &Chain, bob: &Who) -> ate::Result<Key<Room>> {
    if let Some(room) = talk.key_of::<Room>("room") {
        return Ok(room);
    }
    let about = "the garden".into();
    let room = talk.put("room", Room { about }).writable_by([bob]);
    let room = room.wait()?.key();
    // From here on Bob has the keys: wrapped for him alone, they stand in the chain.
    talk.share(room, bob).wait()?;
    Ok(room)
}

fn say(chain: &Chain, room: Key<Room>, message: Message) -> ate::Result<()> {
    chain.push(room, "messages", message).wait()?;
    Ok(())
}

/// Waits for the next message. Whoever was away gets all that came meanwhile, in order.
fn hear(who: &str, messages: &mut Subscription<Message>) -> ate::Result<Option<Dao<Message>>> {
    while let Some(change) = messages.next().wait()? {
        if let Change::Put(message) = change {
            println!("{who} reads: {:?}", *message);
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// The node holds the chain and proves it, and opens no name and no content.
fn assert_sealed(node: &Store, talk: &Chain) -> ate::Result<()> {
    let held = node.existing_chain(&talk.id().to_string()).wait()?;
    assert_eq!(held.root(), talk.root());
    assert_eq!(held.names("")?.len(), 0);
    for key in held.keys_in_order() {
        assert!(held.document(Key::<Message>::from_raw(key)).is_err());
    }
    Ok(())
}

/// No file of a directory, or of one in it, holds the text.
fn assert_unreadable(dir: &Path, text: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            assert_unreadable(&path, text)?;
        } else {
            let bytes = std::fs::read(&path)?;
            let mut windows = bytes.windows(text.len());
            assert!(windows.all(|bytes| bytes != text.as_bytes()), "{path:?}");
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1);
    let dir = PathBuf::from(dir.unwrap_or_else(|| "ate-data/private-messages".into()));

    let node = Store::open(dir.join("node")).wait()?;
    let serving = node.serve(&ServeOptions::on(([127, 0, 0, 1], 0).into()))?;
    let address = serving.address()?;

    // They know each other's public identity already: a line of text that each has from the other, not from the node.
    let anna = Store::open(dir.join("anna")).wait()?;
    let bob = Store::open(dir.join("bob")).wait()?;
    let bob_who = bob.identity().who();

    let talk = anna.create_chain(&format!("{address}/talk")).wait()?;
    let room = open_room(&talk, bob_who)?;

    // Whose chain it is stands in its address.
    let root = anna.identity().id();
    let bobs = bob.chain(&format!("{address}/{root}/talk")).wait()?;
    let mut to_anna = talk.subscribe::<Message>().children(room, "messages");
    let mut to_bob = bobs.subscribe::<Message>().children(room, "messages");

    let (from, text) = ("anna".into(), SECRET.into());
    say(&talk, room, Message::Text { from, text })?;
    let heard = hear("bob", &mut to_bob)?;
    assert!(matches!(heard.as_deref(), Some(Message::Text { text, .. }) if text == SECRET));

    let place = "by the old well".into();
    say(&bobs, room, Message::Meet { place, hour: 9 })?;
    // Anna's own message comes first: one order, the same for both.
    hear("anna", &mut to_anna)?;
    let heard = hear("anna", &mut to_anna)?;
    assert!(matches!(
        heard.as_deref(),
        Some(Message::Meet { hour: 9, .. })
    ));

    // Bob answers calls as long as he holds this. Anna may call, and believes his answers, since her chain knows his key.
    let answering = bobs.serve(free_hours).wait()?;
    let day = "saturday".to_owned();
    let hours = talk.call(FreeHours { day }).wait()?;
    println!("anna hears that bob is free at {hours:?}");
    assert_eq!(hours, [9, 16]);
    drop(answering);

    assert_sealed(&node, &talk)?;
    anna.close().wait()?;
    bob.close().wait()?;
    serving.shut_down().wait();
    node.close().wait()?;
    for said in ["swordfish", "by the old well", "the garden"] {
        assert_unreadable(&dir.join("node"), said)?;
    }
    println!("the node has nothing of it in clear");
    Ok(())
}
