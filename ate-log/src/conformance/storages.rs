//! What any [`Storage`] must do.

use crate::{
    Access, LockState, Storage,
    storage::{read_full, write_full},
};
use std::io;

/// Runs every check of a [`Storage`] on one that is empty.
///
/// What a power cut does cannot be checked from outside; the duties are in the trait's words.
///
/// # Panics
/// When one fails.
pub fn check_storage(storage: &dyn Storage) {
    storage.prepare().expect("the directory is made");
    storage.prepare().expect("making it again is nothing");
    assert_eq!(storage.list().expect("listed"), [""; 0]);
    files_hold_what_is_written(storage);
    names_move_whole(storage);
    one_holds_the_lock(storage);
}

fn files_hold_what_is_written(storage: &dyn Storage) {
    let file = storage.create("a").expect("created");
    let read = |offset: u64, length: usize| {
        let mut out = vec![0xff; length];
        let count = read_full(&*file, offset, &mut out).expect("read");
        out.truncate(count);
        out
    };
    write_full(&*file, 3, b"abc").expect("written");
    assert_eq!(
        read(0, 10),
        b"\0\0\0abc",
        "what was never written is zero, and the end is the end"
    );
    write_full(&*file, 4, b"XYZ").expect("written over");
    assert_eq!(
        (read(3, 4), file.length().expect("measured")),
        (b"aXYZ".to_vec(), 7)
    );
    file.allocate(600).expect("reserved");
    assert_eq!(
        (file.length().expect("measured"), read(7, 1000)),
        (600, vec![0; 593])
    );
    file.allocate(10).expect("reserving less changes nothing");
    assert_eq!(file.length().expect("measured"), 600);
    file.punch(4, 2).expect("punched");
    assert_eq!(
        (read(3, 4), file.length().expect("measured")),
        (b"a\0\0Z".to_vec(), 600)
    );
    file.truncate(5).expect("cut");
    file.truncate(8).expect("extended");
    assert_eq!(
        read(0, 10),
        b"\0\0\0a\0\0\0\0",
        "bytes that were cut do not come back"
    );
    file.sync_data().expect("synced");
    file.sync_all().expect("synced");
    assert_eq!(storage.size("a").expect("measured"), 8);
    let again = storage.open("a", Access::Read).expect("opened");
    write_full(&*file, 0, b"seen").expect("written");
    let mut out = [0; 4];
    assert_eq!(read_full(&*again, 0, &mut out).expect("read"), 4);
    assert_eq!(&out, b"seen", "all handles see the same bytes");
    let writable = storage.open("a", Access::Write).expect("opened");
    write_full(&*writable, 8, b"more").expect("written");
    assert_eq!(storage.size("a").expect("measured"), 12);
}

fn names_move_whole(storage: &dyn Storage) {
    let missing = |result: io::Result<()>| {
        assert_eq!(
            result.expect_err("it is not there").kind(),
            io::ErrorKind::NotFound
        );
    };
    missing(storage.open("missing", Access::Read).map(drop));
    missing(storage.open("missing", Access::Write).map(drop));
    missing(storage.size("missing").map(drop));
    missing(storage.remove("missing"));
    missing(storage.rename("missing", "a"));
    let file = storage.create("b").expect("created");
    write_full(&*file, 0, b"b").expect("written");
    storage.rename("b", "a").expect("renamed over another");
    assert_eq!(storage.list().expect("listed"), ["a"]);
    assert_eq!(storage.size("a").expect("measured"), 1);
    write_full(&*file, 1, b"c").expect("a handle goes on after a rename");
    assert_eq!(storage.size("a").expect("measured"), 2);
    let emptied = storage.create("a").expect("created in place of another");
    assert_eq!(emptied.length().expect("measured"), 0);
    storage.remove("a").expect("removed");
    storage.sync_dir().expect("synced");
    assert_eq!(storage.list().expect("listed"), [""; 0]);
}

fn one_holds_the_lock(storage: &dyn Storage) {
    assert_eq!(
        storage.lock_state("lock").expect("looked at"),
        LockState::Free
    );
    let lock = storage.lock("lock").expect("taken").expect("free");
    assert!(storage.lock("lock").expect("tried").is_none(), "held");
    lock.publish(b"first").expect("published");
    lock.publish(b"other").expect("published");
    assert_eq!(
        storage.lock_state("lock").expect("looked at"),
        LockState::Held(b"other".to_vec())
    );
    drop(lock);
    assert_eq!(
        storage.lock_state("lock").expect("looked at"),
        LockState::Free
    );
    assert!(storage.lock("lock").expect("taken").is_some(), "free again");
}
