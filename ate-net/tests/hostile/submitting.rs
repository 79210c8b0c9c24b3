//! Batches that are false, half, slow, or for what is not there.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::{CreateOptions, Draft, Local, RecordKey};
use ate_crypto::sha256;
use ate_net::{CommitRefusal, Connection};

use super::common::{committer, identity};
use super::raw::{ANSWERS, Ask, BATCH, Nobody, REFUSED, REPLY, Rig, begin, message, read, soon};

/// A chain that was founded and not sent, and the batch that founds it.
fn founding(number: u8) -> (Arc<Local>, Vec<u8>) {
    let owner = identity(number);
    let local = Local::create(&committer(number), "notes", &owner).expect("planned");
    local.follow(Arc::new(Nobody)).expect("follows");
    let mut draft = Draft::new(local.author(&owner));
    let define = CreateOptions {
        defines: true,
        ..CreateOptions::default()
    };
    let (root, schema) = (RecordKey::ROOT, sha256(&[b"text"]));
    draft
        .create(
            root,
            "schema",
            Some("text"),
            &schema,
            b"text".to_vec(),
            define,
        )
        .expect("drafted");
    drop(local.commit(draft).expect("sealed"));
    let (_, batch) = local.unsent(0).swap_remove(0);
    let mut bytes = 7_u64.to_le_bytes().to_vec();
    batch.encode(&mut bytes);
    (local, bytes)
}

async fn submit(connection: &dyn Connection, chain: &Local) -> ate_net::Stream {
    let ask = Ask::Submit {
        chain: chain.chain().0.0,
    };
    let mut stream = begin(connection, ask.bytes()).await;
    assert_eq!(read(&mut stream).await.expect("ready").0, REPLY);
    stream
}

/// What the node says to a batch, on a stream of its own.
async fn said(connection: &dyn Connection, chain: &Local, batch: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut stream = submit(connection, chain).await;
    let sent = stream.send.write(message(BATCH, batch).into()).await;
    sent.ok()?;
    soon("an answer", read(&mut stream)).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_byte_anywhere_lets_nothing_in() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let guest = rig.guest(7).await;
        let (chain, batch) = founding(1);
        // Each byte over memory; over QUIC the way is longer and the node the same.
        let step = if name == "memory" { 1 } else { 97 };
        for at in (8..batch.len()).step_by(step) {
            let mut flipped = batch.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Some((kind, payload)) = said(&*guest, &chain, &flipped).await {
                // An answer is a ticket, a count, and for each commit a word whose 0 says that it landed.
                let landed = kind == ANSWERS && payload[2..].first() == Some(&0);
                assert!(!landed, "{name}: byte {at} of {}", batch.len());
            }
            assert!(rig.host.open.lock().is_empty(), "{name}: byte {at}");
        }
        let (kind, payload) = said(&*guest, &chain, &batch).await.expect("answered");
        assert_eq!((kind, payload[2]), (ANSWERS, 0), "{name}: as it was signed");
        assert_eq!(rig.host.open.lock().len(), 1);
        // Flipped once more, now that the chain is there.
        let before = rig.host.open.lock()[&chain.chain()].position();
        for at in (8..batch.len()).step_by(101) {
            let mut flipped = batch.clone();
            flipped[at] ^= 0x10;
            drop(said(&*guest, &chain, &flipped).await);
        }
        let after = rig.host.open.lock()[&chain.chain()].position();
        assert_eq!(after, before, "{name}");
        rig.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_somebody_whom_the_chain_does_not_know_is_refused_unread() {
    let rig = Rig::memory();
    let guest = rig.guest(7).await;
    let (chain, batch) = founding(1);
    said(&*guest, &chain, &batch).await.expect("landed");
    // Of another author, for this chain: nothing behind its proof is looked at.
    let (_, mut other) = founding(2);
    let proof_bytes = usize::from(other[8] & 0x7f) | usize::from(other[9] & 0x7f) << 7;
    other[10 + proof_bytes..].fill(0xff);
    let (kind, payload) = said(&*guest, &chain, &other).await.expect("answered");
    assert_eq!((kind, payload[2]), (ANSWERS, 1), "an answer that refuses");
    let denied = rig.metrics().commits_rejected.value(CommitRefusal::Denied);
    assert!(denied >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_batch_and_one_that_trickles_are_cut_off_and_hold_nothing() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let guest = rig.guest(7).await;
        let (chain, batch) = founding(1);
        let announced = u32::try_from(30 << 20).expect("fits").to_le_bytes();
        let mut streams = Vec::new();
        for number in 0..20 {
            let mut stream = submit(&*guest, &chain).await;
            let half = match number % 2 {
                0 => message(BATCH, &batch)[..3000].to_vec(),
                _ => [&announced[..], &[BATCH], &[0; 40_000]].concat(),
            };
            stream.send.write(half.into()).await.expect("written");
            streams.push(stream);
        }
        for stream in &mut streams {
            let refused = soon(name, read(stream)).await.expect("told");
            assert_eq!(refused.0, REFUSED, "{name}");
        }
        let mut slow = submit(&*guest, &chain).await;
        let trickle = async {
            for byte in message(BATCH, &batch) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if slow.send.write(vec![byte].into()).await.is_err() {
                    return true;
                }
            }
            false
        };
        assert!(soon(name, trickle).await, "{name}: cut off");
        drop(streams);
        let free = async {
            while rig.metrics().receive_buffer_bytes.value() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon(name, free).await;
        said(&*guest, &chain, &batch)
            .await
            .expect("a whole one is taken");
        rig.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_batch_or_for_no_chain_is_refused() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let guest = rig.guest(7).await;
        let (chain, batch) = founding(1);
        let (other, _) = founding(2);
        for (at, payload) in [&b""[..], &[0; 7], &[0; 8], &[0xff; 5000], &batch[..200]]
            .into_iter()
            .enumerate()
        {
            if let Some((kind, _)) = said(&*guest, &chain, payload).await {
                assert_eq!(kind, REFUSED, "{name}, {at}");
            }
        }
        // A batch for one chain on the stream of another.
        if let Some((kind, payload)) = said(&*guest, &other, &batch).await {
            assert!(kind == REFUSED || payload[2] != 0, "{name}");
        }
        let mut stream = submit(&*guest, &chain).await;
        let longest = [&u32::MAX.to_le_bytes()[..], &[BATCH]].concat();
        stream.send.write(longest.into()).await.expect("written");
        drop(soon(name, read(&mut stream)).await);
        assert!(rig.host.open.lock().is_empty(), "{name}: nothing was begun");
        rig.serves().await;
    }
}
