//! The simulated disk is a storage like any other, and does what is asked of it.

use ate::log::conformance::check_storage;

use super::*;

fn read(storage: &SimStorage, name: &str) -> Vec<u8> {
    storage.image().get(name).cloned().unwrap_or_default()
}

#[test]
fn it_conforms() {
    check_storage(&SimStorage::new());
}

#[test]
fn a_failed_sync_forgets_what_it_should_have_made_durable() {
    let storage = SimStorage::new();
    let file = storage.create("a").expect("made");
    storage.sync_dir().expect("synced");
    file.write_at(0, b"one").expect("written");
    storage.fail_sync_after(0);
    assert!(file.sync_data().is_err() && storage.has_failed());
    assert_eq!(read(&storage, "a"), b"one", "it reads on");
    file.sync_data().expect("and the next sync says well done");
    let left = storage.after_cut(Loss::Nothing);
    assert_eq!(read(&left, "a"), [0; 3], "but it never was durable");
    file.write_at(0, b"one").expect("written again");
    file.sync_data().expect("synced");
    assert_eq!(read(&storage.after_cut(Loss::Everything), "a"), b"one");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let storage = SimStorage::new();
    storage.set_capacity(Some(10));
    let file = storage.create("a").expect("made");
    assert_eq!(file.write_at(0, &[1; 8]).expect("fits"), 8);
    assert_eq!(file.write_at(4, &[2; 8]).expect("fits in part"), 6);
    assert!(file.write_at(10, &[3]).is_err() && file.allocate(11).is_err());
    assert_eq!(file.write_at(0, &[4; 10]).expect("no more than before"), 10);
    storage.remove("a").expect("removed");
    let other = storage.create("b").expect("made");
    other.allocate(10).expect("room again");
    storage.heal();
    other.allocate(100).expect("room for all");
}

#[test]
fn a_process_that_is_gone_leaves_the_cache_behind_and_the_lock_free() {
    let first = SimStorage::new();
    let file = first.create("a").expect("made");
    file.write_at(0, b"one").expect("written");
    let lock = first.lock("lock").expect("asked").expect("free");
    first.kill();
    assert!(file.write_at(0, b"two").is_err() && first.list().is_err());
    drop(lock);
    let second = first.process();
    assert_eq!(read(&second, "a"), b"one");
    assert!(second.lock("lock").expect("asked").is_some());
    assert!(second.after_cut(Loss::Everything).image().is_empty());
}

#[test]
fn one_bit_turns_in_one_read_and_not_on_the_disk() {
    let storage = SimStorage::new();
    let file = storage.create("a").expect("made");
    file.write_at(0, &[0; 100]).expect("written");
    storage.flip_read_after(1, 12_345);
    let ones = || {
        let mut out = [0; 100];
        file.read_at(0, &mut out).expect("read");
        out.iter().map(|byte| byte.count_ones()).sum::<u32>()
    };
    assert_eq!([ones(), ones(), ones()], [0, 1, 0]);
}

#[test]
fn the_trace_tells_bytes_places_and_answers_apart() {
    let trace = |byte: u8, offset: u64, is_failing: bool| {
        let storage = SimStorage::new();
        let file = storage.create("a").expect("made");
        if is_failing {
            storage.fail_once_after(0, Fault::Io);
        }
        let _ = file.write_at(offset, &[byte; 9]);
        storage.trace()
    };
    assert_eq!(trace(1, 2, false), trace(1, 2, false));
    let all = [
        trace(1, 2, false),
        trace(2, 2, false),
        trace(1, 3, false),
        trace(1, 2, true),
    ];
    let unlike: std::collections::BTreeSet<u64> = all.into_iter().collect();
    assert_eq!(unlike.len(), 4);
}
