//! Callers and servers over a hub that does its duty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ate_net::calls::{
    Answers, CHUNK_BYTES_MAX, CallFailure, Fault, IncomingCall, MemoryHub, Stopped,
};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::support::{SERVICE, World, echo, identity, within};

/// Sets a flag when it is dropped: a handler that was stopped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn many_calls_share_one_session() {
    let world = World::new();
    let serving = world
        .serve(1, |call: IncomingCall, _: Answers| async move {
            assert_eq!(call.caller(), identity(2).who());
            Ok(call.body().clone())
        })
        .await;
    let caller = world.caller(2);
    let calls: Vec<_> = (0..500u32)
        .map(|number| {
            let body = Bytes::copy_from_slice(&number.to_le_bytes());
            let call = caller.call(SERVICE, body.clone(), within(10));
            (body, tokio::spawn(call))
        })
        .collect();
    for (body, call) in calls {
        assert_eq!(call.await.unwrap(), Ok(body));
    }
    assert_eq!(serving.session_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_servers_share_the_calls() {
    let world = World::new();
    let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let mut servings = Vec::new();
    for (number, count) in [11, 12].into_iter().zip(&counts) {
        let count = count.clone();
        let handler = move |call: IncomingCall, _: Answers| {
            let count = count.clone();
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(call.body().clone())
            }
        };
        servings.push(world.serve(number, handler).await);
    }
    let caller = world.caller(2);
    let calls: Vec<_> = (0..1000u32)
        .map(|number| {
            let body = Bytes::copy_from_slice(&number.to_le_bytes());
            tokio::spawn(caller.call(SERVICE, body, within(30)))
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let counts = counts.map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts[0] + counts[1], 1000);
    assert!(counts.iter().all(|count| *count >= 400), "{counts:?}");
}

#[tokio::test]
async fn an_answer_streams_at_the_pace_of_its_reader() {
    let world = World::new();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let _serving = world
        .serve(1, move |_: IncomingCall, mut answers: Answers| {
            let sent = counted.clone();
            async move {
                for number in 0..100u32 {
                    let piece = Bytes::copy_from_slice(&number.to_le_bytes());
                    answers.send(piece).await.map_err(|_| Fault::Cancelled)?;
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Bytes::from_static(b"end"))
            }
        })
        .await;
    let caller = world.caller(2);
    let started = caller.stream(SERVICE, Bytes::new(), within(30));
    let mut stream = started.await.unwrap();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 8, "nothing was taken yet");
    for number in 0..100u32 {
        let piece = stream.next().await.unwrap().unwrap();
        assert_eq!(piece[..], number.to_le_bytes());
        let ahead = sent.load(Ordering::SeqCst) as u32 - number;
        assert!(ahead <= 16, "{ahead} pieces ahead of the reader");
    }
    assert_eq!(stream.next().await, Ok(Some(Bytes::from_static(b"end"))));
    assert_eq!(stream.next().await, Ok(None));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_stops_no_other_call() {
    let world = World::new();
    let _serving = world
        .serve(1, |call: IncomingCall, mut answers: Answers| async move {
            if !call.body().is_empty() {
                return Ok(call.body().clone());
            }
            loop {
                let sent = answers.send(Bytes::from(vec![1; 1000])).await;
                sent.map_err(|_| Fault::Cancelled)?;
            }
        })
        .await;
    let caller = world.caller(2);
    let started = caller.stream(SERVICE, Bytes::new(), within(30));
    let _unread = started.await.unwrap();
    for _ in 0..100 {
        let body = Bytes::from_static(b"other");
        assert_eq!(
            caller.call(SERVICE, body.clone(), within(10)).await,
            Ok(body)
        );
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole_and_one_that_is_too_large_is_an_error() {
    let world = World::new();
    let _serving = world
        .serve(1, |call: IncomingCall, _: Answers| async move {
            let length = u32::from_le_bytes(call.body()[..].try_into().unwrap());
            Ok((0..length)
                .map(|at| (at % 251) as u8)
                .collect::<Vec<u8>>()
                .into())
        })
        .await;
    let caller = world.caller(2);
    for length in [0, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 10_500_000] {
        let body = Bytes::copy_from_slice(&(length as u32).to_le_bytes());
        let answer = caller.call(SERVICE, body, within(30)).await.unwrap();
        assert_eq!(answer.len(), length);
        assert!(
            answer
                .iter()
                .enumerate()
                .all(|(at, byte)| *byte == (at % 251) as u8)
        );
    }
    let body = Bytes::copy_from_slice(&(17u32 << 20).to_le_bytes());
    assert_eq!(
        caller.call(SERVICE, body, within(30)).await,
        Err(CallFailure::TooLarge)
    );
    let body = Bytes::from(vec![0; (1 << 20) + 1]);
    assert_eq!(
        caller.call(SERVICE, body, within(30)).await,
        Err(CallFailure::TooLarge)
    );
}

#[tokio::test]
async fn a_piece_that_is_too_large_is_refused_before_it_is_sent() {
    let world = World::new();
    let _serving = world
        .serve(1, |_: IncomingCall, mut answers: Answers| async move {
            let large = Bytes::from(vec![0; CHUNK_BYTES_MAX + 1]);
            assert_eq!(answers.send(large).await, Err(Stopped::TooLarge));
            Ok(Bytes::from_static(b"refused"))
        })
        .await;
    let answer = world.caller(2).call(SERVICE, Bytes::new(), within(10));
    assert_eq!(answer.await, Ok(Bytes::from_static(b"refused")));
}

#[tokio::test]
async fn faults_of_a_handler_reach_the_caller() {
    let world = World::new();
    let _serving = world
        .serve(1, |call: IncomingCall, _: Answers| async move {
            Err(match call.body()[0] {
                0 => Fault::Handler(Bytes::from_static(b"own words")),
                1 => Fault::BadRequest,
                2 => Fault::Denied,
                _ => Fault::TooLarge,
            })
        })
        .await;
    let caller = world.caller(2);
    for (number, failure) in [
        CallFailure::Handler(Bytes::from_static(b"own words")),
        CallFailure::BadRequest,
        CallFailure::Denied,
        CallFailure::TooLarge,
    ]
    .into_iter()
    .enumerate()
    {
        let body = Bytes::from(vec![number as u8]);
        assert_eq!(caller.call(SERVICE, body, within(10)).await, Err(failure));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_on_both_sides() {
    let world = World::new();
    let stopped = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicBool::new(false));
    let (flag, seen) = (stopped.clone(), told.clone());
    let _serving = world
        .serve(1, move |call: IncomingCall, _: Answers| {
            let (flag, seen) = (flag.clone(), seen.clone());
            async move {
                let _on_drop = OnDrop(flag);
                let left = call.deadline_left();
                assert!(left <= Duration::from_secs(2) && left > Duration::from_millis(1900));
                tokio::spawn(async move {
                    while !call.is_cancelled() {
                        sleep(Duration::from_millis(1)).await;
                    }
                    seen.store(true, Ordering::SeqCst);
                });
                sleep(Duration::from_secs(60)).await;
                Ok(Bytes::new())
            }
        })
        .await;
    let caller = world.caller(2);
    let start = Instant::now();
    let answer = caller.call(SERVICE, Bytes::new(), within(2)).await;
    assert_eq!(answer, Err(CallFailure::Deadline));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(1990) && took < Duration::from_millis(2010),
        "{took:?}"
    );
    sleep(Duration::from_millis(20)).await;
    assert!(stopped.load(Ordering::SeqCst), "the handler was dropped");
    assert!(told.load(Ordering::SeqCst), "its helpers see it");
}

#[tokio::test]
async fn a_call_that_is_dropped_stops_its_handler() {
    let world = World::new();
    let stopped = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(Notify::new());
    let (flag, begins) = (stopped.clone(), begun.clone());
    let _serving = world
        .serve(1, move |call: IncomingCall, _: Answers| {
            let (flag, begins) = (flag.clone(), begins.clone());
            async move {
                if call.body().is_empty() {
                    let _on_drop = OnDrop(flag);
                    begins.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok(Bytes::new())
            }
        })
        .await;
    let caller = world.caller(2);
    let call = tokio::spawn(caller.call(SERVICE, Bytes::new(), within(3600)));
    begun.notified().await;
    call.abort();
    for _ in 0..200 {
        if stopped.load(Ordering::SeqCst) {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(stopped.load(Ordering::SeqCst));
    let body = Bytes::from_static(b"the session lives on");
    caller.call(SERVICE, body, within(10)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_than_allowed_and_the_others_wait_their_turn() {
    let mut world = World::new();
    world.limits.handlers_max = 4;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (running.clone(), most.clone());
    let _serving = world
        .serve(1, move |call: IncomingCall, _: Answers| {
            let (now, peak) = (now.clone(), peak.clone());
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(call.body().clone())
            }
        })
        .await;
    let caller = world.caller(2);
    let calls: Vec<_> = (0..40)
        .map(|_| tokio::spawn(caller.call(SERVICE, Bytes::new(), within(60))))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_room_sends_calls_to_another() {
    let mut world = World::new();
    world.limits.handlers_max = 1;
    world.limits.waiting_max = 0;
    let slow = |call: IncomingCall, _: Answers| async move {
        sleep(Duration::from_secs(5)).await;
        Ok(call.body().clone())
    };
    let _one = world.serve(11, slow).await;
    let callers = [world.caller(2), world.caller(2)];
    let first = tokio::spawn(callers[0].call(SERVICE, Bytes::new(), within(60)));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(
        callers[1].call(SERVICE, Bytes::new(), within(60)).await,
        Err(CallFailure::Unavailable)
    );
    let _two = world.serve(12, echo).await;
    callers[1]
        .call(SERVICE, Bytes::new(), within(60))
        .await
        .unwrap();
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_ends_what_it_began_and_takes_no_more() {
    let world = World::new();
    let serving = world
        .serve(11, |call: IncomingCall, _: Answers| async move {
            sleep(Duration::from_secs(5)).await;
            Ok(call.body().clone())
        })
        .await;
    let caller = world.caller(2);
    let body = Bytes::from_static(b"begun before");
    let begun = tokio::spawn(caller.call(SERVICE, body.clone(), within(60)));
    sleep(Duration::from_secs(1)).await;
    drop(serving);
    sleep(Duration::from_secs(1)).await;
    let refused = caller.call(SERVICE, Bytes::new(), within(60)).await;
    assert!(
        matches!(refused, Err(CallFailure::Unreachable { .. })),
        "{refused:?}"
    );
    assert_eq!(begun.await.unwrap(), Ok(body));
    let _other = world.serve(12, echo).await;
    caller
        .call(SERVICE, Bytes::new(), within(60))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_handler_that_panics_leaves_its_call_unknown_and_others_alone() {
    let world = World::new();
    let _serving = world
        .serve(1, |call: IncomingCall, _: Answers| async move {
            assert!(!call.body().is_empty(), "planted");
            Ok(call.body().clone())
        })
        .await;
    let caller = world.caller(2);
    assert_eq!(
        caller.call(SERVICE, Bytes::new(), within(10)).await,
        Err(CallFailure::Unknown)
    );
    let body = Bytes::from_static(b"fine");
    assert_eq!(
        caller.call(SERVICE, body.clone(), within(10)).await,
        Ok(body)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_may_not_call_is_denied() {
    let world = World::new();
    let _serving = world.serve(1, echo).await;
    let caller = world.caller(3);
    for _ in 0..20 {
        let answer = caller.call(SERVICE, Bytes::new(), within(10)).await;
        assert_eq!(answer, Err(CallFailure::Denied));
    }
    // Whichever is first, the request or the refusal.
    let calls: Vec<_> = (0..50)
        .map(|_| tokio::spawn(caller.call(SERVICE, Bytes::new(), within(10))))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(CallFailure::Denied));
    }
}

#[tokio::test]
async fn a_service_that_nobody_known_serves_is_unreachable() {
    let world = World::new();
    let caller = world.caller(2);
    let nobody = caller.call(SERVICE, Bytes::new(), within(10)).await;
    assert!(matches!(nobody, Err(CallFailure::Unreachable { .. })));
    // Whoever may not serve may announce what it likes.
    let _stranger = world.serve(66, echo).await;
    let stranger = caller.call(SERVICE, Bytes::new(), within(10)).await;
    assert!(matches!(stranger, Err(CallFailure::Unreachable { .. })));
    let _known = world.serve(1, echo).await;
    let answer = caller.call(SERVICE, Bytes::from_static(b"x"), within(10));
    assert_eq!(answer.await, Ok(Bytes::from_static(b"x")));
    let unnamed = caller.call("", Bytes::new(), within(10)).await;
    assert!(matches!(unnamed, Err(CallFailure::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn sessions_and_announcements_are_renewed_without_a_call_noticing() {
    let world = World::over(Arc::new(MemoryHub::new()));
    let serving = world.serve(1, echo).await;
    let caller = world.caller(2);
    for hour in 0..80u64 {
        let body = Bytes::copy_from_slice(&hour.to_le_bytes());
        assert_eq!(
            caller.call(SERVICE, body.clone(), within(10)).await,
            Ok(body),
            "hour {hour}"
        );
        sleep(Duration::from_secs(47 * 60)).await;
        assert!(serving.session_count() <= 2);
    }
}
