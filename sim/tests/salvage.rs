//! A store opened in spite of damage: for damage in each frame of a log of two chains, in its header or its bytes, each chain shows exactly what
//! is proven of it, and says that more is missing if more is, and not otherwise.

use std::ops::ControlFlow;
use std::sync::Arc;

use ate::chain::ChainId;
use ate::log::{
    FileLog, FrameKind, Image, Location, Log as _, LogOptions, MemStorage, Scan, StreamId,
};
use ate::{Depth, ErrorKind, Json, Missing, Position, Store};
use ate_sim::World;

const PUTS: u64 = 6;

/// A frame of the sample.
struct Known {
    at: Location,
    bytes: u32,
    kind: FrameKind,
    stream: StreamId,
    number: u64,
}

/// Two chains whose commits alternate, and the frames they are in.
fn sample(world: &World) -> (Image, Vec<Known>) {
    let storage = MemStorage::new();
    let store = world
        .open(Arc::new(storage.clone()))
        .expect("nothing stands in the way");
    for label in 0..PUTS {
        for name in ["alpha", "beta"] {
            let chain = store.chain(name).wait().expect("opened");
            let value = Json::new(label.to_string()).expect("JSON");
            chain
                .put(format!("{label}").as_str(), value)
                .wait()
                .expect("written");
        }
    }
    store.close().wait().expect("closed");
    drop(store);
    let image = storage.image();
    let log = FileLog::open_reader(Arc::new(storage)).expect("undamaged");
    let mut frames = Vec::new();
    log.scan(Scan::from(log.start()), &mut |frame| {
        frames.push(Known {
            at: frame.at,
            bytes: frame.next.offset - frame.at.offset,
            kind: frame.kind,
            stream: frame.stream,
            number: frame.number,
        });
        ControlFlow::Continue(())
    })
    .expect("undamaged");
    (image, frames)
}

fn salvage(world: &World, image: &Image) -> Store {
    let storage = Arc::new(MemStorage::from_image(image.clone()));
    world
        .builder(storage)
        .salvage()
        .open()
        .wait()
        .expect("damage does not end it")
}

/// The position of a chain, with what is missing of it; what it shows is what was written. `None` if it is not known at all.
fn look(store: &Store, name: &str) -> Option<(ChainId, Position, Option<Missing>)> {
    let chain = store.existing_chain(name).wait().ok()?;
    let position = chain.position();
    // The genesis is a commit too.
    let documents = position.0 - 1;
    for label in 0..PUTS {
        let read = chain.get::<Json>(label.to_string().as_str()).wait();
        match read {
            Ok(value) => assert!(label < documents && value.as_str() == label.to_string()),
            Err(_) => assert!(
                label >= documents,
                "{name}: document {label} of {documents}"
            ),
        }
    }
    let value = Json::new("0").expect("JSON");
    let refused = chain
        .put("more", value)
        .wait()
        .expect_err("it is for reading");
    assert_eq!(ate::Error::from(refused).kind(), ErrorKind::Denied);
    let missing = store.missing(&chain).expect("readable");
    Some((chain.id(), position, missing))
}

fn damaged_in(image: &Image, frame: &Known, byte: u32) -> Image {
    let mut image = image.clone();
    let name = format!("log-{:08}.seg", frame.at.file);
    let bytes = image.get_mut(&name).expect("it is there");
    bytes[(frame.at.offset + byte) as usize] ^= 0x20;
    image
}

#[test]
fn damage_costs_a_chain_what_stood_there_and_after_and_other_chains_nothing() {
    let world = World::new(1, LogOptions::new([7; 16]));
    let (image, frames) = sample(&world);
    assert!(frames.len() >= 4 * PUTS as usize);
    let (mut whole, mut open_ended) = (0, 0);
    for (index, frame) in frames.iter().enumerate() {
        // In the header, and in the bytes of the first part.
        for byte in [20, 120] {
            let context = format!("byte {byte} of frame {index}");
            let store = salvage(&world, &damaged_in(&image, frame, byte));
            let [range] = store.damage() else {
                panic!("{context}: {:?}", store.damage())
            };
            assert_eq!((range.at, range.frame.is_some()), (frame.at, byte > 60));
            for name in ["alpha", "beta"] {
                let Some((id, position, missing)) = look(&store, name) else {
                    assert_eq!(frame.number, 0, "{context}: only without its genesis");
                    continue;
                };
                if id.stream() == frame.stream {
                    // A proof is named after the first commit that it covers.
                    assert_eq!(position, Position(frame.number), "{context}");
                    let missing = missing.unwrap_or_else(|| panic!("{context}: {name}"));
                    assert_eq!(missing.position, position);
                    let is_last = !frames[index + 1..].iter().any(|later| {
                        later.stream == frame.stream && later.kind == FrameKind::Commit
                    });
                    let is_told = !is_last || frame.kind == FrameKind::Commit && byte > 60;
                    let total = Position(PUTS + 1);
                    assert_eq!(missing.known, is_told.then_some(total), "{context}: {name}");
                    let verified = store.verify(&id, Depth::Bodies, |_| {});
                    match verified {
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{context}"),
                        Ok(verified) => assert!(is_last && verified.position == position),
                    }
                    continue;
                }
                assert_eq!(position, Position(PUTS + 1), "{context}: {name}");
                store
                    .verify(&id, Depth::Deep, |_| {})
                    .unwrap_or_else(|error| panic!("{context}: {name}: {error:?}"));
                match missing {
                    None => whole += 1,
                    // Nobody can say whose frame it was that stood behind the last one of this chain.
                    Some(missing) => {
                        assert!(byte < 60 && missing.known.is_none(), "{context}: {name}");
                        open_ended += 1;
                    }
                }
            }
        }
    }
    assert!(whole > 10 && open_ended > 0, "{whole}, {open_ended}");
    assert!(frames.iter().all(|frame| frame.bytes > 120));
}

#[test]
fn a_store_without_damage_is_whole() {
    let world = World::new(1, LogOptions::new([7; 16]));
    let (image, _) = sample(&world);
    let store = salvage(&world, &image);
    assert!(store.damage().is_empty());
    for name in ["alpha", "beta"] {
        let (_, position, missing) = look(&store, name).expect("it is there");
        assert_eq!((position, missing), (Position(PUTS + 1), None));
    }
    assert_eq!(store.chains().expect("readable").len(), 2);
}
