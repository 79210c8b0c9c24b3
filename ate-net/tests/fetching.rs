//! Contents over a node, in memory: within what was signed and within a time, again after a break.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ate_chain::{ContentId, Contents, FetchError, Local, ReadError};
use ate_net::{
    Connection, Endpoint, MemoryTransport, ReceiveHalf, Stream, Task, Transport, TransportError,
};
use bytes::Bytes;
use common::{Net, Replica, client, committer, identity, start};
use tokio::time::Instant;

mod common;

/// A chain of `count` notes, and a replica with their heads.
async fn world(net: &Net, count: u64) -> (Replica, Replica) {
    let writer = net.found(1, 1);
    for number in 0..count {
        let (name, content) = (number.to_string(), format!("content {number}"));
        writer.write(&name, &content).await.expect("landed");
    }
    let reader = net.replica(writer.local.chain(), 1, 2, Contents::Lazy);
    reader.reaches(1 + count).await;
    (writer, reader)
}

/// All contents of a chain whose every commit brings one, but for the first, which brings a schema too.
fn all(local: &Local) -> Vec<ContentId> {
    let commits = (0..local.position().0).map(|seq| local.commit_at(seq).expect("read"));
    let contents = commits.flat_map(|commit| {
        let events = commit.events.into_iter().zip(0..);
        events
            .filter(|(event, _)| event.content.is_some())
            .map(move |(_, event)| ContentId {
                seq: commit.seq,
                event,
            })
    });
    contents.collect()
}

fn why(fetched: Result<(), ReadError>) -> FetchError {
    match fetched {
        Err(ReadError::Elsewhere { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_break_of_the_way_is_not_noticed_by_who_reads() {
    let net = Net::new();
    let (_writer, reader) = world(&net, 20).await;
    let wanted = all(&reader.local);
    // The link does not know yet that its connection is gone.
    net.cut();
    reader.local.fetch(wanted.clone()).await.expect("fetched");
    assert_eq!(reader.local.fetched_count(), wanted.len());
    assert_eq!(reader.read("19").expect("opens"), b"content 19");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_is_told_in_time_and_asked_again_later() {
    let mut net = Net::new();
    let (_writer, reader) = world(&net, 2).await;
    let wanted = all(&reader.local);
    net.node.take().expect("it runs").shut_down().await;
    let begun = Instant::now();
    let failed = why(reader.local.fetch(wanted.clone()).await);
    assert!(matches!(failed, FetchError::Unreachable { .. }), "{failed}");
    assert!(begun.elapsed() <= Duration::from_secs(11), "{failed}");
    let listener = net.network.listen(net.endpoint.node).expect("free again");
    let (identity, host) = (net.node_identity.clone(), net.host.clone());
    net.node = Some(start(Arc::new(listener), identity, host));
    tokio::time::sleep(Duration::from_secs(30)).await;
    reader.local.fetch(wanted).await.expect("fetched");
    assert_eq!(reader.read("1").expect("opens"), b"content 1");
}

#[tokio::test(start_paused = true)]
async fn several_fetch_at_once_and_each_content_comes_once() {
    let net = Net::new();
    let (_writer, reader) = world(&net, 30).await;
    let wanted = all(&reader.local);
    let fetches = wanted.windows(3).map(|some| {
        let (local, some) = (reader.local.clone(), some.to_vec());
        tokio::spawn(async move { local.fetch(some).await })
    });
    for fetch in fetches.collect::<Vec<_>>() {
        fetch.await.expect("it ends").expect("fetched");
    }
    assert_eq!(reader.local.fetched_count(), wanted.len());
    let bytes = reader.local.fetched_bytes();
    assert!(bytes > 0 && bytes < 10_000, "{bytes}");
}

/// A way on which every content that comes is announced with 40 MiB.
struct Swelling {
    inner: MemoryTransport,
    is_armed: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
}

struct SwellingConnection(Arc<dyn Connection>, Arc<AtomicBool>, Arc<AtomicUsize>);

struct SwellingHalf {
    inner: Box<dyn ReceiveHalf>,
    is_armed: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    is_swollen: bool,
}

impl Transport for Swelling {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let inner = self.inner.connect(to).await?;
            let (is_armed, taken) = (self.is_armed.clone(), self.taken.clone());
            let connection = SwellingConnection(inner, is_armed, taken);
            Ok(Arc::new(connection) as Arc<dyn Connection>)
        })
    }
}

impl Connection for SwellingConnection {
    fn open(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let Stream { send, receive } = self.0.open().await?;
            let receive = Box::new(SwellingHalf {
                inner: receive,
                is_armed: self.1.clone(),
                taken: self.2.clone(),
                is_swollen: false,
            });
            Ok(Stream { send, receive })
        })
    }

    fn accept(&self) -> Task<'_, Result<Stream, TransportError>> {
        self.0.accept()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.peer()
    }

    fn binding(&self) -> [u8; 32] {
        self.0.binding()
    }

    fn close(&self, code: u32, why: &str) {
        self.0.close(code, why);
    }

    fn closed(&self) -> Task<'_, TransportError> {
        self.0.closed()
    }
}

impl ReceiveHalf for SwellingHalf {
    fn read(&mut self, max: usize) -> Task<'_, Result<Option<Bytes>, TransportError>> {
        /// Kind of a message that holds a content.
        const CONTENT: u8 = 7;
        const SWOLLEN_BYTES: u32 = 40 << 20;
        Box::pin(async move {
            if self.is_swollen {
                let bytes = Bytes::from(vec![0; max]);
                self.taken.fetch_add(bytes.len(), Ordering::SeqCst);
                return Ok(Some(bytes));
            }
            let Some(bytes) = self.inner.read(max).await? else {
                return Ok(None);
            };
            let is_content = bytes.get(4) == Some(&CONTENT);
            if !is_content || !self.is_armed.load(Ordering::SeqCst) {
                return Ok(Some(bytes));
            }
            self.is_swollen = true;
            let mut swollen = bytes.to_vec();
            swollen[..4].copy_from_slice(&SWOLLEN_BYTES.to_le_bytes());
            self.taken.fetch_add(swollen.len(), Ordering::SeqCst);
            Ok(Some(swollen.into()))
        })
    }

    fn stop(&mut self, code: u32) {
        self.inner.stop(code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_content_longer_than_it_was_signed_is_refused_by_its_length() {
    let net = Net::new();
    let writer = net.found(1, 1);
    writer.write("first", "hello").await.expect("landed");
    let (is_armed, taken) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let transport = Swelling {
        inner: net.network.transport(),
        is_armed: is_armed.clone(),
        taken: Arc::clone(&taken),
    };
    let local = Local::at(&committer(2), writer.local.chain(), None);
    let link = client(Arc::new(transport), 1).link(&net.endpoint);
    let remote = link.follow(&local, Contents::Lazy).expect("follows");
    let reader = Replica {
        local,
        remote,
        identity: identity(1),
    };
    reader.reaches(2).await;
    let wanted = all(&reader.local);
    let failed = why(reader.local.fetch(wanted.clone()).await);
    assert!(matches!(failed, FetchError::Forged), "{failed}");
    assert!(
        taken.load(Ordering::SeqCst) < 4096,
        "nothing was read that was announced"
    );
    assert_eq!(reader.local.fetched_count(), 0);
    is_armed.store(false, Ordering::SeqCst);
    reader.local.fetch(wanted).await.expect("fetched");
    assert_eq!(reader.read("first").expect("opens"), b"hello");
}
