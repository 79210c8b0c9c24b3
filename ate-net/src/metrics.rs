//! What a node counts of itself, and how it is told: the Prometheus text format 0.0.4.
//!
//! Every number is an atomic that is written without a lock. Labels are enums: no peer, name or chain can add a line, and the whole text has a bounded length. Numbers
//! are read one by one, so that two of one text may be a moment apart.

mod kinds;
#[cfg(test)]
mod tests;
mod values;

pub use kinds::{CommitRefusal, ConnectionRefusal, HandshakeEnd, Label, RequestEnd, RequestKind};
pub use values::{Bounds, Counter, Counters, Counters2, Entered, Gauge, Histogram};

use crate::limits::LimitKind;
use values::Text;

/// The media type of [`Metrics::render`].
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of latencies, in ms: from a commit on a fast disk to one that nobody waits for.
const LATENCY_MS: &[u64] = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// Upper bounds of sizes, in bytes.
const SIZE_BYTES: &[u64] = &[
    256,
    1024,
    4096,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    32 << 20,
];

/// All numbers of a node. One for a process; shared by reference.
#[derive(Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections that stand now.
    pub connections_open: Gauge,
    /// Connections that were taken.
    pub connections_accepted: Counter,
    /// Connections that were refused, by reason.
    pub connections_refused: Counters<ConnectionRefusal>,
    /// Handshakes, by how they ended.
    pub handshakes: Counters<HandshakeEnd>,
    /// How long a handshake took, in ms, of those that were completed.
    pub handshake_ms: Histogram<LatencyMs>,
    /// Requests, by kind and how they ended.
    pub requests: Counters2<RequestKind, RequestEnd>,
    /// How long a request took until its answer was sent, in ms; those that follow are not among them.
    pub request_ms: Histogram<LatencyMs>,
    /// Commits that were accepted and are durable here.
    pub commits_accepted: Counter,
    /// Commits that were refused, by reason.
    pub commits_rejected: Counters<CommitRefusal>,
    /// Commits that were sent again and were there already.
    pub commits_repeated: Counter,
    /// How long a commit took from its last byte to its durability, in ms.
    pub commit_ms: Histogram<LatencyMs>,
    /// Bytes of a commit, bodies included.
    pub commit_bytes: Histogram<SizeBytes>,
    /// Bytes that came from peers, without the transport's own.
    pub received_bytes: Counter,
    /// Bytes that went to peers, without the transport's own.
    pub sent_bytes: Counter,
    /// Streams that follow a chain now.
    pub follow_streams: Gauge,
    /// Commits that were sent to followers.
    pub follow_commits: Counter,
    /// Followers that were cut off because they did not read.
    pub follow_cut_off: Counter,
    /// Commits that this node lacks of chains it replicates, all together.
    pub replica_lag_commits: Gauge,
    /// Syncs that found the other side's history to contradict what it had signed.
    pub equivocations: Counter,
    /// Calls that wait for their answer now.
    pub calls_open: Gauge,
    /// Calls, by how they ended.
    pub calls: Counters<RequestEnd>,
    /// How long a call took, in ms.
    pub call_ms: Histogram<LatencyMs>,
    /// Streams that serve calls now.
    pub call_servers: Gauge,
    /// Limits that were hit, by limit.
    pub limits_hit: Counters<LimitKind>,
    /// Chains that this node hosts.
    pub chains_hosted: Gauge,
    /// Chains whose state is in memory.
    pub chains_open: Gauge,
    /// Bytes that wait in send buffers.
    pub send_buffer_bytes: Gauge,
    /// Bytes of commits that were begun and are not complete.
    pub receive_buffer_bytes: Gauge,
    /// Bytes on disk.
    pub disk_bytes: Gauge,
    /// When the node was started, in seconds since 1970.
    pub started_seconds: Gauge,
}

/// The buckets of latencies.
#[derive(Default)]
pub struct LatencyMs;

/// The buckets of sizes.
#[derive(Default)]
pub struct SizeBytes;

impl Bounds for LatencyMs {
    const UPPER: &'static [u64] = LATENCY_MS;
    /// Prometheus wants seconds.
    const PER_UNIT: u64 = 1000;
}

impl Bounds for SizeBytes {
    const UPPER: &'static [u64] = SIZE_BYTES;
    const PER_UNIT: u64 = 1;
}

impl Metrics {
    /// All of them 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text that a scrape gets, at most a few dozen KiB.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Text::new();
        self.render_connections(&mut text);
        self.render_requests(&mut text);
        self.render_commits(&mut text);
        self.render_streams(&mut text);
        self.render_stock(&mut text);
        text.finish()
    }

    fn render_connections(&self, text: &mut Text) {
        text.gauge(
            "ate_connections_open",
            "Connections that stand now.",
            &self.connections_open,
        );
        text.counter(
            "ate_connections_accepted_total",
            "Connections that were taken.",
            &self.connections_accepted,
        );
        text.counters(
            "ate_connections_refused_total",
            "Connections that were refused.",
            &self.connections_refused,
        );
        text.counters(
            "ate_handshakes_total",
            "Handshakes by how they ended.",
            &self.handshakes,
        );
        text.histogram(
            "ate_handshake_duration_seconds",
            "Time of completed handshakes.",
            &self.handshake_ms,
        );
    }

    fn render_requests(&self, text: &mut Text) {
        text.counters2(
            "ate_requests_total",
            "Requests by kind and how they ended.",
            &self.requests,
        );
        text.histogram(
            "ate_request_duration_seconds",
            "Time until an answer was sent.",
            &self.request_ms,
        );
        text.counter(
            "ate_received_bytes_total",
            "Bytes that came from peers.",
            &self.received_bytes,
        );
        text.counter(
            "ate_sent_bytes_total",
            "Bytes that went to peers.",
            &self.sent_bytes,
        );
        text.counters(
            "ate_limits_hit_total",
            "Limits that were hit.",
            &self.limits_hit,
        );
    }

    fn render_commits(&self, text: &mut Text) {
        text.counter(
            "ate_commits_accepted_total",
            "Commits that were accepted and are durable.",
            &self.commits_accepted,
        );
        text.counters(
            "ate_commits_rejected_total",
            "Commits that were refused.",
            &self.commits_rejected,
        );
        text.counter(
            "ate_commits_repeated_total",
            "Commits that were there already.",
            &self.commits_repeated,
        );
        text.histogram(
            "ate_commit_duration_seconds",
            "Time from the last byte of a commit to its durability.",
            &self.commit_ms,
        );
        text.histogram(
            "ate_commit_size_bytes",
            "Size of commits with their bodies.",
            &self.commit_bytes,
        );
        text.counter(
            "ate_equivocations_total",
            "Histories that contradict what was signed.",
            &self.equivocations,
        );
    }

    fn render_streams(&self, text: &mut Text) {
        text.gauge(
            "ate_follow_streams",
            "Streams that follow a chain now.",
            &self.follow_streams,
        );
        text.counter(
            "ate_follow_commits_total",
            "Commits sent to followers.",
            &self.follow_commits,
        );
        text.counter(
            "ate_follow_cut_off_total",
            "Followers cut off because they did not read.",
            &self.follow_cut_off,
        );
        text.gauge(
            "ate_replica_lag_commits",
            "Commits that this node lacks of what it replicates.",
            &self.replica_lag_commits,
        );
        text.gauge(
            "ate_calls_open",
            "Calls that wait for their answer.",
            &self.calls_open,
        );
        text.counters("ate_calls_total", "Calls by how they ended.", &self.calls);
        text.histogram("ate_call_duration_seconds", "Time of calls.", &self.call_ms);
        text.gauge(
            "ate_call_servers",
            "Streams that serve calls now.",
            &self.call_servers,
        );
    }

    fn render_stock(&self, text: &mut Text) {
        text.gauge(
            "ate_chains_hosted",
            "Chains that this node hosts.",
            &self.chains_hosted,
        );
        text.gauge(
            "ate_chains_open",
            "Chains whose state is in memory.",
            &self.chains_open,
        );
        text.gauge(
            "ate_send_buffer_bytes",
            "Bytes that wait in send buffers.",
            &self.send_buffer_bytes,
        );
        text.gauge(
            "ate_receive_buffer_bytes",
            "Bytes of commits that are not complete.",
            &self.receive_buffer_bytes,
        );
        text.gauge("ate_disk_bytes", "Bytes on disk.", &self.disk_bytes);
        text.gauge(
            "ate_start_time_seconds",
            "When the node was started, since 1970.",
            &self.started_seconds,
        );
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
