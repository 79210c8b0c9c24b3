//! A peer that writes whatever it likes.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::{FetchError, Pending, Upstream, Wanted};
use ate_crypto::{Identity, Purpose};
use ate_net::{
    Connection, Endpoint, Everybody, Limits, Listener, MemoryNetwork, Metrics, Node, NodeId,
    NodeLimits, NodeParts, QuicLimits, QuicListener, QuicTransport, Rate, Stream, Transport,
    TransportError,
};
use bytes::Bytes;
use serde::Serialize;

use super::common::{Chains, Noon, client, identity};

pub const REQUEST: u8 = 1;
pub const REPLY: u8 = 2;
pub const FRAMES: u8 = 3;
pub const STANDING: u8 = 4;
pub const BATCH: u8 = 5;
pub const ANSWERS: u8 = 6;
pub const REFUSED: u8 = 9;

/// The requests, as the protocol has them.
#[derive(Clone, Serialize)]
pub enum Ask {
    Hello {
        version: u16,
        who: Bytes,
        signature: Bytes,
    },
    Find {
        name: String,
        root: Option<[u8; 32]>,
    },
    Follow {
        chain: [u8; 32],
        from: u64,
        lazy: bool,
    },
    Submit {
        chain: [u8; 32],
    },
    Fetch {
        chain: [u8; 32],
        wanted: Vec<(u64, u32)>,
    },
    Standing {
        chain: [u8; 32],
    },
    Ping,
}

impl Ask {
    pub fn bytes(&self) -> Vec<u8> {
        message(REQUEST, &postcard::to_stdvec(self).expect("serialises"))
    }
}

pub fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short");
    let mut message = length.to_le_bytes().to_vec();
    message.push(kind);
    message.extend_from_slice(payload);
    message
}

pub fn hello(identity: &Identity, binding: &[u8; 32], node: &NodeId, version: u16) -> Ask {
    let content = [&binding[..], &node.0.0].concat();
    let signature = identity.sign(Purpose::Channel, &content);
    Ask::Hello {
        version,
        who: identity.who().to_bytes().into(),
        signature: Bytes::copy_from_slice(signature.as_bytes()),
    }
}

/// A node with short times, and a way to it.
pub struct Rig {
    pub transport: Arc<dyn Transport>,
    pub endpoint: Endpoint,
    pub host: Arc<Chains>,
    pub node: Node,
}

pub fn limits() -> NodeLimits {
    let plenty = Rate::per_second(1_000_000, 1_000_000);
    NodeLimits {
        hello: Duration::from_millis(400),
        write: Duration::from_millis(600),
        ask: Duration::from_millis(400),
        batch: Duration::from_millis(400),
        parties: Limits {
            handshakes: plenty,
            handshakes_per_address: plenty,
            requests: plenty,
            ..Limits::default()
        },
        ..NodeLimits::default()
    }
}

/// Makes one.
type Make = fn() -> Rig;

impl Rig {
    pub fn memory() -> Self {
        let id = NodeId::of_key(identity(50).node_key().public_bytes());
        let network = MemoryNetwork::new();
        let listener = network.listen(id).expect("free");
        let endpoint = listener.endpoint();
        Self::over(
            Arc::new(network.transport()),
            Arc::new(listener),
            endpoint,
            limits(),
        )
    }

    pub fn quic() -> Self {
        Self::quic_with(limits())
    }

    pub fn quic_with(limits: NodeLimits) -> Self {
        let quic = QuicLimits::default();
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = QuicListener::bind(address, &identity(50).node_key(), &quic);
        let listener = listener.expect("a port is free");
        let (host, port) = listener.local();
        let node = listener.node();
        let endpoint = Endpoint { host, port, node };
        let transport = QuicTransport::client(&quic).expect("a port is free");
        Self::over(Arc::new(transport), Arc::new(listener), endpoint, limits)
    }

    /// Both of them.
    pub fn each() -> [(&'static str, Make); 2] {
        [("memory", Self::memory), ("quic", Self::quic)]
    }

    fn over(
        transport: Arc<dyn Transport>,
        listener: Arc<dyn Listener>,
        endpoint: Endpoint,
        limits: NodeLimits,
    ) -> Self {
        let host = Chains::new(50);
        let parts = NodeParts {
            identity: identity(50),
            host: host.clone(),
            admission: Arc::new(Everybody),
            clock: Arc::new(Noon),
            limits,
        };
        Self {
            transport,
            endpoint,
            host,
            node: Node::start(listener, parts),
        }
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        self.node.metrics()
    }

    /// A connection that nothing was said on.
    pub async fn stranger(&self) -> Arc<dyn Connection> {
        let connected = self.transport.connect(&self.endpoint).await;
        connected.expect("it answers")
    }

    /// A connection of somebody who has said who it is.
    pub async fn guest(&self, number: u8) -> Arc<dyn Connection> {
        let connection = self.stranger().await;
        let node = self.endpoint.node;
        let hello = hello(&identity(number), &connection.binding(), &node, 1);
        let answer = exchange(&*connection, hello.bytes()).await;
        assert_eq!(answer.expect("welcome").0, REPLY);
        connection
    }

    /// Somebody who does as it should is served.
    pub async fn serves(&self) {
        let link = client(self.transport.clone(), 99).link(&self.endpoint);
        let limit = Duration::from_secs(20);
        link.ping(limit).await.expect("a good peer is served");
    }
}

/// Writes and ends, then reads one message.
pub async fn exchange(
    connection: &dyn Connection,
    bytes: Vec<u8>,
) -> Result<(u8, Vec<u8>), TransportError> {
    let mut stream = connection.open().await?;
    stream.send.write(bytes.into()).await?;
    stream.send.finish()?;
    read(&mut stream).await
}

/// Opens a stream and writes.
pub async fn begin(connection: &dyn Connection, bytes: Vec<u8>) -> Stream {
    let mut stream = connection.open().await.expect("a stream");
    stream.send.write(bytes.into()).await.expect("written");
    stream
}

/// One message, without a byte of the next.
pub async fn read(stream: &mut Stream) -> Result<(u8, Vec<u8>), TransportError> {
    let mut bytes = Vec::new();
    loop {
        let wanted = match bytes.first_chunk::<5>() {
            Some([a, b, c, d, _]) => 5 + u32::from_le_bytes([*a, *b, *c, *d]) as usize,
            None => 5,
        };
        if bytes.len() == wanted && wanted > 5 || bytes.len() == 5 && wanted == 5 {
            return Ok((bytes[4], bytes[5..].to_vec()));
        }
        match stream.receive.read(wanted - bytes.len()).await? {
            Some(more) => bytes.extend_from_slice(&more),
            None => return Err(TransportError::Closed),
        }
    }
}

/// Waits for something that must happen, not for ever.
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    let happened = tokio::time::timeout(limit, happens).await;
    happened.unwrap_or_else(|_| panic!("{what}: nothing in {limit:?}"))
}

/// Whoever stages without a node to send to.
pub struct Nobody;

impl Upstream for Nobody {
    fn wake(&self) {}

    fn fetch(&self, _: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>> {
        Pending::ready(Err(FetchError::Unreachable {
            why: "there is no node".into(),
        }))
    }
}
