//! Limits against a model that keeps everything, and the ways around them that do not work.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ate_crypto::Hash;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const SLOW: Rate = Rate::per_second(2, 4);

fn who(number: u8) -> KeyId {
    KeyId([number; 32])
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let buckets = TokenBuckets::new(SLOW, 8);
    for _ in 0..4 {
        assert_eq!(buckets.take(1, 1, 1000), Ok(()));
    }
    assert_eq!(buckets.take(1, 1, 1000), Err(Some(500)));
    assert_eq!(buckets.take(1, 1, 1499), Err(Some(1)));
    assert_eq!(buckets.take(1, 1, 1500), Ok(()));
    assert_eq!(buckets.take(2, 4, 1500), Ok(()), "another key has its own");
    assert_eq!(
        buckets.take(3, 5, 1500),
        Err(None),
        "more than there ever is"
    );
    assert_eq!(buckets.take(1, 4, u64::MAX), Ok(()));
}

#[test]
fn a_rate_of_nothing_refuses_everything_for_ever() {
    let none = TokenBuckets::new(Rate::per_second(0, 0), 8);
    assert_eq!(none.take(1, 1, 0), Err(None));
    let once = TokenBuckets::new(Rate::per_second(0, 1), 8);
    assert_eq!(once.take(1, 1, 0), Ok(()));
    assert_eq!(once.take(1, 1, u64::MAX), Err(None));
    assert_eq!(once.charge(1, 1, 0), u64::MAX);
}

#[test]
fn a_clock_that_jumps_back_gives_nothing_away() {
    let buckets = TokenBuckets::new(SLOW, 8);
    assert_eq!(buckets.take(1, 4, 10_000), Ok(()));
    assert_eq!(buckets.take(1, 1, 0), Err(Some(500)));
    assert_eq!(buckets.take(1, 1, 10_499), Err(Some(1)));
    assert_eq!(buckets.take(1, 1, 10_500), Ok(()));
}

#[test]
fn many_names_clear_nobodys_count() {
    let buckets = TokenBuckets::new(SLOW, 3);
    assert_eq!(buckets.take(0, 4, 0), Ok(()));
    for name in 1..1000 {
        let _ = buckets.take(name, 1, 0);
        assert!(buckets.tracked() <= 3);
    }
    assert_eq!(buckets.take(0, 1, 0), Err(Some(500)), "it still owes");
    assert_eq!(buckets.take(1, 3, 0), Ok(()), "who was there keeps its own");
    assert_eq!(
        buckets.take(1000, 1, 0),
        Err(Some(500)),
        "the new share one bucket, which is empty"
    );
    assert_eq!(
        buckets.take(1000, 4, 2000),
        Ok(()),
        "a row that owes nothing makes room"
    );
}

#[test]
fn rows_that_owe_nothing_are_given_up_first() {
    let buckets = TokenBuckets::new(SLOW, 2);
    assert_eq!(buckets.take(1, 4, 0), Ok(()));
    assert_eq!(buckets.take(2, 1, 0), Ok(()));
    assert_eq!(buckets.take(3, 4, 500), Ok(()));
    assert_eq!(
        buckets.take(1, 4, 500),
        Err(Some(1500)),
        "the first is still known"
    );
    assert_eq!(buckets.tracked(), 2);
}

#[test]
fn what_was_received_is_owed_even_beyond_the_burst() {
    let buckets = TokenBuckets::new(Rate::per_second(1000, 1000), 8);
    assert_eq!(buckets.charge(1, 1000, 0), 0);
    assert_eq!(buckets.charge(1, 5000, 0), 5000);
    assert_eq!(buckets.charge(1, 0, 4999), 1);
    assert_eq!(buckets.charge(1, u64::MAX, 4999), u64::MAX);
}

#[test]
fn permits_come_back_however_they_end() {
    let concurrent = Concurrent::new(2, 3);
    let first = concurrent.take("a").expect("there is room");
    let second = concurrent.take("a").expect("there is room");
    assert_eq!(concurrent.take("a").err(), Some(concurrent::Full::Key));
    let third = concurrent.take("b").expect("there is room");
    assert_eq!(concurrent.take("c").err(), Some(concurrent::Full::All));
    drop(first);
    assert_eq!(
        (
            concurrent.count(),
            concurrent.keys(),
            concurrent.count_of(&"a")
        ),
        (2, 2, 1)
    );
    drop((second, third));
    assert_eq!((concurrent.count(), concurrent.keys()), (0, 0));
    assert!(concurrent.try_take("c").is_some());
}

#[test]
fn an_address_is_one_party() {
    let prefix = |ip: &str| IpPrefix::from(ip.parse::<IpAddr>().unwrap());
    assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::9"));
    assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
    assert_eq!(prefix("192.0.2.1"), prefix("::ffff:192.0.2.1"));
    assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
    assert_ne!(prefix("0.0.0.0"), prefix("::"));
}

#[test]
fn one_address_cannot_take_the_handshakes_of_others() {
    let limiter = Limiter::new(Limits {
        handshakes: Rate::per_second(10, 10),
        handshakes_per_address: Rate::per_second(1, 2),
        unauthenticated_per_address: 1,
        ..Limits::default()
    });
    let bad = Some(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)));
    let held = limiter.handshake(bad, 0).unwrap();
    assert_eq!(
        limiter.handshake(bad, 0).unwrap_err().limit,
        LimitKind::AddressUnauthenticated
    );
    drop(held);
    for _ in 0..100 {
        let hit = limiter.handshake(bad, 0).unwrap_err();
        assert_eq!(
            (hit.limit, hit.retry_ms),
            (LimitKind::AddressHandshakes, Some(1000))
        );
    }
    let others = (0..9u128).map(|net| IpAddr::from(Ipv6Addr::from_bits(net << 64)));
    let permits: Vec<_> = others.map(|ip| limiter.handshake(Some(ip), 0)).collect();
    assert!(permits.iter().all(Result::is_ok), "{permits:?}");
    assert_eq!(
        limiter.handshake(None, 0).unwrap_err().limit,
        LimitKind::Handshakes
    );
}

#[test]
fn connections_are_limited_by_address_and_in_all() {
    let limiter = Limiter::new(Limits {
        connections: 3,
        connections_per_address: 2,
        ..Limits::default()
    });
    let one = Some(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)));
    let _held = (
        limiter.connection(one).unwrap(),
        limiter.connection(one).unwrap(),
    );
    assert_eq!(
        limiter.connection(one).unwrap_err().limit,
        LimitKind::AddressConnections
    );
    let _other = limiter.connection(None).unwrap();
    let hit = limiter
        .connection(Some(Ipv4Addr::LOCALHOST.into()))
        .unwrap_err();
    assert_eq!(hit.to_string(), "over the limit of connections");
}

#[test]
fn identities_and_chains_have_their_own_budgets() {
    let limiter = Limiter::new(Limits {
        requests: Rate::per_second(1, 1),
        streams_per_identity: 1,
        calls_per_identity: 1,
        chains_per_identity: Rate::per_second(1, 2),
        commit_bytes: Rate {
            tokens: 86_400_000,
            per_ms: DAY_MS,
            burst: 86_400_000,
        },
        ..Limits::default()
    });
    assert!(limiter.request(who(1), 0).is_ok());
    assert_eq!(
        limiter.request(who(1), 0).unwrap_err().to_string(),
        "over the limit of requests; try again in 1000 ms"
    );
    assert!(limiter.request(who(2), 0).is_ok());
    let _held = (
        limiter.stream(who(1)).unwrap(),
        limiter.call(who(1)).unwrap(),
    );
    assert_eq!(
        limiter.stream(who(1)).unwrap_err().limit,
        LimitKind::Streams
    );
    assert_eq!(limiter.call(who(1)).unwrap_err().limit, LimitKind::Calls);
    assert!(limiter.chain(who(1), 0).is_ok());
    assert!(limiter.chain(who(1), 0).is_ok());
    assert_eq!(
        limiter.chain(who(1), 0).unwrap_err().limit,
        LimitKind::Chains
    );
    let chain = ChainId(Hash([1; 32]));
    assert!(limiter.commit(chain, 86_000_000, 0).is_ok());
    assert_eq!(
        limiter.commit(chain, 400_010, 0).unwrap_err().retry_ms,
        Some(10)
    );
    assert!(
        limiter.commit(chain, 400_000, 0).is_ok(),
        "what was refused was not counted"
    );
    assert_eq!(limiter.received(who(1), 1, 0), 0);
    assert!(limiter.sent(who(1), 256 << 20, 0) >= 2000);
}

#[test]
fn every_limit_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> =
        LimitKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), LimitKind::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// With room for all keys, the table does what a map of buckets does that never forgets.
    #[test]
    fn forgetting_changes_nothing(
        rate in (0u64..5, 1u64..2000, 0u64..8),
        steps in prop::collection::vec((0u8..6, 0u64..6, 0u64..1500), 1..200),
    ) {
        let rate = Rate { tokens: rate.0, per_ms: rate.1, burst: rate.2 };
        let buckets = TokenBuckets::new(rate, 6);
        let mut model: BTreeMap<u8, (u128, u64)> = BTreeMap::new();
        let mut now = 0;
        for (key, tokens, later) in steps {
            now += later;
            let (debt, at) = model.entry(key).or_default();
            *debt = debt.saturating_sub(u128::from(now - *at) * u128::from(rate.tokens));
            *at = now;
            let after = *debt + u128::from(tokens * rate.per_ms);
            let fits = after <= u128::from(rate.burst * rate.per_ms);
            let answer = buckets.take(key, tokens, now);
            prop_assert_eq!(answer.is_ok(), fits);
            if fits {
                *debt = after;
            } else if let Err(Some(wait)) = answer {
                // The wait is enough, and one ms less is not.
                let short = after - u128::from(rate.burst * rate.per_ms);
                prop_assert!(u128::from(wait * rate.tokens) >= short);
                prop_assert!(u128::from((wait - 1) * rate.tokens) < short);
            }
        }
    }

    /// Whatever the number of names, nobody gets more than every row's burst and rate, and one more for all who have none.
    #[test]
    fn names_do_not_multiply_what_is_given(
        rows in 1usize..5,
        steps in prop::collection::vec((any::<u16>(), 1u64..4, 0u64..50), 1..300),
    ) {
        let buckets = TokenBuckets::new(SLOW, rows);
        let (mut now, mut given) = (0u64, 0u64);
        for (key, tokens, later) in steps {
            now += later;
            if buckets.take(key, tokens, now).is_ok() {
                given += tokens;
            }
            prop_assert!(buckets.tracked() <= rows);
            let budgets = rows as u64 + 1;
            prop_assert!(given * 1000 <= budgets * (4 * 1000 + 2 * now));
        }
    }
}
