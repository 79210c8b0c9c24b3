//! Streams: order, ends, and who waits for whom.

use super::*;

pub(super) async fn bytes_come_in_order(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    soon("small writes in both directions", async {
        for number in 0..64 {
            let bytes = sample(number, number as usize * 97 % 5000 + 1);
            put(&mut near, &bytes).await;
            put(&mut near, &[]).await;
            assert_eq!(get(&mut far, bytes.len()).await, bytes);
            put(&mut far, &bytes).await;
        }
        for number in 0..64 {
            let bytes = sample(number, number as usize * 97 % 5000 + 1);
            assert_eq!(get(&mut near, bytes.len()).await, bytes);
        }
    })
    .await;
}

pub(super) async fn large_transfers_are_whole(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    let (up, down) = (sample(1, 6_000_001), sample(2, 5_000_003));
    soon("large transfers in both directions", async {
        let ((), (), at_far, at_near) = tokio::join!(
            put_all(&mut *near.send, up.clone()),
            put_all(&mut *far.send, down.clone()),
            rest(&mut *far.receive),
            rest(&mut *near.receive),
        );
        assert!(at_far.expect("a clean end") == up, "the same bytes up");
        assert!(at_near.expect("a clean end") == down, "the same bytes down");
    })
    .await;
}

pub(super) async fn reads_have_a_limit(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    let bytes = sample(3, 1000);
    put(&mut near, &bytes).await;
    soon("reads of one byte", async {
        for byte in &bytes {
            let read = far.receive.read(1).await.expect("bytes come");
            assert_eq!(read.as_deref(), Some(&[*byte][..]), "one byte at a time");
        }
    })
    .await;
}

pub(super) async fn many_streams_at_once(pair: &Pair) {
    let ends = connect(pair).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(stream(&ends).await);
    }
    soon("echoes on a hundred streams, the last one first", async {
        for (number, (near, far)) in open.iter_mut().enumerate().rev() {
            let bytes = sample(number as u64, 300);
            put(near, &bytes).await;
            assert_eq!(get(far, 300).await, bytes);
            put(far, &bytes).await;
            assert_eq!(get(near, 300).await, bytes);
        }
    })
    .await;
}

pub(super) async fn a_stalled_stream_stops_no_other(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut stalled, mut unread) = stream(&ends).await;
    let (mut near, mut far) = stream(&ends).await;
    let bytes = sample(4, 3_000_000);
    let work = async {
        for number in 0..20 {
            let bytes = sample(number, 1000);
            put(&mut near, &bytes).await;
            assert_eq!(get(&mut far, 1000).await, bytes);
        }
        // Only now somebody reads.
        let all = rest(&mut *unread.receive).await.expect("a clean end");
        assert!(all == bytes, "a stalled stream loses nothing");
    };
    soon("a stream beside one that nobody reads", async {
        tokio::join!(put_all(&mut *stalled.send, bytes.clone()), work)
    })
    .await;
}

pub(super) async fn a_writer_waits_for_its_reader(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, _far) = stream(&ends).await;
    let part = sample(5, 64 * 1024);
    let mut taken = 0;
    let endless = async {
        // Far more than any bound: 64 MiB.
        for _ in 0..1024 {
            put(&mut near, &part).await;
            taken += part.len();
        }
    };
    assert!(
        never(endless).await,
        "a writer without a reader must be held up: {taken} bytes were taken"
    );
    assert!(taken <= 16 * 1024 * 1024, "{taken} bytes are held");
}

pub(super) async fn finished_is_a_clean_end(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    let bytes = sample(6, 10_000);
    soon("a clean end", async {
        put_all(&mut *near.send, bytes.clone()).await;
        assert!(near.send.finish().is_err(), "finished twice");
        assert!(
            near.send.write(bytes.clone()).await.is_err(),
            "written after the end"
        );
        assert_eq!(
            rest(&mut *far.receive).await.expect("a clean end"),
            bytes,
            "all bytes come before the end"
        );
        // The other direction lives on.
        put(&mut far, &bytes).await;
        assert_eq!(get(&mut near, bytes.len()).await, bytes);
        drop(near.send);
        put_all(&mut *far.send, Bytes::new()).await;
        let left = rest(&mut *near.receive).await.expect("a clean end");
        assert!(left.is_empty());
    })
    .await;
}

pub(super) async fn dropped_is_no_clean_end(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    soon("the end of a stream that was dropped", async {
        put(&mut near, b"a part").await;
        drop(near.send);
        let end = rest(&mut *far.receive).await;
        assert!(
            matches!(end, Err(TransportError::Reset { code: 0 })),
            "a part passed for the whole: {end:?}"
        );
    })
    .await;
}

pub(super) async fn reset_has_its_code(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    soon("the code of a reset", async {
        put(&mut near, b"a part").await;
        near.send.reset(77);
        let end = rest(&mut *far.receive).await;
        assert!(
            matches!(end, Err(TransportError::Reset { code: 77 })),
            "{end:?}"
        );
        assert!(near.send.finish().is_err(), "finished after a reset");
        put(&mut far, b"x").await;
        assert_eq!(get(&mut near, 1).await, b"x", "the way back is not reset");
    })
    .await;
}

pub(super) async fn stop_reaches_the_writer(pair: &Pair) {
    let ends = connect(pair).await;
    let part = sample(7, 64 * 1024);
    let until_told = async |mut stream: Stream| loop {
        match stream.send.write(part.clone()).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => return error,
        }
    };
    let (near, mut far) = stream(&ends).await;
    far.receive.stop(88);
    let told = soon("the code of a stop", until_told(near)).await;
    assert!(
        matches!(told, TransportError::Reset { code: 88 }),
        "{told:?}"
    );
    let (near, far) = stream(&ends).await;
    drop(far.receive);
    let told = soon("the stop of a dropped reader", until_told(near)).await;
    assert!(
        matches!(told, TransportError::Reset { code: 0 }),
        "{told:?}"
    );
}

pub(super) async fn a_dropped_read_loses_nothing(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    let bytes = sample(8, 400_000);
    let read = async {
        let mut all = Vec::new();
        loop {
            match once(far.receive.read(1000)) {
                Some(Ok(Some(bytes))) => all.extend_from_slice(&bytes),
                Some(Ok(None)) => return all,
                Some(Err(error)) => panic!("{error}"),
                None => tokio::time::sleep(Duration::from_micros(50)).await,
            }
        }
    };
    let ((), all) = soon("reads that are dropped", async {
        tokio::join!(put_all(&mut *near.send, bytes.clone()), read)
    })
    .await;
    assert!(all == bytes, "a dropped read took bytes with it");
}
