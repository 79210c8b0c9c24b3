//! Typed calls between stores that follow one chain, through a node over QUIC on the loopback interface.
#![cfg(feature = "net")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests over real sockets wait by the clock"
)]

use std::time::{Duration, Instant};

use ate::calls::{Call, CallError, Calls, Feed, Request, StreamingRequest};
use ate::prelude::*;
use ate::{Chain, ServeOptions, Serving};

#[derive(Serialize, Deserialize, Record)]
struct Door {
    is_open: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Echo(Vec<u8>);

impl Request for Echo {
    type Answer = Self;
    type Error = String;
    const NAME: &'static str = "echo";
}

#[derive(Serialize, Deserialize)]
struct Count(u32);

impl StreamingRequest for Count {
    type Item = u32;
    type Error = String;
    const NAME: &'static str = "count";
}

/// A node, Anna's store, whose chain it is, and Bob's, who was introduced to it.
struct Setting {
    host: Store,
    serving: Serving,
    anna: (Store, Chain),
    bob: (Store, Chain),
    stranger: (Store, Chain),
}

fn serve(store: &Store, port: u16) -> Serving {
    let options = ServeOptions::on(([127, 0, 0, 1], port).into());
    let begun = Instant::now();
    loop {
        match store.serve(&options) {
            Ok(serving) => return serving,
            // The system may take a moment to give a port back.
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn setting() -> Setting {
    let host = Store::in_memory().expect("a store");
    let serving = serve(&host, 0);
    let [anna, bob, stranger] = [(); 3].map(|()| Store::in_memory().expect("a store"));
    let node = serving.address().expect("an address");
    let chain = anna.create_chain(&format!("{node}/office")).wait();
    let chain = chain.expect("planned");
    let door = chain.put("door", Door { is_open: true });
    door.writable_by([bob.identity().who()])
        .wait()
        .expect("landed");
    let url = format!("{node}/{}/office", anna.identity().id());
    let copy = |store: &Store| {
        let copy = store.chain(&url).wait().expect("follows");
        let begun = Instant::now();
        while copy.position() < chain.position() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(2));
        }
        copy
    };
    Setting {
        bob: (bob.clone(), copy(&bob)),
        stranger: (stranger.clone(), copy(&stranger)),
        anna: (anna, chain),
        host,
        serving,
    }
}

fn calls((store, chain): &(Store, Chain)) -> Calls {
    store.calls(chain).expect("calls")
}

async fn echo(call: Call<Echo>) -> Result<Echo, String> {
    Ok(call.into_request())
}

fn answered(calls: &Calls, limit: Duration) {
    let begun = Instant::now();
    while let Err(error) = calls.call(Echo(vec![1])).deadline(limit).wait() {
        assert!(begun.elapsed() < limit, "{error:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn two_members_call_each_other_through_a_node_and_a_stranger_is_denied() {
    let setting = setting();
    let bob_who = setting.bob.0.identity().who().clone();
    let _serving = calls(&setting.anna)
        .serve(move |call: Call<Echo>| {
            assert_eq!(*call.caller(), bob_who);
            echo(call)
        })
        .wait()
        .expect("served");
    let bob = calls(&setting.bob);
    for length in [0, 16, 70_000, 1 << 19] {
        let asked = Echo(vec![7; length]);
        assert_eq!(bob.call(asked.clone()).wait(), Ok(asked));
    }
    let denied = calls(&setting.stranger).call(Echo(vec![1])).wait();
    assert_eq!(denied, Err(CallError::Denied));
    // The host has no server of its own: those of its peers are on its board.
    let hosted = setting
        .host
        .existing_chain(&setting.anna.1.id().to_string());
    let hosted = (setting.host.clone(), hosted.wait().expect("hosted"));
    let denied = calls(&hosted).call(Echo(vec![1])).wait();
    assert_eq!(denied, Err(CallError::Denied));
    setting.serving.shut_down().wait();
}

#[test]
fn items_stream_and_a_late_call_is_told() {
    let setting = setting();
    let anna = calls(&setting.anna);
    let _count = anna
        .serve_streaming(|call: Call<Count>, mut feed: Feed<Count>| async move {
            for number in 0..call.0 {
                feed.send(&number)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Ok(())
        })
        .wait()
        .expect("served");
    let _stuck = anna
        .serve(|_: Call<Echo>| std::future::pending())
        .wait()
        .expect("served");
    let bob = calls(&setting.bob);
    let mut items = bob.stream(Count(1000)).wait().expect("started");
    for number in 0..1000 {
        assert_eq!(items.next().wait(), Ok(Some(number)));
    }
    assert_eq!(items.next().wait(), Ok(None));
    let late = bob.call(Echo(vec![1])).deadline(Duration::from_millis(300));
    assert_eq!(late.wait(), Err(CallError::Deadline));
    setting.serving.shut_down().wait();
}

#[test]
fn fifty_callers_at_once_are_answered_by_two_servers() {
    let setting = setting();
    let _servers = [calls(&setting.anna), calls(&setting.bob)]
        .map(|calls| calls.serve(echo).wait().expect("served"));
    let bob = calls(&setting.bob);
    std::thread::scope(|scope| {
        for number in 0..50u8 {
            let bob = bob.clone();
            scope.spawn(move || {
                for round in 0..20 {
                    let asked = Echo(vec![number, round]);
                    assert_eq!(bob.call(asked.clone()).wait(), Ok(asked));
                }
            });
        }
    });
    setting.serving.shut_down().wait();
}

#[test]
fn callers_and_servers_come_back_when_their_node_does() {
    let setting = setting();
    let _serving = calls(&setting.anna).serve(echo).wait().expect("served");
    let bob = calls(&setting.bob);
    answered(&bob, Duration::from_secs(10));
    let port = setting.serving.address().expect("an address").port();
    setting.serving.shut_down().wait();
    let away = bob
        .call(Echo(vec![1]))
        .deadline(Duration::from_secs(20))
        .wait();
    assert!(
        matches!(
            away,
            Err(CallError::Unreachable { .. } | CallError::Unknown)
        ),
        "{away:?}"
    );
    let serving = serve(&setting.host, port);
    answered(&bob, Duration::from_secs(60));
    serving.shut_down().wait();
}

#[test]
fn the_handles_of_one_store_call_each_other_without_a_node() {
    let store = Store::in_memory().expect("a store");
    let chain = store.chain("office").wait().expect("a chain");
    let here = (store, chain);
    let nobody = calls(&here).call(Echo(vec![1])).wait();
    assert!(
        matches!(nobody, Err(CallError::Unreachable { .. })),
        "{nobody:?}"
    );
    let _serving = calls(&here).serve(echo).wait().expect("served");
    assert_eq!(calls(&here).call(Echo(vec![2])).wait(), Ok(Echo(vec![2])));
}

#[test]
fn a_chain_calls_and_serves_by_itself_and_all_its_handles_share_one_session() {
    let setting = setting();
    let (anna, bob) = (&setting.anna.1, &setting.bob.1);
    let serving = anna.serve(echo).wait().expect("served");
    for round in 0..5 {
        assert_eq!(
            bob.clone().call(Echo(vec![round])).wait(),
            Ok(Echo(vec![round]))
        );
    }
    let again = setting.bob.0.existing_chain(&bob.id().to_string());
    let again = again.wait().expect("the same chain");
    assert_eq!(again.call(Echo(vec![9])).wait(), Ok(Echo(vec![9])));
    assert_eq!(serving.session_count(), 1);
    let own = calls(&setting.bob);
    assert_eq!(own.call(Echo(vec![1])).wait(), Ok(Echo(vec![1])));
    assert_eq!(serving.session_count(), 2);
    let counting = |call: Call<Count>, mut feed: Feed<Count>| async move {
        feed.send(&call.0).await.map_err(|error| error.to_string())
    };
    let _counting = bob.serve_streaming(counting).wait().expect("served");
    let mut items = anna.stream(Count(7)).wait().expect("answered");
    assert_eq!(items.next().wait(), Ok(Some(7)));
    setting.serving.shut_down().wait();
}

#[test]
fn a_chain_without_its_store_says_that_nobody_can_be_reached() {
    let store = Store::in_memory().expect("a store");
    let chain = store.chain("office").wait().expect("a chain");
    let serving = chain.serve(echo).wait().expect("served");
    assert_eq!(chain.call(Echo(vec![2])).wait(), Ok(Echo(vec![2])));
    drop((serving, store));
    let answer = chain.call(Echo(vec![3])).wait();
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );
}
