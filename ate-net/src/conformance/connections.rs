//! Connections: who is at the other end, and how they end.

use super::*;

pub(super) async fn both_sides_have_one_binding(pair: &Pair) {
    let (one, two) = (connect(pair).await, connect(pair).await);
    for ends in [&one, &two] {
        assert_eq!(ends.dialler.binding(), ends.listener.binding());
        assert_eq!(
            ends.dialler.binding(),
            ends.dialler.binding(),
            "a binding stays"
        );
        assert_eq!(
            ends.dialler.peer().is_some(),
            ends.listener.peer().is_some()
        );
    }
    assert_ne!(one.dialler.binding(), two.dialler.binding());
    assert_ne!(one.dialler.binding(), [0; 32]);
}

pub(super) async fn another_node_is_refused(pair: &Pair) {
    let wrong = Endpoint {
        node: other_node(),
        ..pair.endpoint.clone()
    };
    let refused = soon(
        "the refusal of another node",
        pair.transport.connect(&wrong),
    )
    .await;
    let refused = refused.map(|_| ());
    assert!(
        matches!(refused, Err(TransportError::WrongNode { .. })),
        "{refused:?}"
    );
    // What was refused is not given out: the next one is.
    let ends = connect(pair).await;
    assert_eq!(ends.dialler.binding(), ends.listener.binding());
}

pub(super) async fn both_sides_open_streams(pair: &Pair) {
    let ends = connect(pair).await;
    soon("streams from both sides", async {
        let mut near = ends.listener.open().await.expect("a stream is opened");
        put(&mut near, b"from the listener").await;
        let mut far = ends.dialler.accept().await.expect("a stream is accepted");
        assert_eq!(get(&mut far, 17).await, b"from the listener");
        put(&mut far, b"back").await;
        assert_eq!(get(&mut near, 4).await, b"back");
    })
    .await;
}

fn is_closed_by_peer(error: &TransportError, with: u32, words: &str) -> bool {
    matches!(error, TransportError::ClosedByPeer { code, why } if *code == with && why == words)
}

pub(super) async fn close_reaches_the_peer(pair: &Pair) {
    for from_listener in [false, true] {
        let ends = connect(pair).await;
        let (mut near, mut far) = stream(&ends).await;
        let (here, there) = if from_listener {
            std::mem::swap(&mut near, &mut far);
            (&ends.listener, &ends.dialler)
        } else {
            (&ends.dialler, &ends.listener)
        };
        soon("the end of a connection", async {
            here.close(42, "enough");
            here.close(43, "twice");
            let told = there.closed().await;
            assert!(is_closed_by_peer(&told, 42, "enough"), "{told:?}");
            let told = there.accept().await.map(|_| ()).expect_err("it is closed");
            assert!(is_closed_by_peer(&told, 42, "enough"), "{told:?}");
            let told = there.open().await.map(|_| ()).expect_err("it is closed");
            assert!(is_closed_by_peer(&told, 42, "enough"), "{told:?}");
            let told = far.receive.read(1).await.expect_err("it is closed");
            assert!(is_closed_by_peer(&told, 42, "enough"), "{told:?}");
            let bytes = Bytes::from_static(b"x");
            assert!(far.send.write(bytes.clone()).await.is_err());
            assert!(far.send.finish().is_err());
            // The side that closed.
            let told = here.closed().await;
            assert!(matches!(told, TransportError::Closed), "{told:?}");
            assert!(here.open().await.is_err());
            assert!(here.accept().await.is_err());
            assert!(near.send.write(bytes).await.is_err());
        })
        .await;
    }
    let ends = connect(pair).await;
    ends.dialler.close(0, &"ü".repeat(5000));
    let told = soon("the end with many words", ends.listener.closed()).await;
    assert!(is_closed_by_peer(&told, 0, &"ü".repeat(128)), "{told:?}");
}

pub(super) async fn close_ends_what_waits(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    let part = sample(9, 64 * 1024);
    let write = async {
        loop {
            if let Err(error) = near.send.write(part.clone()).await {
                return error;
            }
        }
    };
    let closed = soon("the end of all that waits", async {
        tokio::join!(
            write,
            async { ends.dialler.accept().await.map(|_| ()) },
            async { ends.listener.accept().await.map(|_| ()) },
            async {
                tokio::time::sleep(LONG).await;
                ends.listener.close(1, "now");
            },
        )
    })
    .await;
    let (write, at_dialler, at_listener, ()) = closed;
    assert!(is_closed_by_peer(&write, 1, "now"), "{write:?}");
    assert!(at_dialler.is_err_and(|error| is_closed_by_peer(&error, 1, "now")));
    assert!(matches!(at_listener, Err(TransportError::Closed)));
    // What arrived may still be read; then it ends, and not cleanly.
    let end = soon("the end of reading", rest(&mut *far.receive)).await;
    assert!(end.is_err(), "a part passed for the whole");
}

pub(super) async fn a_dropped_connection_is_closed(pair: &Pair) {
    let ends = connect(pair).await;
    drop(ends.dialler);
    let told = soon("the end of a dropped connection", ends.listener.closed()).await;
    assert!(
        matches!(told, TransportError::ClosedByPeer { code: 0, .. }),
        "{told:?}"
    );
}

pub(super) async fn a_stream_keeps_its_connection(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    drop(ends.dialler);
    soon("bytes on the stream of a dropped connection", async {
        put(&mut near, b"still here").await;
        assert_eq!(get(&mut far, 10).await, b"still here");
        assert!(never(ends.listener.closed()).await, "it is still in use");
        drop(near);
        ends.listener.closed().await;
    })
    .await;
}

pub(super) async fn a_dropped_accept_loses_nothing(pair: &Pair) {
    let accept_often = async {
        loop {
            if let Some(accepted) = once(pair.listener.accept()) {
                return accepted.expect("the listener is open");
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    };
    let (dialler, listener) = soon("a connection, accepts being dropped", async {
        tokio::join!(pair.transport.connect(&pair.endpoint), accept_often)
    })
    .await;
    let dialler = dialler.expect("the node answers");
    listener.admit();
    let accept_often = async {
        let mut all = Vec::new();
        while all.len() < 20 {
            match once(listener.accept()) {
                Some(stream) => all.push(stream.expect("a stream is accepted")),
                None => tokio::time::sleep(Duration::from_micros(100)).await,
            }
        }
        all
    };
    let open = async {
        let mut all = Vec::new();
        for number in 0..20_u8 {
            let mut stream = dialler.open().await.expect("a stream is opened");
            put(&mut stream, &[number]).await;
            all.push(stream);
        }
        all
    };
    let (_opened, mut accepted) = soon("twenty streams, accepts being dropped", async {
        tokio::join!(open, accept_often)
    })
    .await;
    let mut numbers = Vec::new();
    for stream in &mut accepted {
        numbers.extend(soon("the number of a stream", get(stream, 1)).await);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<u8>>());
}

pub(super) async fn a_closed_listener_lets_nobody_in(pair: &Pair) {
    let ends = connect(pair).await;
    let (mut near, mut far) = stream(&ends).await;
    pair.listener.close();
    for _ in 0..2 {
        let accepted = soon("the end of accepting", pair.listener.accept()).await;
        assert!(
            accepted.is_none(),
            "a closed listener gave a connection out"
        );
    }
    let refused = soon(
        "the refusal of a closed listener",
        pair.transport.connect(&pair.endpoint),
    )
    .await;
    let refused = refused.map(|_| ());
    assert!(
        matches!(refused, Err(TransportError::Unreachable { .. })),
        "{refused:?}"
    );
    put(&mut near, b"lives on").await;
    assert_eq!(
        soon("bytes after the listener", get(&mut far, 8)).await,
        b"lives on"
    );
}
