//! A hub that does what it likes: it can refuse, delay and cut, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ate_crypto::SeededRandom;
use ate_net::calls::{
    Announcement, Answers, CallFailure, CallLimits, CallOptions, Fault, FrameError, IncomingCall,
    Retry, ServiceSessions,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::support::{
    CHAIN, SERVICE, START_MS, Sides, Tap, Tapped, Toward, World, echo, identity, now, within,
};

const END: u8 = 6;

fn world(tap: &Arc<Tap>) -> World {
    World::over(Arc::new(Tapped(tap.clone())))
}

/// Counts how often a handler ran.
fn counting(
    count: &Arc<AtomicUsize>,
) -> impl Fn(IncomingCall, Answers) -> std::future::Ready<Result<Bytes, Fault>> + Send + Sync + 'static
{
    let count = count.clone();
    move |call, _| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(call.body().clone()))
    }
}

#[tokio::test]
async fn it_sees_nothing_of_what_is_said() {
    let tap = Tap::new(|_, _, frame| vec![frame]);
    let world = world(&tap);
    let _serving = world
        .serve(1, |_: IncomingCall, mut answers: Answers| async move {
            let piece = Bytes::from_static(b"a secret piece of an answer");
            answers.send(piece).await.map_err(|_| Fault::Cancelled)?;
            Err(Fault::Handler(Bytes::from_static(b"a secret error")))
        })
        .await;
    let caller = world.caller(2);
    let body = Bytes::from_static(b"a secret request");
    let answer = caller.call(SERVICE, body, within(10)).await;
    assert!(matches!(answer, Err(CallFailure::Handler(_))));
    let seen = tap.seen.lock();
    assert_eq!(seen.len(), 4, "opening, request, piece, error");
    for (_, frame) in &*seen {
        assert!(!frame.windows(6).any(|window| window == b"secret"));
    }
}

#[tokio::test]
async fn a_changed_answer_is_never_believed() {
    let tap = Tap::new(|toward, _, frame| {
        if toward == Toward::Caller {
            let mut changed = frame.to_vec();
            *changed.last_mut().expect("not empty") ^= 1;
            return vec![changed.into()];
        }
        vec![frame]
    });
    let world = world(&tap);
    let _serving = world.serve(1, echo).await;
    let answer = world.caller(2).call(SERVICE, Bytes::new(), within(10));
    assert_eq!(answer.await, Err(CallFailure::Unknown));
}

#[tokio::test]
async fn repeated_frames_run_no_handler_twice() {
    let tap = Tap::new(|_, _, frame| vec![frame.clone(), frame]);
    let world = world(&tap);
    let count = Arc::new(AtomicUsize::new(0));
    let _serving = world.serve(1, counting(&count)).await;
    let caller = world.caller(2);
    for _ in 0..5 {
        let answer = caller.call(SERVICE, Bytes::new(), within(10)).await;
        assert!(matches!(
            answer,
            Ok(_) | Err(CallFailure::Unknown | CallFailure::Unreachable { .. })
        ));
    }
    assert!(count.load(Ordering::SeqCst) <= 5);
}

#[tokio::test]
async fn a_recorded_session_played_again_runs_nothing() {
    let tap = Tap::new(|_, _, frame| vec![frame]);
    let world = world(&tap);
    let count = Arc::new(AtomicUsize::new(0));
    let _serving = world.serve(1, counting(&count)).await;
    let caller = world.caller(2);
    caller
        .call(SERVICE, Bytes::new(), within(10))
        .await
        .unwrap();
    drop(caller);
    sleep(Duration::from_millis(20)).await;
    let recorded: Vec<Bytes> = {
        let seen = tap.seen.lock();
        let asked = seen.iter().filter(|(toward, _)| *toward == Toward::Service);
        asked.map(|(_, frame)| frame.clone()).collect()
    };
    let shown = world.path.announcements(CHAIN, SERVICE).await.unwrap();
    let id = Announcement::route(&shown[0]).unwrap().id;
    let mut path = world.path.open(CHAIN, SERVICE, id).await.unwrap();
    for frame in recorded {
        // The server may end the path at the first of them.
        let _ = path.send.send(frame).await;
    }
    assert_eq!(path.receive.receive().await, Ok(None));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_that_is_cut_does_not_end_well() {
    let tap = Tap::new(|toward, _, frame| {
        let is_end = toward == Toward::Caller && frame[0] == END;
        if is_end { Vec::new() } else { vec![frame] }
    });
    let world = world(&tap);
    let _serving = world
        .serve(1, |_: IncomingCall, mut answers: Answers| async move {
            for piece in [&b"one"[..], b"two"] {
                let sent = answers.send(Bytes::from_static(piece)).await;
                sent.map_err(|_| Fault::Cancelled)?;
            }
            Ok(Bytes::new())
        })
        .await;
    let caller = world.caller(2);
    let started = caller.stream(SERVICE, Bytes::new(), within(10));
    let mut stream = started.await.unwrap();
    assert_eq!(stream.next().await, Ok(Some(Bytes::from_static(b"one"))));
    assert_eq!(stream.next().await, Ok(Some(Bytes::from_static(b"two"))));
    let cutter = tap.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(20)).await;
        cutter.cut();
    });
    assert_eq!(stream.next().await, Err(CallFailure::Unknown));
}

#[tokio::test]
async fn swapped_answers_are_noticed() {
    // Holds the first answer back and lets the second call's answer pass under its number.
    let held: Mutex<Option<Bytes>> = Mutex::default();
    let tap = Tap::new(move |toward, _, frame| {
        if toward == Toward::Service {
            return vec![frame];
        }
        let mut held = held.lock();
        let Some(first) = held.take() else {
            *held = Some(frame);
            return Vec::new();
        };
        let (mut one, mut two) = (first.to_vec(), frame.to_vec());
        one[17..25].swap_with_slice(&mut two[17..25]);
        vec![one.into(), two.into()]
    });
    let world = world(&tap);
    let _serving = world.serve(1, echo).await;
    let caller = world.caller(2);
    let calls = [&b"one"[..], b"two"].map(|body| {
        let body = Bytes::from_static(body);
        tokio::spawn(caller.call(SERVICE, body, within(10)))
    });
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(CallFailure::Unknown));
    }
}

#[tokio::test]
async fn a_server_that_vanishes_leaves_its_calls_unknown_or_made_again_on_demand() {
    let tap = Tap::new(|_, _, frame| vec![frame]);
    let world = world(&tap);
    let begun = Arc::new(tokio::sync::Semaphore::new(0));
    let begins = begun.clone();
    let silent = move |_: IncomingCall, _: Answers| {
        begins.add_permits(1);
        std::future::pending()
    };
    let serving = world.serve(11, silent).await;
    let caller = world.caller(2);
    let once = tokio::spawn(caller.call(SERVICE, Bytes::new(), within(60)));
    let options = CallOptions::within(Duration::from_secs(60)).retry(Retry::Always);
    let again = tokio::spawn(caller.call(SERVICE, Bytes::from_static(b"x"), options));
    begun.acquire_many(2).await.unwrap().forget();
    drop(serving);
    let _other = world.serve(12, echo).await;
    tap.cut();
    assert_eq!(once.await.unwrap(), Err(CallFailure::Unknown));
    assert_eq!(again.await.unwrap(), Ok(Bytes::from_static(b"x")));
}

#[tokio::test]
async fn a_call_that_never_left_is_made_elsewhere() {
    let tap = Tap::new(|_, _, frame| vec![frame]);
    let world = world(&tap);
    let _serving = world.serve(11, echo).await;
    tap.is_closed.store(true, Ordering::Relaxed);
    let caller = world.caller(2);
    let answer = caller.call(SERVICE, Bytes::new(), within(10)).await;
    assert!(matches!(answer, Err(CallFailure::Unreachable { .. })));
    tap.is_closed.store(false, Ordering::Relaxed);
    caller
        .call(SERVICE, Bytes::new(), within(10))
        .await
        .unwrap();
}

#[tokio::test]
async fn it_cannot_pass_for_a_server() {
    let limits = CallLimits::default();
    let sides = Sides::new();
    let random = SeededRandom::new(5);
    let own = ServiceSessions::new(&identity(66), CHAIN, SERVICE, &limits).unwrap();
    let (_, own) = own.announce(now(0), &random);
    let served = identity(1).id();
    let verify = |bytes: &[u8]| {
        Announcement::verify(bytes, CHAIN, SERVICE, START_MS, &|id| *id == served).map(|_| ())
    };
    assert_eq!(verify(&sides.announced), Ok(()));
    assert_eq!(verify(&own), Err(FrameError::UnknownKey));
    // The known identity, with the hub's key to encapsulate to, its signature, or both.
    let key = 1 + 1 + 32 + 1 + SERVICE.len() + 16 + 8 + 8;
    let who = key + 1216;
    let signature = who + 3201;
    assert_eq!(own.len(), signature + 3373);
    for range in [key..who, signature..own.len()] {
        let mut mixed = sides.announced.to_vec();
        mixed[range.clone()].copy_from_slice(&own[range]);
        assert_eq!(verify(&mixed), Err(FrameError::Signature));
    }
    let mut mixed = own.to_vec();
    mixed[who..signature].copy_from_slice(&sides.announced[who..signature]);
    assert_eq!(verify(&mixed), Err(FrameError::Signature));
}

#[tokio::test]
async fn announcements_that_it_makes_up_keep_nobody_from_a_server() {
    let tap = Tap::new(|_, _, frame| vec![frame]);
    let world = world(&tap);
    let limits = CallLimits::default();
    let random = SeededRandom::new(5);
    for number in 60..70 {
        let made_up = ServiceSessions::new(&identity(number), CHAIN, SERVICE, &limits).unwrap();
        let (_, bytes) = made_up.announce(now(0), &random);
        tap.also.lock().push(bytes);
    }
    tap.also.lock().push(Bytes::from_static(b"nonsense"));
    let _serving = world.serve(1, echo).await;
    let answer = world.caller(2).call(SERVICE, Bytes::new(), within(10));
    answer.await.unwrap();
}

#[test]
fn an_opening_holds_for_one_chain_service_and_server_only() {
    let sides = Sides::new();
    let (_, opening) = sides.opening(now(0));
    let limits = CallLimits::default();
    let other_chain = ate_chain::ChainId(ate_crypto::Hash([8; 32]));
    let random = SeededRandom::new(6);
    for (server, chain, service, what) in [
        (1, other_chain, SERVICE, "chain"),
        (1, CHAIN, "pong", "service"),
        (11, CHAIN, SERVICE, "instance"),
        (1, CHAIN, SERVICE, "announcement"),
    ] {
        let other = ServiceSessions::new(&identity(server), chain, service, &limits).unwrap();
        let (_, announced) = other.announce(now(0), &random);
        let refused = other.accept(now(0), &opening, &|_| true).err().unwrap();
        assert_eq!(refused.why, FrameError::Elsewhere { what }.into());
        if what != "instance" && what != "announcement" {
            let verified = Announcement::verify(&announced, CHAIN, SERVICE, START_MS, &|_| true);
            assert_eq!(verified.err(), Some(FrameError::Elsewhere { what }));
        }
    }
    sides.accept(now(0), &opening).unwrap();
}
