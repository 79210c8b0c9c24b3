//! Which chains of a store are replicas, and of which node: kept with the log, so that a chain is never ordered in two places.

use std::collections::HashMap;

use ate_chain::{ChainId, FetchError, Pending, Upstream, Wanted};
use ate_crypto::Hash;
use ate_view::Chain;

use crate::error::Error;
use crate::inner::StoreInner;

/// Snapshots of this name and a chain's id say that it is a replica.
const PREFIX: &str = "replica-";
/// First line of what they hold.
const HEAD: &str = "ate replica 1";

/// The address of each replica's chain, as text.
pub(crate) type Replicas = HashMap<ChainId, String>;

/// Stands for a node that nobody can reach from here, and says why.
struct Nobody(&'static str);

impl Upstream for Nobody {
    fn wake(&self) {}

    fn fetch(&self, _: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>> {
        Pending::ready(Err(FetchError::Unreachable {
            why: self.0.to_owned(),
        }))
    }
}

impl StoreInner {
    /// Reads the marks of all replicas.
    pub(crate) fn restore_replicas(&self) {
        let names = self.log.snapshot_names().unwrap_or_default();
        let mut replicas = Replicas::new();
        for name in &names {
            let Some(id) = name
                .strip_prefix(PREFIX)
                .and_then(|id| id.parse::<Hash>().ok())
            else {
                continue;
            };
            // One that cannot be read is a replica all the same: it must not be ordered here.
            let address = self.log.snapshot_get(name).ok().flatten();
            let address = address.and_then(|bytes| {
                let text = String::from_utf8(bytes).ok()?;
                Some(text.strip_prefix(HEAD)?.trim().to_owned())
            });
            replicas.insert(ChainId(id), address.unwrap_or_default());
        }
        *self.replicas.lock() = replicas;
    }

    /// The address that a chain follows, if it is a replica.
    pub(crate) fn replica_address(&self, chain: &ChainId) -> Option<String> {
        self.replicas.lock().get(chain).cloned()
    }

    /// Makes it durable that a chain is a replica, before anything is written to it.
    #[cfg_attr(
        not(feature = "net"),
        expect(dead_code, reason = "replicas are made over a network")
    )]
    pub(crate) fn mark_replica(&self, chain: ChainId, address: &str) -> Result<(), Error> {
        if self.replica_address(&chain).as_deref() == Some(address) {
            return Ok(());
        }
        let name = format!("{PREFIX}{chain}");
        let text = format!("{HEAD}\n{address}\n");
        self.log.snapshot_put(&name, text.as_bytes())?;
        self.replicas.lock().insert(chain, address.to_owned());
        Ok(())
    }

    /// Sees to it that a chain which was loaded follows its node, if it is a replica.
    pub(crate) fn follow_if_replica(&self, chain: &Chain) -> Result<(), Error> {
        let Some(address) = self.replica_address(&chain.id()) else {
            return Ok(());
        };
        if chain.local().is_replica() {
            return Ok(());
        }
        if !self.is_writer {
            // What is kept beside the chain is read all the same: what is staged, and contents that were fetched.
            let nobody = Nobody("the store is open for reading only");
            let followed = chain.local().follow(std::sync::Arc::new(nobody));
            return match followed {
                Err(_) if self.damage.is_some() => Ok(()),
                followed => Ok(followed?),
            };
        }
        #[cfg(feature = "net")]
        if let Ok(address) = address.parse() {
            return self.follow_node(chain, &address);
        }
        drop(address);
        let nobody = Nobody("this program was built without a network (feature `net`)");
        Ok(chain.local().follow(std::sync::Arc::new(nobody))?)
    }
}
