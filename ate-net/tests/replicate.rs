//! Replicas over a node, in memory: commits go up, come down verified, and survive every break of the way.

use std::time::Duration;

use ate_chain::Contents;
use common::Net;

mod common;

#[tokio::test(start_paused = true)]
async fn what_one_client_writes_another_sees_in_the_same_order() {
    let net = Net::new();
    let writer = net.found(1, 1);
    let first = writer.write("first", "hello");
    let second = writer.write("second", "world");
    assert_eq!(first.await.expect("landed").seq, 1);
    assert_eq!(second.await.expect("landed").seq, 2);
    assert_eq!(writer.read("second").expect("opens"), b"world");

    let reader = net.replica(writer.local.chain(), 1, 2, Contents::Eager);
    reader.reaches(3).await;
    assert_eq!(reader.read("first").expect("opens"), b"hello");
    assert_eq!(reader.root_at(3), writer.root_at(3));
    // Live: no question has to be asked again.
    let third = writer.write("third", "live");
    reader.reaches(4).await;
    third.await.expect("landed");
    assert_eq!(reader.read("third").expect("opens"), b"live");
    assert_eq!(reader.remote.status().diverged, None);
}

#[tokio::test(start_paused = true)]
async fn commits_made_while_the_way_is_cut_arrive_once_and_in_order() {
    let net = Net::new();
    let writer = net.found(1, 1);
    writer.write("0", "before").await.expect("landed");
    let reader = net.replica(writer.local.chain(), 1, 2, Contents::Eager);
    let mut answers = Vec::new();
    for round in 1..20u64 {
        for part in 0..3 {
            answers.push(writer.write(&format!("{round}-{part}"), "x"));
        }
        if round % 3 == 0 {
            net.cut();
        }
        tokio::time::sleep(Duration::from_millis(30 * (round % 5))).await;
    }
    let mut last = 0;
    for answer in answers {
        let seq = answer.await.expect("landed").seq;
        assert!(seq > last, "in the order in which they were handed over");
        last = seq;
    }
    assert_eq!(last, 1 + 57);
    reader.reaches(last + 1).await;
    assert_eq!(
        reader.root_at(last + 1),
        net.host.open.lock()[&reader.local.chain()].root_at(reader.local.position())
    );
    assert_eq!(writer.local.staged(), []);
}

#[tokio::test(start_paused = true)]
async fn contents_come_when_they_are_read() {
    let net = Net::new();
    let writer = net.found(1, 1);
    writer.write("first", "hello").await.expect("landed");
    let reader = net.replica(writer.local.chain(), 1, 2, Contents::Lazy);
    reader.reaches(2).await;
    let Err(ate_chain::ReadError::Elsewhere { content, .. }) = reader.read("first") else {
        panic!("nothing was fetched yet");
    };
    reader.local.fetch(vec![content]).await.expect("fetched");
    assert_eq!(reader.read("first").expect("opens"), b"hello");
}
