//! The first message of a connection, byte by byte, as a client of another version or of another make would send it.

mod common;

use ate_net::Transport;
use bytes::Bytes;
use common::Net;

/// What a node answers to the first bytes of a connection, up to its end or a break.
async fn answer(first: &[u8]) -> Vec<u8> {
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
    let said = answer(&[5, 0, 0, 0, 1, 0, 2, 0xff, 0xff, 0xff]).await;
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
        assert_eq!(answer(first).await, [0; 0], "{first:?}");
    }
}
