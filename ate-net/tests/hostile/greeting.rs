//! Before a peer has said who it is.

use ate_net::{
    ConnectionRefusal, HandshakeEnd, LimitKind, QuicLimits, QuicTransport, Rate, Transport as _,
};

use super::common::identity;
use super::raw::{Ask, REFUSED, REPLY, Rig, begin, exchange, hello, limits, message, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_a_greeting_ends_the_connection_and_harms_nobody() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let ping = Ask::Ping.bytes();
        let (huge, unknown) = ([0xff; 64].to_vec(), message(77, b"x"));
        let false_hello = message(1, &[0; 6000]);
        let too_long = message(1, &vec![0; 9000]);
        for garbage in [ping, huge, unknown, false_hello, too_long, Vec::new()] {
            let connection = rig.stranger().await;
            let mut stream = begin(&*connection, garbage).await;
            drop(stream.send.finish());
            soon(name, connection.closed()).await;
        }
        let metrics = rig.metrics();
        let refused = metrics
            .connections_refused
            .value(ConnectionRefusal::Protocol);
        assert!(refused >= 5, "{name}: {refused}");
        rig.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_greet_in_time_is_cut_off() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let silent = rig.stranger().await;
        // One byte after another is not a greeting either.
        let slow = rig.stranger().await;
        let mut stream = begin(&*slow, vec![200, 0, 0, 0, 1]).await;
        let trickle = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                if stream.send.write(vec![0].into()).await.is_err() {
                    return;
                }
            }
        };
        soon(name, trickle).await;
        soon(name, silent.closed()).await;
        let timed_out = rig.metrics().handshakes.value(HandshakeEnd::TimedOut);
        assert_eq!(timed_out, 2, "{name}");
        rig.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_of_another_connection_identity_node_or_version_is_none() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let (owner, node) = (identity(1), rig.endpoint.node);
        let first = rig.stranger().await;
        let overheard = hello(&owner, &first.binding(), &node, 1);
        assert_eq!(
            exchange(&*first, overheard.bytes())
                .await
                .expect("welcome")
                .0,
            REPLY
        );
        let second = rig.stranger().await;
        drop(exchange(&*second, overheard.bytes()).await);
        soon(name, second.closed()).await;

        // The signature of one under the name of another.
        let third = rig.stranger().await;
        let binding = third.binding();
        let false_name = match hello(&owner, &binding, &node, 1) {
            Ask::Hello {
                version, signature, ..
            } => Ask::Hello {
                version,
                signature,
                who: identity(2).who().to_bytes().into(),
            },
            other => other,
        };
        drop(exchange(&*third, false_name.bytes()).await);
        soon(name, third.closed()).await;

        let fourth = rig.stranger().await;
        let other = ate_net::NodeId::of_key(b"another node");
        let elsewhere = hello(&owner, &fourth.binding(), &other, 1);
        drop(exchange(&*fourth, elsewhere.bytes()).await);
        soon(name, fourth.closed()).await;

        let fifth = rig.stranger().await;
        let newer = hello(&owner, &fifth.binding(), &node, 2);
        if let Ok((kind, _)) = exchange(&*fifth, newer.bytes()).await {
            assert_eq!(kind, REFUSED, "{name}");
        }
        soon(name, fifth.closed()).await;
        let refused = rig.metrics().handshakes.value(HandshakeEnd::Refused);
        assert_eq!(refused, 4, "{name}");
        rig.serves().await;
    }
}

/// The loopback network has more than one address on Linux alone.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_over_its_share_is_refused_and_costs_another_one_nothing() {
    let mut limits = limits();
    limits.parties.handshakes_per_address = Rate {
        tokens: 1,
        per_ms: 3_600_000,
        burst: 3,
    };
    limits.parties.connections_per_address = 2;
    let rig = Rig::quic_with(limits);
    let from = |last: u8| {
        let at = std::net::SocketAddr::from(([127, 0, 0, last], 0));
        QuicTransport::client_at(at, &QuicLimits::default()).expect("a port is free")
    };
    let greedy = from(2);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(
            greedy
                .connect(&rig.endpoint)
                .await
                .expect("within its share"),
        );
    }
    for _ in 0..20 {
        assert!(greedy.connect(&rig.endpoint).await.is_err());
    }
    let hit = |limit| rig.metrics().limits_hit.value(limit);
    assert_eq!(hit(LimitKind::AddressHandshakes), 20);
    // The third connection was one more than an address may have.
    soon("closed", held[2].closed()).await;
    assert_eq!(hit(LimitKind::AddressConnections), 1);
    let modest = from(3).connect(&rig.endpoint).await;
    assert!(modest.is_ok(), "another address has a share of its own");
}
