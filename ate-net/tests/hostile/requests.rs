//! Peers that have said who they are, and ask for what they should not.

use std::time::Duration;

use ate_chain::Contents;
use ate_net::{LimitKind, RequestEnd, RequestKind};

use super::common::{Replica, client, committer, identity};
use super::raw::{Ask, FRAMES, REFUSED, Rig, begin, exchange, message, read, soon};

/// A chain that its owner founds at the rig.
fn found(rig: &Rig, number: u8) -> Replica {
    let owner = identity(number);
    let local = ate_chain::Local::create(&committer(number), "notes", &owner).expect("planned");
    let link = client(rig.transport.clone(), number).link(&rig.endpoint);
    let remote = link.follow(&local, Contents::Eager).expect("follows");
    Replica {
        local,
        remote,
        identity: owner,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_stream_ends_that_stream_alone() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let guest = rig.guest(7).await;
        let again = super::raw::hello(&identity(7), &guest.binding(), &rig.endpoint.node, 1);
        let wanted = Ask::Fetch {
            chain: [3; 32],
            wanted: vec![(u64::MAX, u32::MAX); 2000],
        };
        let asks = [
            again.bytes(),
            message(1, &[250; 100]),
            message(1, b""),
            message(0, b"x"),
            message(8, b"x"),
            [0xff; 64].to_vec(),
            Ask::Standing { chain: [9; 32] }.bytes(),
            Ask::Follow {
                chain: [9; 32],
                from: u64::MAX,
                lazy: true,
            }
            .bytes(),
            wanted.bytes(),
            Ask::Find {
                name: "x".repeat(60_000),
                root: None,
            }
            .bytes(),
        ];
        for (at, ask) in asks.into_iter().enumerate() {
            let answer = soon(name, exchange(&*guest, ask)).await;
            if let Ok((kind, _)) = answer {
                assert_eq!(kind, REFUSED, "{name}, ask {at}");
            }
        }
        let pong = exchange(&*guest, Ask::Ping.bytes()).await;
        pong.expect("the connection stands");
        let ended = rig
            .metrics()
            .requests
            .value(RequestKind::Other, RequestEnd::Malformed);
        assert!(ended >= 4, "{name}: {ended}");
        rig.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_opened_and_abandoned_by_the_thousand_cost_nobody_else() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let guest = rig.guest(7).await;
        let flood = async {
            for number in 0..4000_u32 {
                let bytes = match number % 3 {
                    0 => vec![1],
                    1 => Ask::Ping.bytes(),
                    _ => vec![200, 0, 0, 0, 1, 0],
                };
                let stream = begin(&*guest, bytes).await;
                // Every tenth stays for a while: those are cut off by the time that an ask may take.
                if number % 10 == 0 {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        drop(stream);
                    });
                }
            }
        };
        soon(name, flood).await;
        rig.serves().await;
        exchange(&*guest, Ask::Ping.bytes()).await.expect("stands");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_does_not_read_is_cut_off_and_slows_nobody() {
    for (name, rig) in Rig::each() {
        let rig = rig();
        let writer = found(&rig, 1);
        let large = "x".repeat(50_000);
        for number in 0..100 {
            let written = writer.write(&format!("{number}"), &large);
            soon(name, written).await.expect("landed");
        }
        let chain = writer.local.chain().0.0;
        let guest = rig.guest(7).await;
        let follow = Ask::Follow {
            chain,
            from: 0,
            lazy: false,
        };
        let streams = [
            begin(&*guest, follow.bytes()).await,
            begin(&*guest, follow.bytes()).await,
        ];
        for _ in 0..500 {
            if rig.metrics().follow_cut_off.value() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let cut_off = rig.metrics().follow_cut_off.value();
        assert_eq!(cut_off, 2, "{name}: {}", rig.metrics().render());
        drop(streams);
        soon(name, writer.write("after", "x"))
            .await
            .expect("landed");
        // Neither are its connection nor its other streams at fault.
        let mut good = begin(&*guest, follow.bytes()).await;
        assert_eq!(soon(name, read(&mut good)).await.expect("shown").0, FRAMES);
        assert_eq!(rig.metrics().send_buffer_bytes.value() >> 20, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_ten_thousand_times_gets_its_share_and_no_more() {
    let rig = Rig::memory();
    let writer = found(&rig, 1);
    soon("found", writer.write("first", "x"))
        .await
        .expect("landed");
    let follow = Ask::Follow {
        chain: writer.local.chain().0.0,
        from: 0,
        lazy: true,
    };
    let metrics = rig.metrics();
    for _ in 0..5 {
        let guest = rig.guest(7).await;
        let mut streams = Vec::new();
        for _ in 0..2000 {
            match tokio::time::timeout(Duration::from_millis(300), guest.open()).await {
                Ok(Ok(mut stream)) => {
                    let written = stream.send.write(follow.bytes().into()).await;
                    written.expect("written");
                    streams.push(stream);
                }
                // The transport lets no more streams stand.
                _ => break,
            }
        }
        assert!(metrics.follow_streams.value() <= 1024 + 8);
        rig.serves().await;
        guest.close(0, "");
    }
    let over = async {
        while metrics.follow_streams.value() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("all of them end", over).await;
    soon("the owner goes on", writer.write("second", "x"))
        .await
        .expect("landed");
    let _ = metrics.limits_hit.value(LimitKind::Streams);
}
