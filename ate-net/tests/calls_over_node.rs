//! Calls through a node, in memory: whoever is there answers, whatever breaks is told, and both sides come back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ate_chain::ChainId;
use ate_crypto::{KeyId, SeededRandom};
use ate_net::calls::{
    Answers, CallFailure, CallOptions, CallPath, Caller, CallerSettings, Fault, Handler,
    IncomingCall, Retry, Service, ServiceSettings, Serving,
};
use ate_net::{CallBoard, Client, Link};
use bytes::Bytes;
use common::{Net, Noon, identity, start};
use tokio::time::{Instant, sleep};

mod common;

const SERVICE: &str = "echo";

/// A chain at a node, on which members 1 to 9 call and serve.
struct Office {
    net: Net,
    chain: ChainId,
    /// Seeds that were given out.
    seeds: AtomicU64,
}

fn member(key: &KeyId) -> bool {
    (1..10).any(|number| identity(number).id() == *key)
}

impl Office {
    async fn new() -> Self {
        let net = Net::new();
        let founder = net.found(1, 1);
        founder.write("first", "x").await.expect("landed");
        let chain = founder.local.chain();
        Self {
            net,
            chain,
            seeds: AtomicU64::new(300),
        }
    }

    fn link(&self, number: u8) -> (Client, Arc<Link>) {
        let client = self.net.client(number);
        let link = client.link(&self.net.endpoint);
        (client, link)
    }

    fn random(&self) -> Arc<SeededRandom> {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Arc::new(SeededRandom::new(seed))
    }

    async fn serve(&self, number: u8, handler: impl Handler) -> Serving {
        self.serve_over(self.link(number).1, number, handler).await
    }

    async fn serve_over(
        &self,
        path: Arc<dyn CallPath>,
        number: u8,
        handler: impl Handler,
    ) -> Serving {
        let settings = ServiceSettings::new(
            identity(number),
            self.chain,
            SERVICE,
            Arc::new(member),
            Arc::new(Noon),
            self.random(),
        );
        let serving = Service::serve(path, settings, Arc::new(handler));
        serving.await.expect("served")
    }

    fn caller(&self, number: u8) -> Caller {
        self.caller_over(self.link(number).1, number)
    }

    fn caller_over(&self, path: Arc<dyn CallPath>, number: u8) -> Caller {
        let settings = CallerSettings::new(
            identity(number),
            self.chain,
            Arc::new(member),
            Arc::new(Noon),
            self.random(),
        );
        Caller::new(path, settings)
    }

    /// The node goes and another one with the same key, at the same place, comes.
    async fn restart(&mut self, pause: Duration) {
        let node = self.net.node.take().expect("it runs");
        node.shut_down().await;
        sleep(pause).await;
        let listener = self.net.network.listen(self.net.endpoint.node);
        let listener = Arc::new(listener.expect("free"));
        let (identity, host) = (self.net.node_identity.clone(), self.net.host.clone());
        self.net.node = Some(start(listener, identity, host));
    }
}

async fn echo(call: IncomingCall, _: Answers) -> Result<Bytes, Fault> {
    Ok(call.body().clone())
}

fn within(seconds: u64) -> CallOptions {
    CallOptions::within(Duration::from_secs(seconds))
}

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Calls until it is answered.
async fn answered(caller: &Caller, limit: Duration) -> Duration {
    let begun = Instant::now();
    while let Err(failure) = caller.call(SERVICE, body("x"), within(5)).await {
        assert!(begun.elapsed() < limit, "{failure:?}");
        sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_through_a_node_is_answered() {
    let office = Office::new().await;
    let serving = office.serve(2, echo).await;
    let caller = office.caller(3);
    for length in [0, 1, 16, 70_000, 1 << 20] {
        let asked = Bytes::from(vec![7; length]);
        let answer = caller.call(SERVICE, asked.clone(), within(30)).await;
        assert_eq!(answer, Ok(asked));
    }
    assert_eq!(serving.session_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn fifty_callers_of_one_server_are_all_answered() {
    let office = Office::new().await;
    let serving = office.serve(2, echo).await;
    let calls: Vec<_> = (0..50u32)
        .map(|number| {
            let caller = office.caller(3 + (number % 3) as u8);
            tokio::spawn(async move {
                for round in 0..20u32 {
                    let asked = Bytes::from([number.to_le_bytes(), round.to_le_bytes()].concat());
                    let answer = caller.call(SERVICE, asked.clone(), within(30)).await;
                    assert_eq!(answer, Ok(asked));
                }
                caller
            })
        })
        .collect();
    let mut callers = Vec::new();
    for call in calls {
        callers.push(call.await.expect("answered"));
    }
    assert_eq!(serving.session_count(), 50);
}

#[tokio::test(start_paused = true)]
async fn two_servers_share_the_calls() {
    let office = Office::new().await;
    let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let mut servings = Vec::new();
    for (number, count) in [2, 4].into_iter().zip(&counts) {
        let count = count.clone();
        let handler = move |call: IncomingCall, _: Answers| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Ok(call.body().clone()) }
        };
        servings.push(office.serve(number, handler).await);
    }
    let caller = office.caller(3);
    for _ in 0..100 {
        let answer = caller.call(SERVICE, body("x"), within(10)).await;
        assert_eq!(answer, Ok(body("x")));
    }
    let counts = counts.map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [50, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_vanishes_in_the_middle_leaves_its_call_unknown_or_to_another_server() {
    let office = Office::new().await;
    let begun = Arc::new(tokio::sync::Notify::new());
    let (client, link) = office.link(2);
    let begins = begun.clone();
    let stuck = move |_: IncomingCall, _: Answers| {
        begins.notify_one();
        async { std::future::pending().await }
    };
    let serving = office.serve_over(link, 2, stuck).await;
    let caller = office.caller(3);
    let call = tokio::spawn(caller.call(SERVICE, body("x"), within(60)));
    begun.notified().await;
    // One that may be made twice goes to the other server.
    let twice = within(60).retry(Retry::Always);
    let again = tokio::spawn(caller.call(SERVICE, body("again"), twice));
    begun.notified().await;
    let _other = office.serve(4, echo).await;
    let before = Instant::now();
    office.net.cut();
    drop((serving, client));
    assert_eq!(call.await.expect("ends"), Err(CallFailure::Unknown));
    assert!(before.elapsed() < Duration::from_secs(1));
    let again = again.await.expect("ends");
    // The cut has hit the way of the caller too: what it could not reach again is told as such.
    assert!(
        matches!(
            again,
            Ok(_) | Err(CallFailure::Unreachable { .. } | CallFailure::Unknown)
        ),
        "{again:?}"
    );
    answered(&caller, Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn servers_and_callers_come_back_after_the_node_was_restarted() {
    let mut office = Office::new().await;
    let _serving = office.serve(2, echo).await;
    let caller = office.caller(3);
    answered(&caller, Duration::ZERO).await;
    for pause in [0, 5] {
        office.restart(Duration::from_secs(pause)).await;
        answered(&caller, Duration::from_secs(30)).await;
    }
    office.net.cut();
    answered(&caller, Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_told_in_words_and_before_the_deadline() {
    let mut office = Office::new().await;
    let caller = office.caller(3);
    answered_by_nobody(&caller).await;
    let node = office.net.node.take().expect("it runs");
    node.shut_down().await;
    sleep(Duration::from_secs(20)).await;
    let failure = caller.call(SERVICE, body("x"), within(30)).await;
    let Err(CallFailure::Unreachable { why }) = failure else {
        panic!("{failure:?}");
    };
    assert!(why.contains("the node at"), "{why}");
}

async fn answered_by_nobody(caller: &Caller) {
    let failure = caller.call(SERVICE, body("x"), within(30)).await;
    assert!(
        matches!(&failure, Err(CallFailure::Unreachable { why }) if why.contains("server")),
        "{failure:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_streams_through_the_node_at_the_pace_of_its_reader() {
    let office = Office::new().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let _serving = office
        .serve(2, move |_: IncomingCall, mut answers: Answers| {
            let sent = counted.clone();
            async move {
                for number in 0..100u32 {
                    let piece = Bytes::from(vec![number as u8; 20_000]);
                    answers.send(piece).await.map_err(|_| Fault::Cancelled)?;
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Bytes::from_static(b"end"))
            }
        })
        .await;
    let caller = office.caller(3);
    let started = caller.stream(SERVICE, Bytes::new(), within(60)).await;
    let mut stream = started.expect("started");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 8, "nothing was taken yet");
    for number in 0..100u32 {
        let piece = stream.next().await.expect("streams").expect("a piece");
        assert_eq!(piece, vec![number as u8; 20_000]);
    }
    assert_eq!(stream.next().await, Ok(Some(Bytes::from_static(b"end"))));
    assert_eq!(stream.next().await, Ok(None));
}

/// Sets a flag when it is dropped: a handler that was stopped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_taken_back_or_late_stops_its_handler() {
    let office = Office::new().await;
    let stopped = Arc::new(AtomicBool::new(false));
    let (flag, begun) = (stopped.clone(), Arc::new(tokio::sync::Notify::new()));
    let begins = begun.clone();
    let _serving = office
        .serve(2, move |_: IncomingCall, _: Answers| {
            let on_drop = OnDrop(flag.clone());
            begins.notify_one();
            async move {
                let _on_drop = on_drop;
                std::future::pending().await
            }
        })
        .await;
    let caller = office.caller(3);
    let call = tokio::spawn(caller.call(SERVICE, body("x"), within(3600)));
    begun.notified().await;
    call.abort();
    sleep(Duration::from_secs(1)).await;
    assert!(stopped.swap(false, Ordering::SeqCst), "taken back");

    let before = Instant::now();
    let late = caller.call(SERVICE, body("x"), within(2)).await;
    assert_eq!(late, Err(CallFailure::Deadline));
    assert!(before.elapsed() < Duration::from_millis(2100));
    sleep(Duration::from_secs(3)).await;
    assert!(stopped.load(Ordering::SeqCst), "late");
}

#[tokio::test(start_paused = true)]
async fn whoever_the_chain_does_not_know_is_denied() {
    let office = Office::new().await;
    let _serving = office.serve(2, echo).await;
    let stranger = office.caller(20);
    let answer = stranger.call(SERVICE, body("x"), within(10)).await;
    assert_eq!(answer, Err(CallFailure::Denied));
}

#[tokio::test(start_paused = true)]
async fn on_a_chain_that_is_not_there_nothing_is_served_or_called() {
    let mut office = Office::new().await;
    office.chain = ChainId(ate_crypto::Hash([3; 32]));
    let settings = ServiceSettings::new(
        identity(2),
        office.chain,
        SERVICE,
        Arc::new(member),
        Arc::new(Noon),
        Arc::new(SeededRandom::new(1)),
    );
    let served = Service::serve(office.link(2).1, settings, Arc::new(echo)).await;
    assert!(served.is_err_and(|error| error.why.contains("no such chain")));
    let answer = office.caller(3).call(SERVICE, body("x"), within(10)).await;
    assert!(matches!(answer, Err(CallFailure::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn nobody_shows_the_announcement_of_another_and_none_is_shown_twice() {
    let office = Office::new().await;
    let _serving = office.serve(2, echo).await;
    let (_client, own) = office.link(2);
    let (_other_client, others) = office.link(3);
    let shown = others.announcements(office.chain, SERVICE).await;
    let [announcement] = &shown.expect("asked")[..] else {
        panic!("one server");
    };
    let id = ate_net::calls::Announcement::route(announcement)
        .expect("readable")
        .id;
    let why = |served: Result<Box<dyn ate_net::calls::ServingPath>, _>| match served {
        Err(ate_net::calls::PathError { why, .. }) => why,
        Ok(_) => panic!("it was taken"),
    };
    let taken = others.serve(office.chain, SERVICE, id, announcement.clone());
    assert!(why(taken.await).contains("the identity that signed it"));
    let twice = own.serve(office.chain, SERVICE, id, announcement.clone());
    assert!(why(twice.await).contains("shown already"));
    // The server is still reached.
    answered(&office.caller(3), Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_is_no_longer_shown() {
    let office = Office::new().await;
    let serving = office.serve(2, echo).await;
    let caller = office.caller(3);
    answered(&caller, Duration::ZERO).await;
    drop(serving);
    sleep(Duration::from_secs(1)).await;
    let (_client, link) = office.link(3);
    let shown = link.announcements(office.chain, SERVICE).await;
    assert_eq!(shown.expect("asked"), Vec::<Bytes>::new());
    answered_by_nobody(&caller).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_in_the_process_of_the_node_and_whoever_is_outside_call_each_other() {
    let mut office = Office::new().await;
    let node = office.net.node.take().expect("it runs");
    node.shut_down().await;
    let board = CallBoard::new();
    let listener = office.net.network.listen(office.net.endpoint.node);
    let parts = ate_net::NodeParts {
        identity: office.net.node_identity.clone(),
        host: office.net.host.clone(),
        admission: Arc::new(ate_net::Everybody),
        clock: Arc::new(Noon),
        limits: ate_net::NodeLimits::default(),
    };
    let listener = Arc::new(listener.expect("free"));
    let _node = ate_net::Node::start_with(listener, parts, &board);
    let outside = office.serve(2, echo).await;
    let inside = office.caller_over(Arc::new(board.clone()), 1);
    answered(&inside, Duration::ZERO).await;
    drop(outside);
    sleep(Duration::from_secs(1)).await;
    let _inside = office.serve_over(Arc::new(board.clone()), 1, echo).await;
    answered(&office.caller(3), Duration::ZERO).await;
    answered(&office.caller_over(Arc::new(board), 1), Duration::ZERO).await;
}
