//! Every transport of this crate does what the traits promise.

use std::sync::Arc;

use ate_crypto::{Identity, NodeKey, Seed, SeededRandom};
use ate_net::conformance::{Pair, check_transport};
use ate_net::{
    Endpoint, Listener as _, MemoryNetwork, NodeId, QuicLimits, QuicListener, QuicTransport,
    SimConditions, SimNetwork,
};

fn node_key(number: u64) -> NodeKey {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number))).node_key()
}

#[tokio::test]
async fn memory_conforms() {
    check_transport(|| {
        let network = MemoryNetwork::new();
        let node = NodeId::of_key(b"a node");
        let listener = network.listen(node).expect("nobody else answers");
        Pair {
            transport: Arc::new(network.transport()),
            endpoint: listener.endpoint(),
            listener: Arc::new(listener),
        }
    })
    .await;
}

fn quic(limits: &QuicLimits) -> Pair {
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = QuicListener::bind(address, &node_key(1), limits).expect("a port is free");
    let (host, port) = listener.local();
    let node = listener.node();
    Pair {
        transport: Arc::new(QuicTransport::client(limits).expect("a port is free")),
        endpoint: Endpoint { host, port, node },
        listener: Arc::new(listener),
    }
}

#[tokio::test]
async fn quic_conforms() {
    check_transport(|| quic(&QuicLimits::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_conforms_on_threads() {
    check_transport(|| quic(&QuicLimits::default())).await;
}

fn simulated(seed: u64, conditions: SimConditions) -> Pair {
    let network = SimNetwork::new(seed, conditions);
    let node = NodeId::of_key(b"a node");
    let listener = network.listen("server", node).expect("nobody else answers");
    Pair {
        transport: Arc::new(network.transport("client")),
        endpoint: listener.endpoint(),
        listener: Arc::new(listener),
    }
}

#[tokio::test(start_paused = true)]
async fn the_simulation_conforms() {
    check_transport(|| simulated(1, SimConditions::default())).await;
}

#[tokio::test(start_paused = true)]
async fn the_simulation_conforms_with_loss_and_a_narrow_way() {
    let mut seed = 0;
    check_transport(|| {
        seed += 1;
        let conditions = SimConditions {
            loss_per_mille: 50,
            bytes_per_second: Some(1024 * 1024),
            ..SimConditions::default()
        };
        simulated(seed, conditions)
    })
    .await;
}
