//! A salt is drawn anew for every commit that is sealed, also for one that is sealed again. A salt used twice under one read key
//! would encrypt two bodies with one key stream, and no other check would ever notice.

use std::sync::Arc;

use ate::log::{LogOptions, MemStorage};
use ate_sim::invariants::Salts;
use ate_sim::{Session, World};

#[test]
fn no_two_commits_share_a_salt() {
    let world = Arc::new(World::new(1, LogOptions::default()));
    let storage = Arc::new(MemStorage::new());
    let mut session = Session::new(world.clone(), storage.clone());
    session.run_script().expect("nothing stands in the way");
    let store = world.open(storage).expect("nothing stands in the way");
    let mut salts = Salts::default();
    if let Err(broken) = salts.look(&store) {
        panic!("{broken}");
    }
    assert!(salts.len() >= 20, "{}", salts.len());
}
