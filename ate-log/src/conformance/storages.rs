//! What any [`Storage`] must do.

use crate::{
    Access, LockState, Storage, StorageFile,
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
    handles_outlive_names(storage);
    threads_share_a_handle(storage);
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
    assert_eq!(
        (read(600, 10), read(10_000, 10)),
        (Vec::new(), Vec::new()),
        "there is nothing behind the end, and that is no error"
    );
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

fn handles_outlive_names(storage: &dyn Storage) {
    let file = storage.create("a").expect("created");
    write_full(&*file, 0, b"old").expect("written");
    let reader = storage.open("a", Access::Read).expect("opened");
    let bytes_of = |file: &dyn StorageFile| {
        let mut out = [0; 8];
        let count = read_full(file, 0, &mut out).expect("read");
        out[..count].to_vec()
    };
    storage.remove("a").expect("removed");
    assert_eq!(bytes_of(&*reader), b"old", "a reader goes on");
    write_full(&*file, 3, b"er").expect("a writer goes on");
    file.sync_all().expect("and so does a sync");
    assert_eq!(bytes_of(&*reader), b"older");
    let other = storage.create("a").expect("created again");
    write_full(&*other, 0, b"new").expect("written");
    assert_eq!(
        (bytes_of(&*other), bytes_of(&*reader)),
        (b"new".to_vec(), b"older".to_vec()),
        "a new file of the same name is another one"
    );
    let third = storage.create("b").expect("created");
    write_full(&*third, 0, b"third").expect("written");
    storage.rename("b", "a").expect("renamed over another");
    assert_eq!(bytes_of(&*other), b"new", "what was replaced is still read");
    let opened = storage.open("a", Access::Read).expect("opened");
    assert_eq!(bytes_of(&*opened), b"third");
    drop((file, reader, other, third, opened));
    storage.remove("a").expect("removed");
    storage.sync_dir().expect("synced");
}

fn threads_share_a_handle(storage: &dyn Storage) {
    const PIECE: usize = 700;
    let file = storage.create("a").expect("created");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..8 {
                    let at = (round * 4 + usize::from(thread)) * PIECE;
                    write_full(&**file, at as u64, &[thread + 1; PIECE]).expect("written");
                    let mut back = [0; PIECE];
                    let read = read_full(&**file, at as u64, &mut back).expect("read");
                    assert_eq!((read, back), (PIECE, [thread + 1; PIECE]));
                }
            });
        }
    });
    assert_eq!(
        file.length().expect("measured"),
        (32 * PIECE) as u64,
        "no thread's end cuts another's"
    );
    drop(file);
    storage.remove("a").expect("removed");
}

fn one_holds_the_lock(storage: &dyn Storage) {
    assert_eq!(
        storage.lock_state("lock").expect("looked at"),
        LockState::Free
    );
    assert_eq!(
        storage.list().expect("listed"),
        [""; 0],
        "looking makes no file"
    );
    let lock = storage.lock("lock").expect("taken").expect("free");
    let other = storage.lock("other").expect("taken");
    assert!(other.is_some(), "each name is a lock of its own");
    drop(other);
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
