//! A salt is drawn anew for every commit that is sealed, also for one that is sealed again. A salt used twice under one read key
//! would encrypt two bodies with one key stream, and no other check would ever notice.

mod fault;

use std::collections::BTreeSet;
use std::sync::Arc;

use ate::log::MemStorage;
use fault::{Session, World};

#[test]
fn no_two_commits_share_a_salt() {
    let world = World::new();
    let storage = Arc::new(MemStorage::new());
    let mut session = Session::new(&world, storage.clone());
    session.run().expect("nothing stands in the way");
    let store = world.open(storage).expect("nothing stands in the way");
    let (mut salts, mut commits) = (BTreeSet::new(), 0);
    for info in store.chains().expect("the list of chains") {
        let chain = store
            .existing_chain(&info.name)
            .wait()
            .expect("it is listed");
        for seq in 0..chain.position().0 {
            let head = chain.commit(seq).expect("it stands in the chain").head;
            assert_ne!(head.salt.0, [0; 32]);
            assert!(
                salts.insert(head.salt.0),
                "chain {} commit {seq} reuses a salt",
                info.name
            );
            commits += 1;
        }
    }
    assert!(commits >= 20, "{commits}");
}
