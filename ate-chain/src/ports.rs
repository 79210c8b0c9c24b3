//! What a chain takes from outside: time and a thread. Randomness is [`ate_crypto::Random`].

/// Wall-clock time in milliseconds since 1970.
pub trait Clock: Send + Sync {
    /// The time now. May go back; order time does not.
    fn now_ms(&self) -> u64;
}

/// A thread for work that nobody waits for.
pub trait Spawn: Send + Sync {
    /// Runs `work` on another thread, once. `work` returns when the committer is closed.
    fn spawn(&self, work: Box<dyn FnOnce() + Send>);
}

/// Learns of commits when they are confirmed, in order, each exactly once, under the chain's lock: keep it short and take no lock that is ever held while
/// the chain is called.
pub trait Observer: Send + Sync {
    /// A commit that is verified, durable and part of the chain's confirmed state.
    fn confirmed(&self, commit: &crate::observe::ConfirmedCommit<'_>);

    /// Staged commits were refused for whom nobody waits: [`Local::take_refused`](crate::Local::take_refused) gives them. Called without a lock.
    fn refused(&self) {}
}
