//! What a peer has to offer so that every row runs the same code over each.

use std::path::Path;

use anyhow::Result;

use crate::sample::Sample;

/// A kind of database.
pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// The ways in which several threads can commit; the row of 64 committers runs each and keeps the best.
    fn ways(&self) -> &'static [&'static str];

    /// Opens the database in `dir`, creating it when missing.
    fn open(&self, dir: &Path, way: &str) -> Result<Box<dyn Database>>;
}

/// An open database.
pub(crate) trait Database: Sync {
    /// A handle for one thread.
    fn session(&self) -> Result<Box<dyn Session + '_>>;

    /// Ends all work and closes the files.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What one thread does.
pub(crate) trait Session {
    /// Writes the samples in one transaction; they are on stable storage when this returns.
    fn commit(&mut self, samples: &[Sample]) -> Result<()>;

    /// Finds a record by its key and decodes it.
    fn read(&mut self, id: u64) -> Result<Option<Sample>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lsm, sqlcipher};

    #[test]
    fn every_peer_keeps_what_it_acknowledged_in_every_way() {
        let root = std::env::temp_dir().join(format!("ate-peers-{}", std::process::id()));
        let peers: [&dyn Peer; 2] = [&sqlcipher::SqlCipher, &lsm::Fjall];
        for peer in peers {
            for way in peer.ways() {
                let dir = root.join(peer.name()).join(way.replace(' ', "-"));
                std::fs::create_dir_all(&dir).expect("directory");
                let database = peer.open(&dir, way).expect("opens");
                let mut session = database.session().expect("session");
                session.commit(&[Sample::new(1)]).expect("commits one");
                session
                    .commit(&[Sample::new(2), Sample::new(3)])
                    .expect("commits two");
                drop(session);
                database.close().expect("closes");

                let database = peer.open(&dir, way).expect("opens again");
                let mut session = database.session().expect("session");
                for id in 1..=3 {
                    assert_eq!(
                        session.read(id).expect("reads"),
                        Some(Sample::new(id)),
                        "{} {way}",
                        peer.name()
                    );
                }
                assert_eq!(session.read(4).expect("reads"), None);
                drop(session);
                database.close().expect("closes");
            }
        }
        std::fs::remove_dir_all(&root).expect("removes its files");
    }
}
