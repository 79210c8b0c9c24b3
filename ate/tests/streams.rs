//! Subscriptions and streamed answers as `futures_core::Stream`, polled by hand: no other crate is needed.
#![cfg(all(feature = "net", feature = "stream"))]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ate::calls::{Call, CallError, Calls, Feed, JsonFeed, MemoryHub, StreamingRequest};
use ate::prelude::*;
use ate::{Json, SubscribeError};
use futures_core::Stream;

#[derive(Serialize, Deserialize, Record, Debug)]
struct Door {
    number: u32,
}

#[derive(Serialize, Deserialize)]
struct Count(u32);

impl StreamingRequest for Count {
    type Item = u32;
    type Error = String;
    const NAME: &'static str = "count";
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

fn number(change: Option<Result<Change<Door>, SubscribeError>>) -> u32 {
    match change {
        Some(Ok(Change::Put(door))) => door.number,
        other => panic!("not a door: {other:?}"),
    }
}

#[tokio::test]
async fn a_subscription_streams_what_comes_while_it_waits_and_ends_with_its_store()
-> ate::Result<()> {
    let store = Store::in_memory()?;
    let chain = store.chain("house").await?;
    let mut doors = chain.subscribe::<Door>();
    chain.add(Door { number: 0 }).await?;
    let writer = chain.clone();
    let reading = tokio::spawn(async move {
        for expected in 0..100 {
            // Asked both ways, nothing comes twice or not at all.
            let got = match expected % 10 {
                7 => number(doors.next().await.transpose()),
                _ => number(next(&mut doors).await),
            };
            assert_eq!(got, expected);
        }
        assert!(next(&mut doors).await.is_none(), "the store is closed");
    });
    for number in 1..100 {
        writer.add(Door { number }).await?;
        tokio::task::yield_now().await;
    }
    store.close().await?;
    reading.await.expect("it read all");
    Ok(())
}

#[tokio::test]
async fn an_answer_streams_its_items_then_its_error_and_then_nothing() {
    let store = Store::in_memory().expect("a store");
    let chain = store.chain("house").await.expect("a chain");
    let calls = Calls::over(Arc::new(MemoryHub::new()), &chain);
    let handler = |call: Call<Count>, mut feed: Feed<Count>| async move {
        for number in 0..call.0 {
            feed.send(&number)
                .await
                .map_err(|error| error.to_string())?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match call.0 {
            3 => Err("three is enough".to_owned()),
            4 => std::future::pending().await,
            _ => Ok(()),
        }
    };
    let _count = calls.serve_streaming(handler).await.expect("served");
    for asked in [0, 3, 100] {
        let answer = calls.stream(Count(asked)).await.expect("answered");
        let mut items = answer.into_stream();
        for number in 0..asked {
            assert_eq!(next(&mut items).await, Some(Ok(number)));
        }
        if asked == 3 {
            let error = CallError::Handler("three is enough".to_owned());
            assert_eq!(next(&mut items).await, Some(Err(error)));
        }
        assert_eq!(next(&mut items).await, None);
        assert_eq!(next(&mut items).await, None);
    }
    // Its deadline goes by while it is waited for.
    let call = calls.stream(Count(4)).deadline(Duration::from_millis(300));
    let mut items = call.await.expect("answered").into_stream();
    for number in 0..4 {
        assert_eq!(next(&mut items).await, Some(Ok(number)));
    }
    assert_eq!(next(&mut items).await, Some(Err(CallError::Deadline)));

    let handler = |call: Call<Json>, _: JsonFeed| async move { Ok(Some(call.into_request())) };
    let _echo = calls.serve_json("echo", handler).await.expect("served");
    let asked: Json = "[1.0]".parse().expect("a document");
    let answers = calls.call_json("echo", &asked).await.expect("answered");
    let mut answers = answers.into_stream();
    assert_eq!(next(&mut answers).await, Some(Ok(asked)));
    assert_eq!(next(&mut answers).await, None);
}
