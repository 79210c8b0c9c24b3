//! What a peer, an address and a chain may take of a node, and who counts it.
//!
//! Nothing here has a clock, a task or an allocation that a stranger decides: time is an argument, and every table has a fixed number of rows. A row is given up only
//! when it says no more than an absent one; when no such row is left, whoever is new shares *one* budget with all others who are new. So a peer cannot clear its own
//! count by coming with many names, and one that was there before is not pushed out.

mod bucket;
mod concurrent;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use ate_chain::ChainId;
use ate_crypto::KeyId;

pub use bucket::{Rate, TokenBuckets};
pub use concurrent::{Concurrent, Permit};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Limits of a node. The defaults suit one node of a small team on one machine; a limit of 0 refuses everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at one moment, all peers together. Default 4096.
    pub connections: u32,
    /// Connections at one moment from one address (an IPv4 address, an IPv6 /64). Default 256: an office behind one address.
    pub connections_per_address: u32,
    /// Connections at one moment whose peer has not proven who it is. Default 512.
    pub unauthenticated: u32,
    /// The same from one address. Default 64.
    pub unauthenticated_per_address: u32,
    /// Handshakes that all strangers together may begin. Default 500 a second, 1000 at once.
    pub handshakes: Rate,
    /// Handshakes that one address may begin. Default 50 a second, 200 at once: all clients of a place come back at once when a node was restarted.
    pub handshakes_per_address: Rate,
    /// Requests of one identity. Default 2000 a second, 4000 at once.
    pub requests: Rate,
    /// Bytes that one identity may send, and as many that it may receive. Default 64 MiB a second, 128 MiB at once.
    pub bytes: Rate,
    /// Streams of one identity that follow a chain, send commits or serve calls. Default 1024.
    pub streams_per_identity: u32,
    /// Paths of calls that one identity has open to servers at other connections. Default 1024.
    pub calls_per_identity: u32,
    /// Chains that one identity may found on this node. Default 1024 a day, at any pace. A node that was restarted counts anew.
    pub chains_per_identity: Rate,
    /// Bytes of commits that one chain may grow by. Default 16 GiB a day, spent at any pace. A node that was restarted counts anew.
    pub commit_bytes: Rate,
    /// Rows of each table that is kept by identity, address or chain: at about 100 bytes each. Default 65,536.
    pub tracked: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 256,
            unauthenticated: 512,
            unauthenticated_per_address: 64,
            handshakes: Rate::per_second(500, 1000),
            handshakes_per_address: Rate::per_second(50, 200),
            requests: Rate::per_second(2000, 4000),
            bytes: Rate::per_second(64 << 20, 128 << 20),
            streams_per_identity: 1024,
            calls_per_identity: 1024,
            chains_per_identity: Rate {
                tokens: 1024,
                per_ms: DAY_MS,
                burst: 1024,
            },
            commit_bytes: Rate {
                tokens: 16 << 30,
                per_ms: DAY_MS,
                burst: 16 << 30,
            },
            tracked: 1 << 16,
        }
    }
}

/// Which limit was hit: few and fixed, so that they can be counted one by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::connections`].
    Connections,
    /// [`Limits::connections_per_address`].
    AddressConnections,
    /// [`Limits::unauthenticated`].
    Unauthenticated,
    /// [`Limits::unauthenticated_per_address`].
    AddressUnauthenticated,
    /// [`Limits::handshakes`].
    Handshakes,
    /// [`Limits::handshakes_per_address`].
    AddressHandshakes,
    /// [`Limits::requests`].
    Requests,
    /// [`Limits::bytes`], sent by the peer.
    BytesIn,
    /// [`Limits::bytes`], sent to the peer.
    BytesOut,
    /// [`Limits::streams_per_identity`].
    Streams,
    /// [`Limits::calls_per_identity`].
    Calls,
    /// [`Limits::chains_per_identity`].
    Chains,
    /// [`Limits::commit_bytes`].
    CommitBytes,
}

impl LimitKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Connections,
        Self::AddressConnections,
        Self::Unauthenticated,
        Self::AddressUnauthenticated,
        Self::Handshakes,
        Self::AddressHandshakes,
        Self::Requests,
        Self::BytesIn,
        Self::BytesOut,
        Self::Streams,
        Self::Calls,
        Self::Chains,
        Self::CommitBytes,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::AddressConnections => "address_connections",
            Self::Unauthenticated => "unauthenticated",
            Self::AddressUnauthenticated => "address_unauthenticated",
            Self::Handshakes => "handshakes",
            Self::AddressHandshakes => "address_handshakes",
            Self::Requests => "requests",
            Self::BytesIn => "bytes_in",
            Self::BytesOut => "bytes_out",
            Self::Streams => "streams",
            Self::Calls => "calls",
            Self::Chains => "chains",
            Self::CommitBytes => "commit_bytes",
        }
    }
}

/// A limit was hit: what, and when it is worth trying again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub struct LimitHit {
    /// Which.
    pub limit: LimitKind,
    /// In how many ms the same would be let through, if nothing else comes; `None`: when something ends, or never.
    pub retry_ms: Option<u64>,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over the limit of {}", self.limit.as_str())?;
        match self.retry_ms {
            Some(ms) => write!(f, "; try again in {ms} ms"),
            None => Ok(()),
        }
    }
}

/// Whom an address stands for, as far as limits go: an IPv4 address is one party, in IPv6 a whole /64 is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IpPrefix(u64, bool);

impl From<IpAddr> for IpPrefix {
    fn from(ip: IpAddr) -> Self {
        // An IPv4 peer of a socket for both kinds shows as `::ffff:a.b.c.d`: in one /64 with all others.
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(ip.to_bits().into(), false),
            IpAddr::V6(ip) => Self((ip.to_bits() >> 64) as u64, true),
        }
    }
}

/// Counts for a node. Cheap to ask: a lock of its own for each limit, held for one look-up.
pub struct Limiter {
    limits: Limits,
    connections: Concurrent<Option<IpPrefix>>,
    unauthenticated: Concurrent<Option<IpPrefix>>,
    handshakes: TokenBuckets<()>,
    address_handshakes: TokenBuckets<Option<IpPrefix>>,
    requests: TokenBuckets<KeyId>,
    bytes_in: TokenBuckets<KeyId>,
    bytes_out: TokenBuckets<KeyId>,
    streams: Concurrent<KeyId>,
    calls: Concurrent<KeyId>,
    chains: TokenBuckets<KeyId>,
    commit_bytes: TokenBuckets<ChainId>,
}

impl Limiter {
    /// Counts against these limits, from nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let rows = limits.tracked;
        // Connections are bounded in number, and what they hold with them: a table of those needs no bound of its own.
        let per_identity =
            |most: u32| Concurrent::new(most, limits.connections.saturating_mul(most));
        Self {
            connections: Concurrent::new(limits.connections_per_address, limits.connections),
            unauthenticated: Concurrent::new(
                limits.unauthenticated_per_address,
                limits.unauthenticated,
            ),
            handshakes: TokenBuckets::new(limits.handshakes, 1),
            address_handshakes: TokenBuckets::new(limits.handshakes_per_address, rows),
            requests: TokenBuckets::new(limits.requests, rows),
            bytes_in: TokenBuckets::new(limits.bytes, rows),
            bytes_out: TokenBuckets::new(limits.bytes, rows),
            streams: per_identity(limits.streams_per_identity),
            calls: per_identity(limits.calls_per_identity),
            chains: TokenBuckets::new(limits.chains_per_identity, rows),
            commit_bytes: TokenBuckets::new(limits.commit_bytes, rows),
            limits,
        }
    }

    /// What is counted against.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A connection from an address (`None`: in memory, all of them one party), for as long as the permit lives.
    ///
    /// # Errors
    /// [`LimitKind::Connections`], [`LimitKind::AddressConnections`].
    pub fn connection(&self, from: Option<IpAddr>) -> Result<Permit<Option<IpPrefix>>, LimitHit> {
        let taken = self.connections.take(from.map(IpPrefix::from));
        taken.map_err(|full| full.hit(LimitKind::AddressConnections, LimitKind::Connections))
    }

    /// A handshake that a stranger begins; the permit is given back when it has proven who it is, or is gone. An address over its own rate costs the others
    /// nothing.
    ///
    /// # Errors
    /// [`LimitKind::AddressHandshakes`], [`LimitKind::Handshakes`], [`LimitKind::AddressUnauthenticated`], [`LimitKind::Unauthenticated`].
    pub fn handshake(
        &self,
        from: Option<IpAddr>,
        now_ms: u64,
    ) -> Result<Permit<Option<IpPrefix>>, LimitHit> {
        let from = from.map(IpPrefix::from);
        let wait = self.address_handshakes.take(from, 1, now_ms);
        wait.map_err(hit(LimitKind::AddressHandshakes))?;
        let permit = self.unauthenticated.take(from).map_err(|full| {
            full.hit(
                LimitKind::AddressUnauthenticated,
                LimitKind::Unauthenticated,
            )
        })?;
        let wait = self.handshakes.take((), 1, now_ms);
        wait.map_err(hit(LimitKind::Handshakes))?;
        Ok(permit)
    }

    /// One request of an identity.
    ///
    /// # Errors
    /// [`LimitKind::Requests`].
    pub fn request(&self, who: KeyId, now_ms: u64) -> Result<(), LimitHit> {
        let wait = self.requests.take(who, 1, now_ms);
        wait.map_err(hit(LimitKind::Requests))
    }

    /// Bytes that came from an identity: they are here, so they are counted whatever the answer. Returns how long not to read on, in ms.
    #[must_use]
    pub fn received(&self, who: KeyId, bytes: u64, now_ms: u64) -> u64 {
        self.bytes_in.charge(who, bytes, now_ms)
    }

    /// Bytes that go to an identity. Returns how long to wait before the next, in ms.
    #[must_use]
    pub fn sent(&self, who: KeyId, bytes: u64, now_ms: u64) -> u64 {
        self.bytes_out.charge(who, bytes, now_ms)
    }

    /// A stream that stays: a follower, a server of calls.
    ///
    /// # Errors
    /// [`LimitKind::Streams`].
    pub fn stream(&self, who: KeyId) -> Result<Permit<KeyId>, LimitHit> {
        let taken = self.streams.take(who);
        taken.map_err(|full| full.hit(LimitKind::Streams, LimitKind::Streams))
    }

    /// A call that waits for its answer.
    ///
    /// # Errors
    /// [`LimitKind::Calls`].
    pub fn call(&self, who: KeyId) -> Result<Permit<KeyId>, LimitHit> {
        let taken = self.calls.take(who);
        taken.map_err(|full| full.hit(LimitKind::Calls, LimitKind::Calls))
    }

    /// A chain that an identity founds.
    ///
    /// # Errors
    /// [`LimitKind::Chains`].
    pub fn chain(&self, who: KeyId, now_ms: u64) -> Result<(), LimitHit> {
        let wait = self.chains.take(who, 1, now_ms);
        wait.map_err(hit(LimitKind::Chains))
    }

    /// Bytes that a chain has grown by: they are there, so they are counted. Whether there is room for more, [`Limiter::commit`] tells.
    pub fn committed(&self, chain: ChainId, bytes: u64, now_ms: u64) {
        let _ = self.commit_bytes.charge(chain, bytes, now_ms);
    }

    /// A commit of so many bytes to a chain. Nothing is counted if it is refused.
    ///
    /// # Errors
    /// [`LimitKind::CommitBytes`].
    pub fn commit(&self, chain: ChainId, bytes: u64, now_ms: u64) -> Result<(), LimitHit> {
        let wait = self.commit_bytes.take(chain, bytes, now_ms);
        wait.map_err(hit(LimitKind::CommitBytes))
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn hit(limit: LimitKind) -> impl Fn(Option<u64>) -> LimitHit {
    move |retry_ms| LimitHit { limit, retry_ms }
}
