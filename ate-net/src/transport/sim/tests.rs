//! Time is paused: every duration below is exact and costs nothing.

use tokio::time::Instant;

use super::*;
use crate::transport::{ReceiveHalf, Stream};

struct World {
    network: SimNetwork,
    listener: SimListener,
    transport: SimTransport,
    to: Endpoint,
}

fn world(seed: u64, conditions: SimConditions) -> World {
    let network = SimNetwork::new(seed, conditions);
    let node = NodeId::of_key(b"a node");
    let listener = network.listen("b", node).expect("nobody else answers");
    World {
        transport: network.transport("a"),
        to: listener.endpoint(),
        network,
        listener,
    }
}

impl World {
    async fn pair(&self) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
        let (near, far) = tokio::join!(self.transport.connect(&self.to), self.listener.accept());
        (near.expect("it answers"), far.expect("it is open"))
    }
}

async fn send(connection: &Arc<dyn Connection>, bytes: &'static [u8]) -> Stream {
    let mut stream = connection.open().await.expect("it stands");
    let bytes = Bytes::from_static(bytes);
    stream.send.write(bytes).await.expect("it stands");
    stream
}

async fn rest(receive: &mut dyn ReceiveHalf) -> Result<Vec<u8>, TransportError> {
    let mut all = Vec::new();
    while let Some(bytes) = receive.read(4096).await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// What was read when: on ten streams at once, with everything that can go wrong but a break.
async fn trace(seed: u64) -> Vec<(u128, u8, usize)> {
    let conditions = SimConditions {
        loss_per_mille: 100,
        duplicates_per_mille: 500,
        bytes_per_second: Some(500_000),
        ..SimConditions::default()
    };
    let world = world(seed, conditions);
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let near = world
        .transport
        .connect(&world.to)
        .await
        .expect("it answers");
    // The copy of a dial may be first.
    let far = loop {
        let far = world.listener.accept().await.expect("it is open");
        if far.binding() == near.binding() {
            break far;
        }
    };
    let mut readers = Vec::new();
    for number in 0..10_u8 {
        let mut stream = near.open().await.expect("it stands");
        tokio::spawn(async move {
            let bytes = Bytes::from(vec![number; 30_000]);
            stream.send.write(bytes).await.expect("it stands");
            stream.send.finish().expect("it stands");
        });
    }
    for _ in 0..10 {
        let mut stream = far.accept().await.expect("it stands");
        let seen = Arc::clone(&seen);
        readers.push(tokio::spawn(async move {
            while let Some(bytes) = stream.receive.read(10_000).await.expect("it stands") {
                let at = start.elapsed().as_micros();
                seen.lock().push((at, bytes[0], bytes.len()));
            }
        }));
    }
    for reader in readers {
        reader.await.expect("it ends");
    }
    let seen = seen.lock();
    seen.clone()
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_one_run() {
    let mut runs = BTreeSet::new();
    for seed in 0..10 {
        let run = trace(seed).await;
        assert_eq!(
            run.iter().map(|(_, _, bytes)| bytes).sum::<usize>(),
            300_000
        );
        assert_eq!(run, trace(seed).await, "seed {seed}");
        runs.insert(run);
    }
    assert_eq!(runs.len(), 10, "each seed gives another run");
}

/// Who waits for the same thing is woken in the order of waiting, not by chance.
#[tokio::test(start_paused = true)]
async fn all_that_wait_for_an_end_hear_of_it_in_one_order() {
    let world = world(1, SimConditions::default());
    let (near, _far) = world.pair().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..50 {
        let (near, seen) = (Arc::clone(&near), Arc::clone(&seen));
        waiting.push(tokio::spawn(async move {
            near.closed().await;
            seen.lock().push(number);
        }));
        tokio::task::yield_now().await;
    }
    world.network.break_between("a", "b");
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(*seen.lock(), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_in_a_partition_arrives_after_it() {
    let world = world(1, SimConditions::default());
    let (near, far) = world.pair().await;
    world.network.partition("b", "a");
    let start = Instant::now();
    let mut stream = send(&near, b"late").await;
    stream.send.finish().unwrap();
    sleep(Duration::from_secs(20)).await;
    assert!(timeout(Duration::ZERO, far.accept()).await.is_err());
    world.network.heal("a", "b");
    let mut got = far.accept().await.unwrap();
    assert_eq!(rest(&mut *got.receive).await.unwrap(), b"late");
    assert!(start.elapsed() < Duration::from_secs(21));
}

#[tokio::test(start_paused = true)]
async fn a_long_partition_breaks_connections_on_both_sides() {
    let world = world(1, SimConditions::default());
    let (near, far) = world.pair().await;
    let start = Instant::now();
    world.network.partition("a", "b");
    for end in [near.closed().await, far.closed().await] {
        assert!(matches!(end, TransportError::Broken { .. }), "{end:?}");
    }
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(near.open().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn dialling_waits_for_a_partition_to_heal_but_not_for_ever() {
    let world = world(1, SimConditions::default());
    world.network.partition("a", "b");
    let start = Instant::now();
    let answer = world.transport.connect(&world.to).await.map(|_| ());
    assert!(
        matches!(answer, Err(TransportError::Unreachable { .. })),
        "{answer:?}"
    );
    assert_eq!(start.elapsed().as_secs(), 10);
    let heal = async {
        sleep(Duration::from_secs(5)).await;
        world.network.heal_all();
    };
    let (answer, ()) = tokio::join!(world.transport.connect(&world.to), heal);
    assert!(answer.is_ok());
    // A third host was never cut off.
    world.network.partition("a", "b");
    let other = world.network.transport("c");
    assert!(other.connect(&world.to).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_everything_of_the_host_and_loses_what_is_under_way() {
    let mut soon = 0;
    for seed in 0..20 {
        let world = world(seed, SimConditions::default());
        let (near, far) = world.pair().await;
        let _first = send(&near, b"there").await;
        let mut got = far.accept().await.unwrap();
        let _second = send(&near, b"under way").await;
        let start = Instant::now();
        world.network.crash("b");
        let end = far.closed().await;
        assert!(matches!(end, TransportError::Broken { .. }), "{end:?}");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(far.accept().await.is_err(), "it never arrived");
        assert!(world.listener.accept().await.is_none());
        assert!(rest(&mut *got.receive).await.is_err());
        let end = near.closed().await;
        assert!(matches!(end, TransportError::Broken { .. }), "{end:?}");
        soon += usize::from(start.elapsed() < Duration::from_secs(1));
        // It comes back where it was.
        assert!(world.transport.connect(&world.to).await.is_err());
        let listener = world.network.listen("b", world.to.node).unwrap();
        assert_eq!(listener.endpoint(), world.to);
        let (near, far) = tokio::join!(world.transport.connect(&world.to), listener.accept());
        assert_eq!(near.unwrap().binding(), far.unwrap().binding());
    }
    assert!((1..20).contains(&soon), "{soon} of 20 found out at once");
}

#[tokio::test(start_paused = true)]
async fn total_loss_breaks_a_connection() {
    let world = world(1, SimConditions::default());
    let (near, far) = world.pair().await;
    world.network.set_conditions(SimConditions {
        loss_per_mille: 1000,
        ..SimConditions::default()
    });
    let start = Instant::now();
    let _stream = send(&near, b"lost").await;
    let end = far.closed().await;
    assert!(matches!(end, TransportError::Broken { .. }), "{end:?}");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_narrow_way_takes_its_time() {
    let conditions = SimConditions {
        bytes_per_second: Some(100_000),
        ..SimConditions::default()
    };
    let world = world(1, conditions);
    let (near, far) = world.pair().await;
    let start = Instant::now();
    let mut stream = near.open().await.unwrap();
    let write = async {
        stream.send.write(vec![1; 1_000_000].into()).await.unwrap();
        stream.send.finish().unwrap();
    };
    let read = async {
        let mut got = far.accept().await.unwrap();
        rest(&mut *got.receive).await.unwrap().len()
    };
    let ((), count) = tokio::join!(write, read);
    assert_eq!(count, 1_000_000);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_a_dial_is_a_connection_without_anybody() {
    let conditions = SimConditions {
        duplicates_per_mille: 1000,
        ..SimConditions::default()
    };
    let mut first = 0;
    for seed in 0..20 {
        let world = world(seed, conditions.clone());
        let near = world.transport.connect(&world.to).await.unwrap();
        let one = world.listener.accept().await.unwrap();
        let two = world.listener.accept().await.unwrap();
        assert_ne!(one.binding(), two.binding());
        let is_first = one.binding() != near.binding();
        first += usize::from(is_first);
        let (ghost, real) = if is_first { (one, two) } else { (two, one) };
        assert_eq!(real.binding(), near.binding());
        let end = ghost.accept().await.map(|_| ());
        assert!(matches!(end, Err(TransportError::Broken { .. })), "{end:?}");
        send(&near, b"x").await;
        assert!(real.accept().await.is_ok());
    }
    assert!((1..20).contains(&first), "{first} of 20 copies were first");
}

#[tokio::test(start_paused = true)]
async fn dials_and_streams_overtake_each_other_but_bytes_of_a_stream_do_not() {
    let (mut dials, mut streams) = (0, 0);
    for seed in 0..20 {
        let world = world(seed, SimConditions::default());
        let (one, two) = tokio::join!(
            world.transport.connect(&world.to),
            world.transport.connect(&world.to)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let first = world.listener.accept().await.unwrap();
        let second = world.listener.accept().await.unwrap();
        dials += usize::from(first.binding() != one.binding());
        let far = if first.binding() == one.binding() {
            &first
        } else {
            &second
        };
        let mut halves = vec![send(&one, b"1").await, send(&one, b"2").await];
        for half in &mut halves {
            for byte in [b"a", b"b", b"c", b"d"] {
                half.send.write(Bytes::from_static(byte)).await.unwrap();
            }
            half.send.finish().unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..2 {
            let mut stream = far.accept().await.unwrap();
            got.push(rest(&mut *stream.receive).await.unwrap());
        }
        streams += usize::from(got[0] == b"2abcd");
        got.sort_unstable();
        assert_eq!(got, [b"1abcd", b"2abcd"]);
        drop(two);
    }
    assert!((1..20).contains(&dials), "{dials} of 20");
    assert!((1..20).contains(&streams), "{streams} of 20");
}

#[tokio::test(start_paused = true)]
async fn a_hook_alters_bytes_on_their_way() {
    let world = world(1, SimConditions::default());
    let (near, far) = world.pair().await;
    world.network.alter(|passing| {
        assert_eq!((passing.from, passing.to), ("a", "b"));
        // Far shorter: the window must not run out on bytes that never arrive.
        passing.bytes.slice(..1)
    });
    let mut stream = near.open().await.unwrap();
    let write = async {
        stream.send.write(vec![1; 4_000_000].into()).await.unwrap();
        stream.send.finish().unwrap();
    };
    let read = async {
        let mut got = far.accept().await.unwrap();
        rest(&mut *got.receive).await.unwrap().len()
    };
    let ((), count) = tokio::join!(write, read);
    assert!((1..1000).contains(&count), "{count}");
    world.network.alter_nothing();
    send(&near, b"whole").await;
    let mut got = far.accept().await.unwrap();
    assert_eq!(
        got.receive.read(9).await.unwrap().unwrap().as_ref(),
        b"whole"
    );
}

#[tokio::test(start_paused = true)]
async fn breaking_between_two_hosts_leaves_others_alone() {
    let world = world(1, SimConditions::default());
    let (near, far) = world.pair().await;
    let other = world
        .network
        .transport("c")
        .connect(&world.to)
        .await
        .unwrap();
    let _far = world.listener.accept().await.unwrap();
    world.network.break_between("b", "a");
    assert!(matches!(near.closed().await, TransportError::Broken { .. }));
    assert!(matches!(far.closed().await, TransportError::Broken { .. }));
    send(&other, b"x").await;
    assert!(
        world.transport.connect(&world.to).await.is_ok(),
        "they may dial again"
    );
}

#[tokio::test(start_paused = true)]
async fn hosts_have_addresses_of_their_own() {
    let world = world(1, SimConditions::default());
    let (near, far) = world.pair().await;
    assert_eq!(near.peer(), Some(Ipv4Addr::new(10, 0, 0, 0).into()));
    assert_eq!(far.peer(), Some(Ipv4Addr::new(10, 0, 0, 1).into()));
}
