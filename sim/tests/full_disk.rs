//! A store on a disk that fills up: a commit is refused before anything changes and the error says so, reads go on, closing and
//! opening work without room, even after a crash, and with room the same store writes on.

use std::sync::Arc;

use ate::log::{
    BoundedStorage, FileLog, Image, Log as _, LogOptions, Loss, LossyStorage, Storage as _,
};
use ate::{Depth, Error, ErrorKind, Json, Store};
use ate_sim::{Content, World, content, text};

const KIB: u64 = 1 << 10;

fn put(store: &Store, label: u64, bytes: usize) -> Result<(), Error> {
    let value = Json::new(text(label, bytes)).expect("JSON");
    let chain = store.chain("bank").wait()?;
    chain
        .put(format!("document {label}").as_str(), value)
        .wait()?;
    Ok(())
}

fn shown(store: &Store) -> Content {
    let chain = store.existing_chain("bank").wait().expect("it is there");
    content(&chain).expect("readable")
}

/// Fills the disk up; how many documents are in.
fn fill(store: &Store) -> u64 {
    let mut label = 0;
    let error = loop {
        match put(store, label, 100_000) {
            Ok(()) => label += 1,
            Err(error) => break error,
        }
        assert!(label < 1000, "the disk is never full");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    let says = error.to_string();
    for part in [
        "disk is full",
        "bytes more are needed in memory",
        "nothing was changed",
    ] {
        assert!(says.contains(part), "{says}");
    }
    assert!(
        error
            .remedy()
            .is_some_and(|remedy| remedy.contains("free space"))
    );
    label
}

#[test]
fn a_full_disk_refuses_and_with_room_the_same_store_goes_on() {
    let world = World::new(1, LogOptions::new([7; 16]));
    let storage = BoundedStorage::new(Arc::new(LossyStorage::new()), 3000 * KIB);
    let store = world
        .open(Arc::new(storage.clone()))
        .expect("there is room");
    let count = fill(&store);
    assert!(count > 10, "{count}");
    let before = shown(&store);
    assert_eq!(before.len() as u64, count);
    for _ in 0..3 {
        let again = put(&store, count, 100_000).expect_err("there is still no room");
        assert_eq!(again.kind(), ErrorKind::Full);
        assert_eq!(shown(&store), before, "reads go on and show nothing of it");
    }
    assert_eq!(
        storage.size("reserve").expect("no commit touches it"),
        512 * KIB
    );
    storage.resize(20_000 * KIB);
    for label in count..count + 30 {
        put(&store, label, 100_000).expect("there is room again");
    }
    let after = shown(&store);
    assert_eq!(after.len() as u64, count + 30);
    store.close().wait().expect("closed");
    drop(store);
    let store = world.open(Arc::new(storage)).expect("it opens");
    assert_eq!(shown(&store), after);
}

#[test]
fn closing_and_opening_need_no_room() {
    let world = World::new(1, LogOptions::new([7; 16]));
    let storage = BoundedStorage::new(Arc::new(LossyStorage::new()), 3000 * KIB);
    let store = world
        .open(Arc::new(storage.clone()))
        .expect("there is room");
    fill(&store);
    let before = shown(&store);
    store.close().wait().expect("closing needs no room");
    drop(store);
    // Somebody else takes what closing gave back.
    storage.resize(storage.used().expect("measured"));
    let store = world
        .open(Arc::new(storage.clone()))
        .expect("opening needs no room");
    assert_eq!(shown(&store), before);
    let refused = put(&store, 1000, 100_000).expect_err("there is no room");
    assert_eq!(refused.kind(), ErrorKind::Full);
    store.close().wait().expect("closing needs no room");
}

/// The files after a crash in the middle of the sync of the last commit, which leaves a torn tail.
fn torn(world: &World) -> (Image, Content) {
    for call in 0.. {
        let disk = LossyStorage::new();
        let storage = BoundedStorage::new(Arc::new(disk.clone()), 3000 * KIB);
        let store = world.open(Arc::new(storage)).expect("there is room");
        let count = fill(&store);
        let before = shown(&store);
        disk.cut_at(disk.calls() + 2 + call);
        put(&store, count, 2000).expect_err("the power goes");
        let image = disk.image_after_cut(Loss::LastSector);
        let log = FileLog::open_reader(Arc::new(LossyStorage::from_image(image.clone())));
        let end = log.expect("readable").durable();
        let newest = &image[&format!("log-{:08}.seg", end.file)];
        if newest[end.offset as usize..].iter().any(|byte| *byte != 0) {
            return (image, before);
        }
    }
    unreachable!("some call is the sync")
}

#[test]
fn a_crash_on_a_full_disk_does_not_prevent_a_restart() {
    let world = World::new(1, LogOptions::new([7; 16]));
    let (image, before) = torn(&world);
    assert!(image.contains_key("reserve"), "that is what it is for");
    let disk = Arc::new(LossyStorage::from_image(image.clone()));
    let end = FileLog::open_reader(disk.clone())
        .expect("readable")
        .durable();
    let newest = image[&format!("log-{:08}.seg", end.file)].len() as u64;
    let used: u64 = image.values().map(|bytes| bytes.len() as u64).sum();
    // Cutting the torn tail gives space back, which somebody else takes at once, and more: there is less than nothing.
    let left = used - (newest - u64::from(end.offset)) - 64 * KIB;
    let storage = BoundedStorage::new(disk, left);
    let store = world
        .open(Arc::new(storage.clone()))
        .expect("the reserve is for this");
    assert_eq!(shown(&store), before);
    let refused = put(&store, 1000, 400_000).expect_err("there is no room");
    assert_eq!(refused.kind(), ErrorKind::Full);
    storage.resize(20_000 * KIB);
    put(&store, 1000, 100_000).expect("there is room again");
    let chain = store.existing_chain("bank").wait().expect("it is there");
    store
        .verify(&chain.id(), Depth::Deep, |_| {})
        .expect("all of it holds");
}
