//! The rules of a session, without anything that moves frames.

use ate_net::calls::{
    Announcement, Answered, Asked, CREDIT_CHUNKS, CallId, Fault, FrameError, LATE_MS_MAX,
    NotAcceptedWhy, Parting, SKEW_MS_MAX, SayError,
};
use bytes::Bytes;

use crate::support::{CHAIN, SERVICE, START_MS, Sides, identity, now};

fn request(asked: Asked) -> (CallId, Bytes) {
    match asked {
        Asked::Request { call, body, .. } => (call, body),
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn a_request_and_its_answer_travel_sealed() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    assert_eq!(service.caller(), sides.caller.who());
    let (call, frame) = caller.request(1000, 500, b"what is the time").unwrap();
    assert!(!frame.windows(4).any(|window| window == b"time"));
    let asked = service.receive(1005, &frame).unwrap();
    assert!(
        matches!(
            asked,
            Asked::Request {
                deadline_ticks_ms: 1505,
                ..
            }
        ),
        "{asked:?}"
    );
    let (taken, body) = request(asked);
    assert_eq!((taken, &body[..]), (call, &b"what is the time"[..]));
    let piece = service.chunk(call, b"half ").unwrap();
    let end = service.end(call, b"past two").unwrap();
    assert!(!end.windows(4).any(|window| window == b"past"));
    assert_eq!(
        caller.receive(&piece).unwrap(),
        Answered::Chunk {
            call,
            body: Bytes::from_static(b"half ")
        }
    );
    assert_eq!(
        caller.receive(&end).unwrap(),
        Answered::End {
            call,
            body: Bytes::from_static(b"past two")
        }
    );
    assert_eq!(service.open_calls(), 0);
    assert_eq!(service.end(call, b"again"), Err(SayError::NoCall));
}

#[test]
fn every_fault_arrives_as_it_was_told() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    for fault in [
        Fault::Handler(Bytes::from_static(b"no such ball")),
        Fault::Handler(Bytes::new()),
        Fault::Denied,
        Fault::Deadline,
        Fault::Unavailable,
        Fault::TooLarge,
        Fault::BadRequest,
        Fault::Cancelled,
        Fault::Broken,
    ] {
        let (call, frame) = caller.request(1000, 500, b"").unwrap();
        service.receive(1000, &frame).unwrap();
        let frame = service.fail(call, &fault).unwrap();
        assert_eq!(
            caller.receive(&frame).unwrap(),
            Answered::Failed { call, fault }
        );
    }
}

#[test]
fn nothing_is_taken_twice() {
    let sides = Sides::new();
    let (caller, opening) = sides.opening(now(0));
    let service = sides.accept(now(0), &opening).unwrap().session;
    let again = sides.accept(now(0), &opening).err().unwrap();
    assert_eq!(again.why, NotAcceptedWhy::Frame(FrameError::Replayed));
    assert_eq!(again.answer, None);

    let (call, frame) = caller.request(1000, 500, b"once").unwrap();
    request(service.receive(1000, &frame).unwrap());
    assert_eq!(service.receive(1000, &frame), Err(FrameError::Replayed));

    let credit = caller.credit(call, 1).unwrap();
    assert_eq!(service.receive(1000, &credit), Ok(Asked::More { call }));
    assert_eq!(service.receive(1000, &credit), Err(FrameError::Replayed));

    let piece = service.chunk(call, b"piece").unwrap();
    caller.receive(&piece).unwrap();
    assert_eq!(caller.receive(&piece), Err(FrameError::Replayed));
    let end = service.end(call, b"").unwrap();
    caller.receive(&end).unwrap();
    assert_eq!(caller.receive(&end), Err(FrameError::NoCall));
    assert_eq!(service.receive(1000, &frame), Err(FrameError::Replayed));

    let goodbye = service.goodbye(Parting::Closing).unwrap();
    assert_eq!(service.goodbye(Parting::Closing), None);
    caller.receive(&goodbye).unwrap();
    assert_eq!(caller.receive(&goodbye), Err(FrameError::Replayed));
}

#[test]
fn an_opening_is_never_taken_again_whatever_the_clock_does() {
    let sides = Sides::new();
    let (_, opening) = sides.opening(now(0));
    let service = sides.accept(now(0), &opening).unwrap().session;
    sides.sessions.close(&service.id());
    for after in [1, SKEW_MS_MAX, SKEW_MS_MAX + 1, 3 * SKEW_MS_MAX, 0] {
        assert!(sides.accept(now(after), &opening).is_err(), "{after} ms");
    }
    let mut early = now(0);
    early.wall_ms -= SKEW_MS_MAX;
    assert!(sides.accept(early, &opening).is_err(), "a clock set back");
}

#[test]
fn nobody_is_told_that_an_opening_was_not_taken_when_it_was() {
    let sides = Sides::new();
    let (_, opening) = sides.opening(now(0));
    sides.accept(now(0), &opening).unwrap();
    // The caller may not call any more, and the opening is played again.
    let again = sides.sessions.accept(now(1), &opening, &|_| false).err();
    assert_eq!(again.unwrap().answer, None);
}

#[test]
fn answers_hold_for_their_call_and_place_only() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let mut frames = Vec::new();
    for body in [b"one", b"two"] {
        let (call, frame) = caller.request(1000, 500, body).unwrap();
        service.receive(1000, &frame).unwrap();
        frames.push((service.end(call, body).unwrap(), call));
    }
    // The number of the call stands at byte 17.
    let swapped = |from: usize, to: usize| {
        let mut frame = frames[from].0.to_vec();
        frame[17..25].copy_from_slice(&frames[to].0[17..25]);
        frame
    };
    assert_eq!(caller.receive(&swapped(0, 1)), Err(FrameError::Forged));
    assert_eq!(caller.receive(&swapped(1, 0)), Err(FrameError::Forged));
    for (frame, _) in &frames {
        caller.receive(frame).unwrap();
    }
}

#[test]
fn pieces_of_an_answer_are_taken_in_order_only_and_the_last_is_not_missed() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (call, frame) = caller.request(1000, 500, b"").unwrap();
    service.receive(1000, &frame).unwrap();
    let first = service.chunk(call, b"first").unwrap();
    let second = service.chunk(call, b"second").unwrap();
    let end = service.end(call, b"end").unwrap();
    assert_eq!(caller.receive(&second), Err(FrameError::Replayed));
    assert_eq!(caller.receive(&end), Err(FrameError::Replayed));
    caller.receive(&first).unwrap();
    assert_eq!(caller.receive(&end), Err(FrameError::Replayed));
    // A piece does not pass for the end: the kind stands at byte 0.
    let mut last = second.to_vec();
    last[0] = end[0];
    assert_eq!(caller.receive(&last), Err(FrameError::Forged));
    caller.receive(&second).unwrap();
    caller.receive(&end).unwrap();
}

#[test]
fn what_one_side_said_is_worthless_to_itself() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (call, frame) = caller.request(1000, 500, b"").unwrap();
    assert_eq!(caller.receive(&frame), Err(FrameError::Forged));
    service.receive(1000, &frame).unwrap();
    let cancel = caller.cancel(call).unwrap();
    assert_eq!(caller.receive(&cancel), Err(FrameError::Forged));
    let end = service.end(call, b"").unwrap();
    assert_eq!(service.receive(1000, &end), Err(FrameError::Forged));
    // Also with the kind of the other direction: a request turned into an answer, an answer into a request.
    let (_, frame) = caller.request(1000, 500, &[0; 32]).unwrap();
    for kind in 0..=255 {
        let mut turned = frame.to_vec();
        turned[0] = kind;
        assert!(caller.receive(&turned).is_err(), "kind {kind}");
        let mut turned = end.to_vec();
        turned[0] = kind;
        assert!(service.receive(1000, &turned).is_err(), "kind {kind}");
    }
}

#[test]
fn a_frame_of_another_session_is_refused_also_under_the_right_name() {
    let sides = Sides::new();
    let (one, one_service) = sides.open();
    let (two, two_service) = sides.open();
    let (_, frame) = one.request(1000, 500, b"").unwrap();
    assert_eq!(
        two_service.receive(1000, &frame),
        Err(FrameError::Elsewhere { what: "session" })
    );
    let mut renamed = frame.to_vec();
    renamed[1..17].copy_from_slice(&two.id().0);
    assert_eq!(two_service.receive(1000, &renamed), Err(FrameError::Forged));
    one_service.receive(1000, &frame).unwrap();
}

#[test]
fn a_call_that_was_taken_back_ends_and_what_comes_late_is_nothing() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (call, frame) = caller.request(1000, 500, b"").unwrap();
    service.receive(1000, &frame).unwrap();
    let piece = service.chunk(call, b"piece").unwrap();
    let cancel = caller.cancel(call).unwrap();
    assert_eq!(caller.cancel(call), None);
    assert_eq!(
        service.receive(1000, &cancel),
        Ok(Asked::Cancelled { call })
    );
    let end = service.fail(call, &Fault::Cancelled).unwrap();
    assert_eq!(caller.receive(&piece), Ok(Answered::Late { call }));
    assert_eq!(caller.receive(&end), Ok(Answered::Late { call }));
    assert_eq!(service.receive(1000, &cancel), Ok(Asked::Late));
    assert_eq!(caller.cancel(call), None);
}

#[test]
fn a_service_sends_only_as_much_as_was_asked_for() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (call, frame) = caller.request(1000, 500, b"").unwrap();
    service.receive(1000, &frame).unwrap();
    for _ in 0..CREDIT_CHUNKS {
        caller
            .receive(&service.chunk(call, b"piece").unwrap())
            .unwrap();
    }
    assert_eq!(service.chunk(call, b"piece"), Err(SayError::NoCredit));
    let credit = caller.credit(call, 2).unwrap();
    service.receive(1000, &credit).unwrap();
    for _ in 0..2 {
        caller
            .receive(&service.chunk(call, b"piece").unwrap())
            .unwrap();
    }
    assert_eq!(service.chunk(call, b"piece"), Err(SayError::NoCredit));
    let end = service.end(call, b"the end needs no credit").unwrap();
    caller.receive(&end).unwrap();
}

#[test]
fn a_goodbye_tells_which_calls_were_taken() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (one, first) = caller.request(1000, 500, b"1").unwrap();
    let (_, second) = caller.request(1000, 500, b"2").unwrap();
    service.receive(1000, &first).unwrap();
    let goodbye = service.goodbye(Parting::Closing).unwrap();
    assert_eq!(service.receive(1000, &second), Ok(Asked::Late));
    assert_eq!(
        caller.receive(&goodbye),
        Ok(Answered::Goodbye {
            last_call: one,
            why: Parting::Closing
        })
    );
    assert_eq!(caller.request(1000, 500, b"3"), Err(SayError::Over));
    let end = service.end(one, b"still answered").unwrap();
    assert!(matches!(caller.receive(&end), Ok(Answered::End { .. })));
}

#[test]
fn a_request_that_was_held_back_is_not_handled() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (_, frame) = caller.request(1000, 500, b"").unwrap();
    let late = 1000 + 500 + LATE_MS_MAX;
    let Ok(Asked::Refused { answer, call }) = service.receive(late, &frame) else {
        panic!("it is refused");
    };
    assert_eq!(
        caller.receive(&answer),
        Ok(Answered::Failed {
            call,
            fault: Fault::Deadline
        })
    );
    let (_, frame) = caller.request(1000, 500, b"").unwrap();
    let asked = service.receive(late - 1, &frame).unwrap();
    assert!(
        matches!(asked, Asked::Request { deadline_ticks_ms, .. } if deadline_ticks_ms == late),
        "the deadline counts from when it was sent, as far as clocks may differ: {asked:?}"
    );
}

#[test]
fn a_session_takes_no_calls_when_its_time_is_over() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let end = 1000 + u64::from(sides.limits.session_ms);
    let (_, frame) = caller.request(end - 1, 500, b"").unwrap();
    assert!(caller.is_usable(end - 1));
    assert!(!caller.is_usable(end));
    assert_eq!(caller.request(end, 500, b""), Err(SayError::Over));
    assert_eq!(
        service.receive(end + LATE_MS_MAX + 1, &frame),
        Err(FrameError::Expired)
    );
    service.receive(end, &frame).unwrap();
}

#[test]
fn announcements_and_openings_hold_for_their_time_only() {
    let sides = Sides::new();
    let verify =
        |at: u64| Announcement::verify(&sides.announced, CHAIN, SERVICE, at, &|_| true).map(|_| ());
    let end = START_MS + sides.limits.announcement_ms;
    assert_eq!(verify(end - 1), Ok(()));
    assert_eq!(verify(end), Err(FrameError::Expired));
    assert_eq!(verify(START_MS - SKEW_MS_MAX), Ok(()));
    assert_eq!(verify(START_MS - SKEW_MS_MAX - 1), Err(FrameError::Expired));
    let (_, opening) = sides.opening(now(SKEW_MS_MAX + 1));
    let refused = sides.accept(now(0), &opening).err().unwrap();
    assert_eq!(refused.why, NotAcceptedWhy::Frame(FrameError::Expired));
    assert_eq!(refused.answer, None, "its time may come");
    let (caller, opening) = sides.opening(now(0));
    let refused = sides.accept(now(SKEW_MS_MAX + 1), &opening).err().unwrap();
    assert_eq!(refused.why, NotAcceptedWhy::Frame(FrameError::Expired));
    assert!(matches!(
        caller.receive(&refused.answer.unwrap()),
        Ok(Answered::Goodbye {
            why: Parting::Clock,
            ..
        })
    ));
    // The key of an announcement that has ended is gone: what was opened under it stays closed.
    let late = now(sides.limits.announcement_ms + SKEW_MS_MAX);
    let (_, opening) = sides.opening(late);
    let refused = sides.accept(late, &opening).err().unwrap();
    assert_eq!(
        refused.why,
        NotAcceptedWhy::Frame(FrameError::Elsewhere {
            what: "announcement"
        })
    );
}

#[test]
fn a_caller_that_may_not_call_is_told_so_sealed() {
    let sides = Sides::new();
    let (caller, opening) = sides.opening(now(0));
    let denied = identity(2).id();
    let refused = sides
        .sessions
        .accept(now(0), &opening, &|id| *id != denied)
        .err()
        .unwrap();
    assert_eq!(refused.why, NotAcceptedWhy::Denied);
    let answer = refused.answer.unwrap();
    let mut other = answer.to_vec();
    // Another reason is another key; the reason stands at byte 25.
    other[25] = 2;
    assert_eq!(caller.receive(&other), Err(FrameError::Forged));
    assert_eq!(
        caller.receive(&answer),
        Ok(Answered::Goodbye {
            last_call: CallId(0),
            why: Parting::Denied
        })
    );
}
