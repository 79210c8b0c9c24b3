//! A bit turns in what one read returns, while the disk holds it right: the answer is an error or right, and nothing of it ever
//! reaches the disk. Opening reads the end of the log and writes it again, so a bad read there could become what the disk holds.

use std::sync::Arc;

use ate::ErrorKind;
use ate::log::{FullSpeed, Loss};
use ate_sim::invariants::{Eyes, judge};
use ate_sim::{Oracle, SMALL_FILES, Session, SimStorage, Stop, World};

/// More reads than an opening makes are none.
const READS_MAX: u64 = 400;

const CHOICE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether the bit has turned.
fn open_with_a_bad_read(
    world: &Arc<World>,
    storage: &SimStorage,
    oracle: &Oracle,
    reads: u64,
) -> bool {
    let context = format!("read {reads} is bad");
    storage.flip_read_after(reads, reads.wrapping_mul(CHOICE));
    match world.open(Arc::new(storage.clone())) {
        Ok(store) => drop(store),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{context}: {error:?}"),
    }
    let has_flipped = storage.has_flipped();
    storage.heal();
    let store = world
        .open(Arc::new(storage.clone()))
        .unwrap_or_else(|error| panic!("{context}, then a good one: {error:?}"));
    judge(&store, oracle, world, Eyes::Writer)
        .unwrap_or_else(|broken| panic!("{context}: {broken}"));
    has_flipped
}

#[test]
fn a_bit_that_turns_while_opening_never_reaches_the_disk() {
    let world = Arc::new(World::new(1, SMALL_FILES));
    let storage = SimStorage::new();
    let mut session = Session::new(world.clone(), Arc::new(storage.clone()));
    session.run_script().expect("nothing stands in the way");
    // Closed, and as a cut leaves it that comes before the closing.
    let closed = storage.image();
    let mut session = Session::new(world.clone(), Arc::new(storage.clone()));
    session.open().expect("nothing stands in the way");
    session
        .commit("aside", vec![("a".into(), Some("1".into()))])
        .expect("nothing stands in the way");
    let open = storage.after_cut(Loss::Everything).image();
    drop(session);
    for image in [closed, open] {
        let storage = SimStorage::from_image(image.clone());
        let store = world
            .open(Arc::new(storage.clone()))
            .expect("nothing stands in the way");
        let mut oracle = Oracle::default();
        oracle.learn(&store).expect("it reads");
        drop(store);
        let mut flipped = 0;
        for reads in 0..READS_MAX {
            let storage = SimStorage::from_image(image.clone());
            if !open_with_a_bad_read(&world, &storage, &oracle, reads) {
                break;
            }
            flipped += 1;
        }
        assert!(flipped > 4, "only {flipped} reads");
    }
}

#[test]
fn a_bit_that_turns_while_erasing_never_reaches_the_disk() {
    let world = Arc::new(World::new(1, SMALL_FILES));
    let storage = SimStorage::new();
    let mut session = Session::new(world.clone(), Arc::new(storage.clone()));
    session.run_script().expect("nothing stands in the way");
    session.open().expect("nothing stands in the way");
    let sealed = session.store().seal(&mut FullSpeed);
    assert!(sealed.expect("nothing stands in the way") > 0);
    let mut oracle = Oracle::default();
    oracle.learn(session.store()).expect("it reads");
    session.close().expect("nothing stands in the way");
    let image = storage.image();
    let mut flipped = 0;
    for reads in 0..READS_MAX {
        let context = format!("read {reads} is bad");
        let storage = SimStorage::from_image(image.clone());
        let mut session = Session::new(world.clone(), Arc::new(storage.clone()));
        session.oracle = oracle.clone();
        session.open().expect("nothing stands in the way");
        // What it is asked first has been read by then.
        session.chain("vault").expect("nothing stands in the way");
        storage.flip_read_after(reads, reads.wrapping_mul(CHOICE));
        if let Err(Stop::Broken(broken)) = session.erase("vault", "note") {
            panic!("{context}: {broken}");
        }
        if !storage.has_flipped() {
            break;
        }
        flipped += 1;
        storage.heal();
        session.store = None;
        session
            .open()
            .unwrap_or_else(|error| panic!("{context}, then good ones: {error:?}"));
        judge(session.store(), &session.oracle, &world, Eyes::Writer)
            .unwrap_or_else(|broken| panic!("{context}: {broken}"));
    }
    assert!(flipped > 8, "only {flipped} reads");
}
