//! Knowing connections of a former life.
//!
//! A node that was killed has forgotten its connections, and its peers would wait for as long as a connection may be silent. Packets of a connection that nobody here
//! knows are answered with a stateless reset (RFC 9000, section 10.3), which the peer believes because it holds the token of that connection. So that a restarted node
//! can make those tokens, their key follows from the node's key.
//!
//! The port is part of it: two sockets of one key must not answer for each other (section 21.11 there), since a token that one gives out would end a connection of the
//! other. Two machines with one key and one port are two nodes that nobody can tell apart; there an attacker on the path could end connections, which he can anyway.

use std::sync::Arc;

use ate_crypto::NodeKey;
use aws_lc_rs::hmac;
use quinn::{ConnectionIdGenerator, EndpointConfig};
use quinn_proto::HashedConnectionIdGenerator;

/// What a socket of a node on this port has in common with the ones before it.
pub(super) fn endpoint(key: &NodeKey, port: u16) -> EndpointConfig {
    let secret = |what: &str| key.expand(format!("quic/{what}/{port}").as_bytes());
    let resets = hmac::Key::new(hmac::HMAC_SHA256, &secret("reset"));
    let mut config = EndpointConfig::new(Arc::new(resets));
    // Connection ids of a former life must be told from noise, which is dropped.
    let [a, b, c, d, e, f, g, h, ..] = secret("connection-id");
    let ids = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    config.cid_generator(move || -> Box<dyn ConnectionIdGenerator> {
        Box::new(HashedConnectionIdGenerator::from_key(ids))
    });
    config
}
