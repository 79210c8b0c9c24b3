//! The first message of a connection, byte by byte, as a client of another version or of another make would send it, and as somebody says it who heard it on another
//! connection.

use std::sync::Arc;

use ate_net::{
    Connection, Endpoint, ReceiveHalf, SendHalf, Stream, Task, Transport, TransportError,
};
use bytes::{Bytes, BytesMut};
use common::Net;
use parking_lot::Mutex;

mod common;

/// Keeps what is written first on each connection.
struct Listening {
    inner: Arc<dyn Transport>,
    heard: Arc<Mutex<Vec<Bytes>>>,
}

struct Heard {
    inner: Arc<dyn Connection>,
    heard: Arc<Mutex<Vec<Bytes>>>,
}

struct HeardSend {
    inner: Box<dyn SendHalf>,
    heard: Arc<Mutex<Vec<Bytes>>>,
}

impl Transport for Listening {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async {
            let inner = self.inner.connect(to).await?;
            let heard = self.heard.clone();
            Ok(Arc::new(Heard { inner, heard }) as Arc<dyn Connection>)
        })
    }
}

impl Connection for Heard {
    fn open(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let Stream { send, receive } = self.inner.open().await?;
            let heard = self.heard.clone();
            let send = Box::new(HeardSend { inner: send, heard });
            Ok(Stream { send, receive })
        })
    }
    fn accept(&self) -> Task<'_, Result<Stream, TransportError>> {
        self.inner.accept()
    }
    fn peer(&self) -> Option<std::net::IpAddr> {
        self.inner.peer()
    }
    fn binding(&self) -> [u8; 32] {
        self.inner.binding()
    }
    fn close(&self, code: u32, why: &str) {
        self.inner.close(code, why);
    }
    fn closed(&self) -> Task<'_, TransportError> {
        self.inner.closed()
    }
}

impl SendHalf for HeardSend {
    fn write(&mut self, bytes: Bytes) -> Task<'_, Result<(), TransportError>> {
        self.heard.lock().push(bytes.clone());
        self.inner.write(bytes)
    }
    fn finish(&mut self) -> Result<(), TransportError> {
        self.inner.finish()
    }
    fn reset(&mut self, code: u32) {
        self.inner.reset(code);
    }
}

/// What the node says to a greeting, as far as it says something.
async fn repeat(connection: &dyn Connection, greeting: &Bytes) -> Result<Bytes, TransportError> {
    let mut stream = connection.open().await?;
    stream.send.write(greeting.clone()).await?;
    stream.send.finish()?;
    let mut said = BytesMut::new();
    while let Some(bytes) = read(&mut *stream.receive).await? {
        said.extend_from_slice(&bytes);
    }
    Ok(said.freeze())
}

async fn read(half: &mut dyn ReceiveHalf) -> Result<Option<Bytes>, TransportError> {
    half.read(4096).await
}

#[tokio::test(start_paused = true)]
async fn a_greeting_from_another_connection_opens_nothing() {
    let net = Net::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = Listening {
        inner: Arc::new(net.network.transport()),
        heard: heard.clone(),
    };
    let link = common::client(Arc::new(listening), 1).link(&net.endpoint);
    link.ping(std::time::Duration::from_secs(5))
        .await
        .expect("the owner of the key is let in");
    let greeting = heard.lock().first().cloned().expect("it has greeted");
    // Somebody who heard it says the same on a connection of its own.
    let transport = net.network.transport();
    let connection = transport.connect(&net.endpoint).await.expect("connects");
    let said = repeat(&*connection, &greeting).await;
    assert!(
        !matches!(&said, Ok(said) if !said.is_empty()),
        "let in: {said:?}"
    );
}

/// What a node answers to the first bytes of a connection, up to its end or a break.
async fn answer_to(first: &[u8]) -> Vec<u8> {
    let net = Net::new();
    let connection = net.network.transport().connect(&net.endpoint).await;
    let connection = connection.expect("the node answers");
    let mut stream = connection.open().await.expect("a stream");
    let sent = stream.send.write(Bytes::copy_from_slice(first)).await;
    sent.expect("the node listens");
    let mut answer = Vec::new();
    while let Ok(Some(bytes)) = stream.receive.read(1 << 16).await {
        answer.extend_from_slice(&bytes);
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_of_another_version_is_refused_by_name_whatever_stands_in_it() {
    // Request 0, version 2, and what only version 2 knows.
    let said = answer_to(&[5, 0, 0, 0, 1, 0, 2, 0xff, 0xff, 0xff]).await;
    let why = b"this node speaks version 1";
    let length = 2 + why.len() as u8;
    let expected = [&[length, 0, 0, 0, 9, 4, why.len() as u8], &why[..]].concat();
    assert_eq!(said, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_begin_with_a_hello_hears_nothing() {
    // A Ping, a Hello without an identity, a message that is too long, one of an unknown kind.
    for first in [
        &[1, 0, 0, 0, 1, 6][..],
        &[4, 0, 0, 0, 1, 0, 1, 0, 0],
        &[0, 0, 1, 0, 1],
        &[0, 0, 0, 0, 77],
    ] {
        assert_eq!(answer_to(first).await, [0; 0], "{first:?}");
    }
}
