//! A whole session as somebody on the path sees it: no name and no content in clear, and a handshake that a quantum computer does not undo.

use crate::handshake::{self, Client as ClientHello};
use crate::network::files;
use crate::node::{Client, Node};
use crate::proxy::{Proxy, Way};
use crate::support::Place;

/// X25519MLKEM768, as IANA has it.
const HYBRID_GROUP: u16 = 0x11ec;
/// mldsa65.
const ML_DSA_65: u16 = 0x0905;
/// RawPublicKey, RFC 7250.
const RAW_PUBLIC_KEY: u8 = 2;

const CHAIN: &str = "marker-of-a-chain";
const NAME: &str = "marker-of-a-name";
const CONTENT: &str = "marker-of-a-content";

#[test]
fn a_session_shows_no_name_and_no_content_and_its_handshake_is_post_quantum() {
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let proxy = Proxy::to(node.place, 1);
    let a = Client::new(&place, "a", &node.url_through(proxy.place));
    a.good(&["put", CHAIN, NAME, &format!("{{\"it\": \"{CONTENT}\"}}")]);
    let b = a.twin("b");
    let read = b.good(&["get", CHAIN, NAME]);
    assert!(read.contains(CONTENT), "{read}");
    let seen = proxy.seen();
    let (to_node, to_client): (Vec<_>, Vec<_>) =
        seen.iter().partition(|seen| seen.way == Way::ToNode);
    assert!(to_node.len() > 10 && to_client.len() > 10, "{}", seen.len());
    for datagram in &seen {
        for marker in [CHAIN, NAME, CONTENT] {
            assert!(!holds(&datagram.bytes, marker), "{marker} passed in clear");
        }
    }
    // What the node stores shows no name of a record and no content either; the chain's name it must know.
    for file in files(node.dir()) {
        let bytes = std::fs::read(&file).expect("readable");
        for marker in [NAME, CONTENT] {
            assert!(!holds(&bytes, marker), "{marker} in {}", file.display());
        }
    }

    let hellos = handshake::hellos(&seen);
    assert_eq!(hellos.len(), 2, "one connection of each command");
    for (client, server) in hellos {
        let ClientHello {
            groups,
            shares,
            signatures,
            server_certificates,
            versions,
        } = client;
        assert_eq!(groups, [HYBRID_GROUP]);
        assert_eq!(shares, [HYBRID_GROUP]);
        // What is offered alone is what the node has to prove itself with.
        assert_eq!(signatures, [ML_DSA_65]);
        assert_eq!(server_certificates, [RAW_PUBLIC_KEY]);
        assert_eq!(versions, [0x0304]);
        assert_eq!(server.share, Some(HYBRID_GROUP));
        assert_eq!(server.version, Some(0x0304));
    }
}

fn holds(bytes: &[u8], marker: &str) -> bool {
    bytes
        .windows(marker.len())
        .any(|part| part == marker.as_bytes())
}
