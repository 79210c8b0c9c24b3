//! Checks that any pair of a [`Transport`] and a [`Listener`] must pass, for whoever writes one.
//!
//! Call [`check_transport`] in a test, within a tokio runtime with time (paused or not), with a way to get a fresh pair again and again. A failed check panics with what
//! was expected, as a test does.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ate_crypto::sha256;
use bytes::Bytes;

use crate::{
    Connection, Endpoint, Listener, NodeId, ReceiveHalf, SendHalf, Stream, Transport,
    TransportError,
};

mod connections;
mod streams;

/// A node that answers, and what dials it.
pub struct Pair {
    /// Dials.
    pub transport: Arc<dyn Transport>,
    /// Answers at `endpoint`.
    pub listener: Arc<dyn Listener>,
    /// Where.
    pub endpoint: Endpoint,
}

/// How long anything that must happen may take.
const SOON: Duration = Duration::from_secs(60);
/// How long is waited for what must not happen.
const LONG: Duration = Duration::from_millis(300);

/// Runs every check, each on a fresh pair. Takes some seconds over a network.
///
/// # Panics
/// When one fails, or takes a minute.
pub async fn check_transport(mut fresh: impl FnMut() -> Pair) {
    streams::bytes_come_in_order(&fresh()).await;
    streams::large_transfers_are_whole(&fresh()).await;
    streams::reads_have_a_limit(&fresh()).await;
    streams::many_streams_at_once(&fresh()).await;
    streams::a_stalled_stream_stops_no_other(&fresh()).await;
    streams::a_writer_waits_for_its_reader(&fresh()).await;
    streams::finished_is_a_clean_end(&fresh()).await;
    streams::dropped_is_no_clean_end(&fresh()).await;
    streams::reset_has_its_code(&fresh()).await;
    streams::stop_reaches_the_writer(&fresh()).await;
    streams::a_dropped_read_loses_nothing(&fresh()).await;
    connections::both_sides_have_one_binding(&fresh()).await;
    connections::another_node_is_refused(&fresh()).await;
    connections::both_sides_open_streams(&fresh()).await;
    connections::close_reaches_the_peer(&fresh()).await;
    connections::close_ends_what_waits(&fresh()).await;
    connections::a_dropped_connection_is_closed(&fresh()).await;
    connections::a_stream_keeps_its_connection(&fresh()).await;
    connections::a_dropped_accept_loses_nothing(&fresh()).await;
    connections::a_closed_listener_lets_nobody_in(&fresh()).await;
}

/// Two ends of one connection.
struct Ends {
    dialler: Arc<dyn Connection>,
    listener: Arc<dyn Connection>,
}

async fn connect(pair: &Pair) -> Ends {
    let (dialler, listener) = soon("a connection", async {
        tokio::join!(
            pair.transport.connect(&pair.endpoint),
            pair.listener.accept()
        )
    })
    .await;
    let listener = listener.expect("the listener is open");
    listener.admit();
    Ends {
        dialler: dialler.expect("the node answers"),
        listener,
    }
}

/// A stream that the dialler opened, with one byte that went over it: its end, then the listener's.
async fn stream(ends: &Ends) -> (Stream, Stream) {
    soon("a stream", async {
        let mut near = ends.dialler.open().await.expect("a stream is opened");
        put(&mut near, &[0]).await;
        let mut far = ends.listener.accept().await.expect("a stream is accepted");
        assert_eq!(get(&mut far, 1).await, [0], "the first byte");
        (near, far)
    })
    .await
}

async fn put(stream: &mut Stream, bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    stream.send.write(bytes).await.expect("bytes are taken");
}

/// Exactly so many bytes.
async fn get(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let bytes = stream.receive.read(count - all.len()).await;
        let bytes = bytes.expect("bytes come").expect("more bytes come");
        assert!(!bytes.is_empty(), "a read gives at least one byte");
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all.len(), count, "a read gives at most what was asked for");
    all
}

/// All bytes until the clean end.
async fn rest(receive: &mut dyn ReceiveHalf) -> Result<Vec<u8>, TransportError> {
    let mut all = Vec::new();
    while let Some(bytes) = receive.read(64 * 1024).await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

async fn put_all(send: &mut dyn SendHalf, bytes: Bytes) {
    send.write(bytes).await.expect("all bytes are taken");
    send.finish().expect("the stream is finished");
}

/// The same bytes for the same arguments.
fn sample(number: u64, count: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(count + 32);
    let mut block = 0_u64;
    while bytes.len() < count {
        bytes.extend_from_slice(&sha256(&[&number.to_le_bytes(), &block.to_le_bytes()]).0);
        block += 1;
    }
    bytes.truncate(count);
    bytes.into()
}

/// What must happen.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, work).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}

/// Whether it is still not done after a while.
async fn never(work: impl Future) -> bool {
    tokio::time::timeout(LONG, work).await.is_err()
}

/// Polls once, then drops.
fn once<T>(work: impl Future<Output = T>) -> Option<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn other_node() -> NodeId {
    NodeId::of_key(b"the key of a node that is nowhere")
}
