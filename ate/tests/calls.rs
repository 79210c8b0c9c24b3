//! Typed calls between two members of a chain, with a hub between them that can read nothing.
#![cfg(feature = "net")]

use std::sync::Arc;
use std::time::Duration;

use ate::calls::{
    Call, CallError, Calls, Feed, JsonFeed, MemoryHub, Request, Stopped, StreamingRequest,
};
use ate::prelude::*;
use ate::{ErrorKind, Identity, Json, Seed, crypto::SeededRandom};

#[derive(Serialize, Deserialize, Record)]
struct Door {
    is_open: bool,
}

#[derive(Serialize, Deserialize, Debug)]
struct Divide {
    what: u32,
    by: u32,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, thiserror::Error)]
enum MathError {
    #[error("{what} cannot be divided by nothing")]
    ByZero { what: u32 },
}

impl Request for Divide {
    type Answer = u32;
    type Error = MathError;
    const NAME: &'static str = "divide";
}

#[derive(Serialize, Deserialize)]
struct Count(u32);

impl StreamingRequest for Count {
    type Item = u32;
    type Error = MathError;
    const NAME: &'static str = "count";
}

/// Bob's own calls and those of Anna, whose chain it is, over one hub.
struct Setting {
    anna: Calls,
    bob: Calls,
    bob_who: Who,
    stranger: Calls,
}

fn setting() -> Setting {
    let store = Store::in_memory().expect("a store");
    let chain = store.chain("office").wait().expect("a chain");
    let member = |number| Identity::from_seed(&Seed::generate(&SeededRandom::new(number)));
    let (bob, stranger) = (member(1), member(2));
    // Whom the chain knows is who was introduced to it.
    chain
        .put("door", Door { is_open: true })
        .writable_by([bob.who()])
        .wait()
        .expect("written");
    let hub = Arc::new(MemoryHub::new());
    let calls = |chain: &Chain| Calls::over(hub.clone(), chain);
    Setting {
        anna: calls(&chain),
        bob: calls(&chain.as_identity(&bob)),
        bob_who: bob.who().clone(),
        stranger: calls(&chain.as_identity(&stranger)),
    }
}

async fn divide(call: Call<Divide>) -> Result<u32, MathError> {
    call.what
        .checked_div(call.by)
        .ok_or(MathError::ByZero { what: call.what })
}

#[test]
fn a_member_calls_another_without_a_runtime() {
    let setting = setting();
    let bob = setting.bob_who.clone();
    let _serving = setting
        .anna
        .serve(move |call: Call<Divide>| {
            assert_eq!(*call.caller(), bob);
            assert_eq!(call.session().who(), call.caller());
            assert!(call.deadline_left() <= Duration::from_secs(5) && !call.is_cancelled());
            divide(call)
        })
        .wait()
        .unwrap();
    let divide = |what, by| {
        let call = setting.bob.call(Divide { what, by });
        call.deadline(Duration::from_secs(5)).wait()
    };
    assert_eq!(divide(12, 4), Ok(3));
    let by_zero = divide(12, 0);
    assert_eq!(
        by_zero,
        Err(CallError::Handler(MathError::ByZero { what: 12 }))
    );
    let error: ate::Error = by_zero.unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("12 cannot be divided"));
}

#[tokio::test]
async fn the_same_with_a_runtime_and_in_both_directions() -> ate::Result<()> {
    let setting = setting();
    let _serving = setting.bob.serve(divide).await?;
    let mut calls = Vec::new();
    for what in 0..200 {
        let anna = setting.anna.clone();
        let call = async move { anna.call(Divide { what, by: 2 }).await };
        calls.push(tokio::spawn(call));
    }
    for (what, call) in (0u32..).zip(calls) {
        assert_eq!(call.await.unwrap()?, what / 2);
    }
    Ok(())
}

#[tokio::test]
async fn items_stream_in_order_and_end() {
    let setting = setting();
    let handler = |call: Call<Count>, mut feed: Feed<Count>| async move {
        for number in 0..call.0 {
            if feed.send(&number).await.is_err() {
                break;
            }
        }
        if call.0 == 13 {
            return Err(MathError::ByZero { what: 13 });
        }
        Ok(())
    };
    let _serving = setting.anna.serve_streaming(handler).await.unwrap();
    let mut items = setting.bob.stream(Count(100)).await.unwrap();
    for number in 0..100 {
        assert_eq!(items.next().await, Ok(Some(number)));
    }
    assert_eq!(items.next().await, Ok(None));
    let mut items = setting.bob.stream(Count(13)).await.unwrap();
    for number in 0..13 {
        assert_eq!(items.next().await, Ok(Some(number)));
    }
    assert_eq!(
        items.next().await,
        Err(CallError::Handler(MathError::ByZero { what: 13 }))
    );
}

#[test]
fn a_stranger_is_denied_and_not_believed() {
    let setting = setting();
    let calling = || Divide { what: 1, by: 1 };
    let pretended = setting.stranger.serve(divide).wait().unwrap();
    let answer = setting.bob.call(calling()).wait();
    assert!(matches!(answer, Err(CallError::Unreachable { .. })));
    drop(pretended);
    let _serving = setting.anna.serve(divide).wait().unwrap();
    assert_eq!(
        setting.stranger.call(calling()).wait(),
        Err(CallError::Denied)
    );
    assert_eq!(setting.bob.call(calling()).wait(), Ok(1));
}

#[test]
fn a_call_that_takes_too_long_ends_at_its_deadline() {
    let setting = setting();
    let _serving = setting
        .anna
        .serve(|_: Call<Divide>| std::future::pending())
        .wait()
        .unwrap();
    let call = setting.bob.call(Divide { what: 1, by: 1 });
    let answer = call.deadline(Duration::from_millis(100)).wait();
    assert_eq!(answer, Err(CallError::Deadline));
}

#[derive(Serialize, Deserialize)]
struct Forecast(Json);

impl Request for Forecast {
    type Answer = Json;
    type Error = String;
    const NAME: &'static str = "forecast";
}

fn json(text: &str) -> Json {
    text.parse().expect("a document")
}

/// All documents of an answer.
fn asked(calls: &Calls, service: &str, request: &str) -> Result<Vec<Json>, CallError<String>> {
    let mut answers = calls.call_json(service, &json(request)).wait()?;
    let mut all = Vec::new();
    while let Some(answer) = answers.next().wait()? {
        all.push(answer);
    }
    Ok(all)
}

#[test]
fn json_is_called_and_served_by_name_and_by_type() {
    let setting = setting();
    let typed = setting.anna.serve(|call: Call<Forecast>| async move {
        let long = format!("\"{}\"", "x".repeat(3 << 20));
        match call.0.as_str() {
            "\"long\"" => Ok(json(&long)),
            "null" => Err("of what?".to_owned()),
            _ => Ok(call.into_request().0),
        }
    });
    let typed = typed.wait().unwrap();
    let text = r#"{"day":  1.50}"#;
    assert_eq!(asked(&setting.bob, "forecast", text), Ok(vec![json(text)]));
    let long = asked(&setting.bob, "forecast", "\"long\"").unwrap();
    assert_eq!(long[0].as_str().len(), (3 << 20) + 2);
    let refused = asked(&setting.bob, "forecast", "null");
    assert_eq!(refused, Err(CallError::Handler("of what?".to_owned())));
    typed.finish().wait();

    let named = |call: Call<Json>, mut feed: JsonFeed| async move {
        if call.as_str() == "\"huge\"" {
            let huge = json(&format!("\"{}\"", "x".repeat(1 << 20)));
            assert_eq!(feed.send(&huge).await, Err(Stopped::TooLarge));
            return Err("too large".to_owned());
        }
        for number in 1..=2 {
            let sent = feed.send(&json(&number.to_string())).await;
            sent.map_err(|error| error.to_string())?;
        }
        Ok(Some(json("3")))
    };
    let _named = setting.anna.serve_json("count up", named).wait().unwrap();
    let counted = asked(&setting.bob, "count up", "{}").unwrap();
    assert_eq!(counted, [json("1"), json("2"), json("3")]);
    let huge = asked(&setting.bob, "count up", "\"huge\"");
    assert_eq!(huge, Err(CallError::Handler("too large".to_owned())));

    let typed = |call: Call<Json>, _: JsonFeed| async move { Ok(Some(call.into_request())) };
    let _typed = setting.anna.serve_json("forecast", typed).wait().unwrap();
    let answer = setting.bob.call(Forecast(json(text))).wait();
    assert_eq!(answer, Ok(json(text)));
    let nobody = asked(&setting.bob, "nothing", "{}");
    assert!(matches!(nobody, Err(CallError::Unreachable { .. })));
}

#[test]
fn a_server_that_finishes_answers_what_it_has_taken_and_takes_no_more() {
    let setting = setting();
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, going) = tokio::sync::oneshot::channel::<()>();
    let going = Arc::new(tokio::sync::Mutex::new(Some(going)));
    let handler = move |call: Call<Divide>| {
        let (begun, going) = (begun.clone(), going.clone());
        async move {
            let Some(going) = going.lock().await.take() else {
                // Others came before the server had gone.
                return std::future::pending().await;
            };
            begun.send(()).expect("the test waits for it");
            drop(going.await);
            divide(call).await
        }
    };
    let serving = setting.anna.serve(handler).wait().unwrap();
    let bob = setting.bob.clone();
    let taken = std::thread::spawn(move || bob.call(Divide { what: 6, by: 3 }).wait());
    begins.recv().unwrap();
    let finished = std::thread::spawn(move || serving.finish().wait());
    // Only when it is no longer announced, so that it cannot be taken.
    let refused = loop {
        let call = setting.bob.call(Divide { what: 1, by: 1 });
        match call.deadline(Duration::from_millis(500)).wait() {
            Err(CallError::Unreachable { .. }) => break true,
            Err(CallError::Deadline) => {}
            _ => break false,
        }
    };
    assert!(refused && !finished.is_finished());
    go.send(()).unwrap();
    assert_eq!(taken.join().unwrap(), Ok(2));
    finished.join().unwrap();
}
