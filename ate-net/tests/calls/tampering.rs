//! Every byte of every message counts.

use ate_net::calls::{Announcement, Fault, Parting};

use crate::support::{CHAIN, SERVICE, START_MS, Sides, now};

/// Hands every message that differs in one bit, or is cut or longer, to `take`, which says whether it was believed; and at last the message itself.
fn check(message: &[u8], mut take: impl FnMut(&[u8]) -> bool) {
    for at in 0..message.len() {
        let mut changed = message.to_vec();
        changed[at] ^= 1 << (at % 8);
        assert!(!take(&changed), "byte {at} of {} changed", message.len());
    }
    let step = (message.len() / 200).max(1);
    for length in (0..message.len()).step_by(step) {
        assert!(!take(&message[..length]), "cut to {length}");
    }
    assert!(!take(&[message, &[0]].concat()), "one byte more");
    assert!(take(message), "the message itself");
}

#[test]
fn a_changed_announcement_is_refused() {
    let sides = Sides::new();
    check(&sides.announced, |bytes| {
        Announcement::verify(bytes, CHAIN, SERVICE, START_MS, &|_| true).is_ok()
    });
}

#[test]
fn a_changed_opening_is_refused() {
    let sides = Sides::new();
    let (_, opening) = sides.opening(now(0));
    check(&opening, |bytes| sides.accept(now(0), bytes).is_ok());
    assert_eq!(sides.sessions.session_count(), 1);
}

#[test]
fn a_changed_request_cancellation_or_wish_for_more_is_refused() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (call, request) = caller.request(1000, 500, b"a body of some length").unwrap();
    let believed = |bytes: &[u8]| service.receive(1000, bytes).is_ok();
    check(&request, believed);
    check(&caller.credit(call, 3).unwrap(), believed);
    check(&caller.cancel(call).unwrap(), believed);
}

#[test]
fn a_changed_answer_or_goodbye_is_refused() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let believed = |bytes: &[u8]| caller.receive(bytes).is_ok();
    let ask = || {
        let (call, request) = caller.request(1000, 500, b"").unwrap();
        service.receive(1000, &request).unwrap();
        call
    };
    let (one, two) = (ask(), ask());
    check(&service.chunk(one, b"a piece").unwrap(), believed);
    check(&service.end(one, b"the end").unwrap(), believed);
    let fault = Fault::Handler(b"no".as_slice().into());
    check(&service.fail(two, &fault).unwrap(), believed);
    check(&service.goodbye(Parting::Closing).unwrap(), believed);
}

#[test]
fn a_changed_refusal_is_refused() {
    let sides = Sides::new();
    let (caller, opening) = sides.opening(now(0));
    let refused = sides.sessions.accept(now(0), &opening, &|_| false).err();
    let answer = refused.unwrap().answer.unwrap();
    check(&answer, |bytes| caller.receive(bytes).is_ok());
}
