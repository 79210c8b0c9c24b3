//! Who a peer is, it shows for one connection: what was said on another one is worth nothing.

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
async fn answer(connection: &dyn Connection, greeting: &Bytes) -> Result<Bytes, TransportError> {
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
    let said = answer(&*connection, &greeting).await;
    assert!(
        !matches!(&said, Ok(said) if !said.is_empty()),
        "let in: {said:?}"
    );
}
