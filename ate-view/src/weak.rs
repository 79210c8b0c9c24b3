//! `WeakChain`: the way back to a chain that was let go.

use std::sync::{Arc, Weak};

use ate_chain::{Clock, Local};
use ate_crypto::Identity;

use crate::cache::ValueCache;
use crate::chain::Chain;
use crate::session::Shared;

/// The way back to a chain that was let go, as long as anybody else refers to it.
///
/// One state of a chain must be enough: two at once would each order commits of their own, and the chain would fork. So whoever lets go of a chain that
/// may be wanted again keeps this, and loads the chain anew only when it [is gone](WeakChain::is_gone).
#[derive(Clone)]
pub struct WeakChain {
    shared: Weak<Shared>,
    local: Weak<Local>,
}

impl WeakChain {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            local: Arc::downgrade(&shared.local),
        }
    }

    /// Whether nobody refers to the chain any more, nor ever will: every commit that was handed over to it is in the log, or refused.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // A commit on its way holds the chain until it is confirmed or taken back.
        self.local.strong_count() == 0
    }

    /// The chain as `identity` sees it, unless it is gone.
    ///
    /// # Cost
    /// As [`Chain::as_identity`], if the session was let go.
    #[must_use]
    pub fn upgrade(
        &self,
        name: &str,
        identity: &Identity,
        clock: &Arc<dyn Clock>,
        cache: &ValueCache,
    ) -> Option<Chain> {
        if let Some(shared) = self.shared.upgrade() {
            return Some(Chain::of(shared.session(identity)));
        }
        // Only somebody who works below this crate still has it.
        let local = self.local.upgrade()?;
        let chain = Chain::over(local, name, identity, clock.clone(), cache);
        Some(chain)
    }

    /// As [`Chain::settle`], for what is left of the chain.
    pub fn settle(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.settle();
        }
    }

    /// As [`Chain::end_subscriptions`], for what is left of the chain.
    pub fn end_subscriptions(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.end_subscriptions();
        } else if let Some(local) = self.local.upgrade() {
            local.end_watches();
        }
    }
}

impl std::fmt::Debug for WeakChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakChain")
            .field("is_gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}
