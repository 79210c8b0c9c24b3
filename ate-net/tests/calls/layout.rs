//! The bytes are those of `docs/calls.md`.

use ate_crypto::{Purpose, Signature, Who, sha256};
use ate_net::calls::{ANNOUNCEMENT_BYTES_MAX, OPENING_BYTES_MAX, Parting};

use crate::support::{CHAIN, SERVICE, START_MS, Sides, identity, now};

const N: usize = SERVICE.len();

fn tagged(tag: &str, parts: &[&[u8]]) -> Vec<u8> {
    let tag = [&[tag.len() as u8][..], tag.as_bytes()].concat();
    [&[&tag[..]], parts].concat().concat()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// The digest of the announcement: the hash of what its signature covers.
fn digest(announced: &[u8]) -> [u8; 32] {
    let content = &announced[..4484 + N];
    sha256(&[&tagged("ATE-call-announcement-v1", &[content])]).0
}

#[test]
fn an_announcement_is_laid_out_as_told() {
    let sides = Sides::new();
    let bytes = &sides.announced[..];
    assert_eq!(bytes.len(), 4484 + N + 3373);
    assert_eq!(bytes[..2], [1, 1]);
    assert_eq!(bytes[2..34], CHAIN.0.0);
    assert_eq!(bytes[34] as usize, N);
    assert_eq!(bytes[35..35 + N], *SERVICE.as_bytes());
    assert_eq!(bytes[35 + N..51 + N], sides.announcement.id().0);
    assert_eq!(u64_at(bytes, 51 + N), START_MS);
    let end = START_MS + sides.limits.announcement_ms;
    assert_eq!(u64_at(bytes, 59 + N), end);
    let who = Who::from_bytes(&bytes[1283 + N..4484 + N]).unwrap();
    assert_eq!(who, *identity(1).who());
    let signature = Signature::from_slice(&bytes[4484 + N..]).unwrap();
    let content = tagged("ATE-call-announcement-v1", &[&bytes[..4484 + N]]);
    who.verify(Purpose::Call, &content, &signature).unwrap();
    assert_eq!(Purpose::Call.id(), 3);
    assert!(bytes.len() <= ANNOUNCEMENT_BYTES_MAX);
}

#[test]
fn an_opening_is_laid_out_as_told() {
    let sides = Sides::new();
    let (caller, bytes) = sides.opening(now(5));
    assert_eq!(bytes.len(), 4433 + N + 3373);
    assert_eq!(bytes[..3], [1, 1, 1]);
    assert_eq!(bytes[3..19], caller.id().0);
    assert_eq!(bytes[19..51], CHAIN.0.0);
    assert_eq!(bytes[51] as usize, N);
    assert_eq!(bytes[52..52 + N], *SERVICE.as_bytes());
    assert_eq!(bytes[52 + N..84 + N], identity(1).id().0);
    assert_eq!(bytes[84 + N..100 + N], sides.announcement.id().0);
    assert_eq!(u64_at(&bytes, 100 + N), START_MS + 5);
    assert_eq!(u32_at(&bytes, 108 + N), sides.limits.session_ms);
    let who = Who::from_bytes(&bytes[1232 + N..4433 + N]).unwrap();
    assert_eq!(who, *sides.caller.who());
    let signature = Signature::from_slice(&bytes[4433 + N..]).unwrap();
    let digest = digest(&sides.announced);
    let content = tagged("ATE-call-opening-v1", &[&bytes[..4433 + N], &digest]);
    who.verify(Purpose::Call, &content, &signature).unwrap();
    assert!(bytes.len() <= OPENING_BYTES_MAX);
}

#[test]
fn frames_are_laid_out_as_told() {
    let sides = Sides::new();
    let (caller, service) = sides.open();
    let (one, request) = caller.request(1007, 500, b"body").unwrap();
    let check = |frame: &[u8], kind: u8, call: u64, numbers: &[u32], body: usize| {
        assert_eq!(frame[0], kind);
        assert_eq!(frame[1..17], caller.id().0);
        assert_eq!(u64_at(frame, 17), call, "kind {kind}");
        for (at, number) in numbers.iter().enumerate() {
            assert_eq!(u32_at(frame, 25 + 4 * at), *number, "kind {kind}");
        }
        assert_eq!(frame.len(), 25 + 4 * numbers.len() + body + 16);
    };
    check(&request, 2, 1, &[7, 500], 4);
    service.receive(1007, &request).unwrap();
    check(&caller.credit(one, 4).unwrap(), 4, 1, &[2, 12], 0);
    check(&caller.cancel(one).unwrap(), 3, 1, &[], 0);
    check(&service.chunk(one, b"piece").unwrap(), 5, 1, &[0], 5);
    check(&service.end(one, b"end").unwrap(), 6, 1, &[1], 3);
    let (two, request) = caller.request(1007, 500, b"").unwrap();
    service.receive(1007, &request).unwrap();
    let fault = ate_net::calls::Fault::Handler(b"no".as_slice().into());
    check(&service.fail(two, &fault).unwrap(), 7, 2, &[0], 1 + 2);
    check(&service.goodbye(Parting::Closing).unwrap(), 8, 2, &[], 1);
    let (_, opening) = sides.opening(now(0));
    let refused = sides.sessions.accept(now(0), &opening, &|_| false).err();
    let refusal = refused.unwrap().answer.unwrap();
    assert_eq!((refusal[0], u64_at(&refusal, 17)), (9, 0));
    assert_eq!(u32_at(&refusal, 25), 1);
    assert_eq!(refusal.len(), 25 + 4 + 16);
}
