//! What is kept is bounded, and who gives way to whom.

use ate_net::calls::{
    Answered, Asked, CHUNK_BYTES_MAX, CallLimits, Fault, NotAcceptedWhy, Parting, SayError,
};

use crate::support::{Sides, identity, now};

fn limits(change: impl FnOnce(&mut CallLimits)) -> CallLimits {
    let mut limits = CallLimits::default();
    change(&mut limits);
    limits
}

#[test]
fn the_least_recently_used_session_gives_way_and_its_caller_is_told() {
    let sides = Sides::with(limits(|limits| limits.sessions_max = 2));
    let (one, opening) = sides.opening(now(0));
    let one_service = sides.accept(now(0), &opening).unwrap().session;
    let (_, opening) = sides.opening(now(0));
    let two_service = sides.accept(now(1), &opening).unwrap().session;
    // The first is used again, so the second is older now.
    let (call, frame) = one.request(1000, 500, b"").unwrap();
    one_service.receive(1010, &frame).unwrap();
    one.receive(&one_service.end(call, b"").unwrap()).unwrap();
    let (_, opening) = sides.opening(now(20));
    let accepted = sides.accept(now(20), &opening).unwrap();
    assert_eq!(accepted.evicted.len(), 1);
    assert_eq!(accepted.evicted[0].0, two_service.id());
    assert_eq!(sides.sessions.session_count(), 2);
    assert_eq!(two_service.goodbye(Parting::Closing), None, "it was said");
}

#[test]
fn sessions_with_open_calls_do_not_give_way() {
    let sides = Sides::with(limits(|limits| limits.sessions_max = 1));
    let (one, one_service) = sides.open();
    let (call, frame) = one.request(1000, 500, b"").unwrap();
    one_service.receive(1000, &frame).unwrap();
    let (two, opening) = sides.opening(now(0));
    let refused = sides.accept(now(0), &opening).err().unwrap();
    assert_eq!(refused.why, NotAcceptedWhy::Busy);
    assert!(matches!(
        two.receive(&refused.answer.unwrap()),
        Ok(Answered::Goodbye {
            why: Parting::Busy,
            ..
        })
    ));
    // Its caller was told that nothing was taken, so nothing of it may be taken later.
    one_service.end(call, b"").unwrap();
    assert!(sides.accept(now(0), &opening).is_err());
    let (_, opening) = sides.opening(now(0));
    assert!(sides.accept(now(0), &opening).is_ok());
}

#[test]
fn one_caller_displaces_only_itself() {
    let sides = Sides::with(limits(|limits| limits.caller_sessions_max = 2));
    let (_, opening) = sides.opening_of(&identity(5), now(0));
    let other = sides.accept(now(0), &opening).unwrap().session;
    for after in 1..10 {
        let (_, opening) = sides.opening(now(after));
        let accepted = sides.accept(now(after), &opening).unwrap();
        assert!(accepted.evicted.iter().all(|(id, _)| *id != other.id()));
    }
    assert_eq!(sides.sessions.session_count(), 3);
}

#[test]
fn openings_that_cannot_be_remembered_are_not_taken() {
    let sides = Sides::with(limits(|limits| limits.openings_max = 3));
    for _ in 0..3 {
        let (_, opening) = sides.opening(now(0));
        sides.accept(now(0), &opening).unwrap();
    }
    let (_, opening) = sides.opening(now(0));
    let refused = sides.accept(now(0), &opening).err().unwrap();
    assert_eq!((refused.why, refused.answer), (NotAcceptedWhy::Busy, None));
    let later = now(ate_net::calls::SKEW_MS_MAX + 1);
    let (_, opening) = sides.opening(later);
    sides.accept(later, &opening).unwrap();
}

#[test]
fn too_many_open_calls_are_answered_with_unavailable() {
    let mut sides = Sides::with(limits(|limits| limits.session_open_calls_max = 2));
    // The caller does not keep to it.
    sides.limits.session_open_calls_max = 100;
    let (caller, service) = sides.open();
    for _ in 0..2 {
        let (_, frame) = caller.request(1000, 500, b"").unwrap();
        assert!(matches!(
            service.receive(1000, &frame),
            Ok(Asked::Request { .. })
        ));
    }
    let (call, frame) = caller.request(1000, 500, b"").unwrap();
    let Ok(Asked::Refused { answer, .. }) = service.receive(1000, &frame) else {
        panic!("one too many");
    };
    assert_eq!(
        caller.receive(&answer),
        Ok(Answered::Failed {
            call,
            fault: Fault::Unavailable
        })
    );
    assert_eq!(service.open_calls(), 2);
}

#[test]
fn a_caller_keeps_to_its_own_limits() {
    let sides = Sides::with(limits(|limits| {
        limits.session_open_calls_max = 1;
        limits.request_bytes_max = 10;
    }));
    let (caller, _) = sides.open();
    assert_eq!(
        caller.request(1000, 500, &[0; 11]),
        Err(SayError::TooLarge { got: 11, max: 10 })
    );
    caller.request(1000, 500, &[0; 10]).unwrap();
    assert_eq!(caller.request(1000, 500, b""), Err(SayError::Full));
}

#[test]
fn a_request_that_is_too_large_for_the_service_is_answered() {
    let mut sides = Sides::with(limits(|limits| limits.request_bytes_max = 10));
    sides.limits.request_bytes_max = 100;
    let (caller, service) = sides.open();
    let (call, frame) = caller.request(1000, 500, &[0; 11]).unwrap();
    let Ok(Asked::Refused { answer, .. }) = service.receive(1000, &frame) else {
        panic!("too large");
    };
    assert_eq!(
        caller.receive(&answer),
        Ok(Answered::Failed {
            call,
            fault: Fault::TooLarge
        })
    );
}

#[test]
fn a_piece_of_an_answer_has_a_largest_size() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (call, frame) = caller.request(1000, 500, b"").unwrap();
    service.receive(1000, &frame).unwrap();
    let large = vec![1; CHUNK_BYTES_MAX + 1];
    let refused = Err(SayError::TooLarge {
        got: CHUNK_BYTES_MAX + 1,
        max: CHUNK_BYTES_MAX,
    });
    assert_eq!(service.chunk(call, &large), refused);
    assert_eq!(service.end(call, &large), refused);
    let largest = service.end(call, &large[1..]).unwrap();
    assert!(matches!(caller.receive(&largest), Ok(Answered::End { .. })));
}

#[test]
fn garbage_is_refused_and_nothing_panics() {
    use ate_crypto::{Random, SeededRandom};
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (_, frame) = caller.request(1000, 500, b"body").unwrap();
    let random = SeededRandom::new(77);
    for round in 0..20_000usize {
        let mut bytes = vec![0; round % 90];
        random.fill(&mut bytes);
        // Some get past the first checks.
        let kept = (round / 90) % 34;
        if bytes.len() > kept && round % 3 != 0 {
            bytes[..kept].copy_from_slice(&frame[..kept]);
            bytes[0] = (round % 11) as u8;
        }
        assert!(caller.receive(&bytes).is_err());
        assert!(service.receive(1000, &bytes).is_err());
        assert!(sides.accept(now(0), &bytes).is_err());
    }
    service.receive(1000, &frame).unwrap();
}
