//! The chains of a store, as a node hosts them.

use std::sync::Arc;

use ate_chain::{ChainId, Local};
use ate_crypto::KeyId;
use ate_net::Host;

use crate::error::Error;
use crate::inner::StoreInner;

/// Hosts the chains of a store. Chains that are followed by somebody are in use; others are let go as the store's budget says.
pub(super) struct Hosted(pub(super) Arc<StoreInner>);

impl Host for Hosted {
    fn find(&self, name: &str, root: Option<KeyId>) -> Result<Option<ChainId>, String> {
        let listed = self.0.listed().map_err(|error| error.to_string())?;
        let named = listed.directory.named(name);
        let mut of_root = named
            .iter()
            .filter(|entry| root.is_none_or(|root| entry.root == root));
        let first = of_root.next();
        Ok(match of_root.next() {
            None => first.map(|entry| entry.chain),
            // Which one is meant, nobody has said.
            Some(_) => None,
        })
    }

    fn open(&self, chain: ChainId) -> Result<Option<Arc<Local>>, String> {
        let listed = self.0.listed().map_err(|error| error.to_string())?;
        let entry = listed.directory.by_id(&chain);
        drop(listed);
        let Some(entry) = entry else { return Ok(None) };
        match self.0.open_entry(&entry) {
            Ok(opened) => {
                self.0.make_room();
                Ok(Some(opened.local().clone()))
            }
            Err(Error::Chain(ate_chain::OpenError::NotFound { .. })) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn begin(&self, chain: ChainId, name: &str) -> Result<Arc<Local>, String> {
        let begun = self.0.chains.open(chain, |weak| {
            if let Some(chain) = weak.and_then(|weak| self.0.upgrade(weak, name)) {
                return Ok(chain);
            }
            let local = Local::at(&self.0.committer, chain, None);
            Ok(self.0.over(local, name))
        });
        let begun = begun.map_err(|error| error.to_string())?;
        self.0.make_room();
        Ok(begun.local().clone())
    }
}
