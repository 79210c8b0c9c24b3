//! Real sockets: who is let in, and how many.

use std::time::Duration;

use ate_crypto::{Identity, Seed, SeededRandom};
use bytes::Bytes;
use rustls::crypto::aws_lc_rs::kx_group;

use super::*;

fn listen(limits: &QuicLimits) -> (QuicListener, Endpoint) {
    let key = Identity::from_seed(&Seed::generate(&SeededRandom::new(1))).node_key();
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = QuicListener::bind(address, &key, limits).expect("a port is free");
    let (host, port) = listener.local();
    let node = listener.node();
    (listener, Endpoint { host, port, node })
}

fn dialler(limits: &QuicLimits) -> QuicTransport {
    QuicTransport::client(limits).expect("a port is free")
}

async fn pair(
    listener: &QuicListener,
    transport: &QuicTransport,
    to: &Endpoint,
) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
    let (near, far) = tokio::join!(transport.connect(to), listener.accept());
    (near.expect("it answers"), far.expect("it is open"))
}

#[tokio::test]
async fn a_client_with_classical_key_exchange_alone_gets_no_connection() {
    let limits = QuicLimits::default();
    let (listener, to) = listen(&limits);
    let mut transport = dialler(&limits);
    transport.provider = Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..tls::provider().unwrap()
    });
    let refused = transport.connect(&to).await.map(|_| ());
    let Err(TransportError::Unreachable { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("handshake"), "{why}");
    // The one after it is the first that is given out.
    let (near, far) = pair(&listener, &dialler(&limits), &to).await;
    assert_eq!(near.binding(), far.binding());
}

#[tokio::test]
async fn a_validated_address_is_let_in() {
    let limits = QuicLimits {
        retry: Retry::Always,
        ..QuicLimits::default()
    };
    let (listener, to) = listen(&limits);
    let (near, far) = pair(&listener, &dialler(&limits), &to).await;
    assert_eq!(near.binding(), far.binding());
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_has_gone() {
    let limits = QuicLimits {
        connections_max: 2,
        ..QuicLimits::default()
    };
    let (listener, to) = listen(&limits);
    let transport = dialler(&limits);
    let (_near, _far) = pair(&listener, &transport, &to).await;
    let (near, far) = pair(&listener, &transport, &to).await;
    let refused = transport.connect(&to).await.map(|_| ());
    let Err(TransportError::Unreachable { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("refused"), "{why}");
    // A stream counts for its connection.
    let mut stream = near.open().await.unwrap();
    stream.send.write(Bytes::from_static(b"x")).await.unwrap();
    let kept = far.accept().await.unwrap();
    drop((near, stream, far));
    assert!(transport.connect(&to).await.is_err());
    drop(kept);
    pair(&listener, &transport, &to).await;
}

#[tokio::test]
async fn handshakes_above_the_limit_are_refused() {
    let limits = QuicLimits {
        half_open_max: 0,
        ..QuicLimits::default()
    };
    let (_listener, to) = listen(&limits);
    let refused = dialler(&limits).connect(&to).await.map(|_| ());
    assert!(
        matches!(refused, Err(TransportError::Unreachable { .. })),
        "{refused:?}"
    );
}

/// A stranger opens few streams and sends little; admitted, it gets on.
#[tokio::test]
async fn a_stranger_is_held_to_little_until_it_is_admitted() {
    let limits = QuicLimits::default();
    let (listener, to) = listen(&limits);
    let (near, far) = pair(&listener, &dialler(&limits), &to).await;
    let a_while = Duration::from_millis(200);
    let mut open = Vec::new();
    // The first is the one that is written: the peer accepts in the order of opening.
    for _ in 0..limits.stranger_streams_max {
        open.push(near.open().await.unwrap());
    }
    assert!(tokio::time::timeout(a_while, near.open()).await.is_err());
    let mut stream = open.remove(0);
    let bytes = Bytes::from(vec![7; 512 * 1024]);
    let count = bytes.len();
    let mut write = stream.send.write(bytes);
    assert!(tokio::time::timeout(a_while, &mut write).await.is_err());
    far.admit();
    write.await.unwrap();
    near.open().await.unwrap();
    let mut receive = far.accept().await.unwrap().receive;
    let mut got = 0;
    while got < count {
        got += receive.read(count).await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let limits = QuicLimits {
        idle: Duration::from_millis(300),
        keep_alive: Duration::from_secs(60),
        ..QuicLimits::default()
    };
    let (listener, to) = listen(&limits);
    let (near, far) = pair(&listener, &dialler(&limits), &to).await;
    let ends = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(near.closed(), far.closed())
    });
    let (near, far) = ends.await.unwrap();
    for end in [near, far] {
        assert!(matches!(end, TransportError::Broken { .. }), "{end:?}");
    }
}

#[tokio::test]
async fn a_host_without_a_node_is_unreachable() {
    let limits = QuicLimits {
        handshake: Duration::from_millis(300),
        ..QuicLimits::default()
    };
    let (_listener, mut to) = listen(&limits);
    // Takes the packets and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    to.port = silent.local_addr().unwrap().port();
    let error = dialler(&limits).connect(&to).await.map(|_| ());
    assert!(
        matches!(error, Err(TransportError::Unreachable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let limits = QuicLimits::default();
    let (listener, to) = listen(&limits);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut packet = [0xc0; 1200];
    for number in 0..500_u32 {
        // Long headers of QUIC version 1, then noise.
        packet[1..5].copy_from_slice(&1_u32.to_be_bytes());
        packet[6..10].copy_from_slice(&number.to_be_bytes());
        packet[5] = (number % 21) as u8;
        let length = 1200 - (number as usize % 3) * 500;
        socket
            .send_to(&packet[..length], (to.host.as_str(), to.port))
            .unwrap();
    }
    let (near, far) = pair(&listener, &dialler(&limits), &to).await;
    assert_eq!(near.binding(), far.binding());
}

/// Data that fills the congestion window must not hold the last packet back: a closed connection takes no acknowledgements that would open the window again.
#[tokio::test]
async fn a_close_is_heard_although_data_waits() {
    let limits = QuicLimits::default();
    let (listener, to) = listen(&limits);
    let (near, far) = pair(&listener, &dialler(&limits), &to).await;
    let mut stream = near.open().await.unwrap();
    stream.send.write(Bytes::from_static(b"?")).await.unwrap();
    let mut answer = far.accept().await.unwrap();
    let bytes = Bytes::from(vec![7; 512 * 1024]);
    answer.send.write(bytes).await.unwrap();
    // The driver of the connection sends what the window takes.
    tokio::task::yield_now().await;
    far.close(3, "the end");
    let ended = tokio::time::timeout(limits.idle / 2, near.closed()).await;
    let ended = ended.expect("long before it is silent for too long");
    assert!(
        matches!(ended, TransportError::ClosedByPeer { code: 3, .. }),
        "{ended:?}"
    );
}

/// A node that was killed and started again disowns the connections of its former life.
#[tokio::test]
async fn a_restarted_node_ends_the_connections_that_it_forgot() {
    let limits = QuicLimits {
        idle: Duration::from_secs(120),
        keep_alive: Duration::from_millis(200),
        ..QuicLimits::default()
    };
    let first = tokio::runtime::Runtime::new().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let serving = limits.clone();
    first.spawn(async move {
        let (listener, to) = listen(&serving);
        tell.send(to).unwrap();
        // Held until the runtime ends.
        let _far = listener.accept().await;
        std::future::pending::<()>().await;
    });
    let to = told.await.unwrap();
    let transport = dialler(&limits);
    let near = transport.connect(&to).await.unwrap();
    // No task of it runs any more, so nothing is said.
    let killed = move || first.shutdown_timeout(Duration::from_secs(10));
    tokio::task::spawn_blocking(killed).await.unwrap();
    let key = Identity::from_seed(&Seed::generate(&SeededRandom::new(1))).node_key();
    let address = SocketAddr::from(([127, 0, 0, 1], to.port));
    let again = QuicListener::bind(address, &key, &limits).expect("the port is free again");
    let ended = tokio::time::timeout(limits.idle / 2, near.closed()).await;
    let ended = ended.expect("long before it is silent for too long");
    assert!(
        matches!(&ended, TransportError::Broken { why } if why.contains("reset")),
        "{ended:?}"
    );
    // The place is as good as before.
    let (near, far) = pair(&again, &transport, &to).await;
    assert_eq!(near.binding(), far.binding());
}
