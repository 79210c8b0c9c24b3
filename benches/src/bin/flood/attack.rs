//! The flood: from many addresses of the loopback network, each doing what it can within the pace.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ate::net::{ChainAddress, Connection, Endpoint, QuicLimits, QuicTransport, Transport as _};
use ate::{Identity, Seed};
use ate_benches::Mix;
use ate_crypto::Purpose;

use crate::Failed;

/// What was done.
#[derive(Default)]
struct Done {
    packets: AtomicU64,
    refused: AtomicU64,
    silent: AtomicU64,
    greeted: AtomicU64,
    streams: AtomicU64,
    stop: AtomicBool,
}

/// Floods until its input ends, then tells what it did.
pub(crate) fn run(url: &str, pace: u64) -> Result<(), Failed> {
    let address: ChainAddress = url.parse()?;
    let node = address.node().node().ok_or("the address names its key")?;
    let to = address.node().endpoint(node);
    let done = Arc::new(Done::default());
    let garbage = {
        let (to, done) = (format!("{}:{}", to.host, to.port), done.clone());
        std::thread::spawn(move || packets(&to, pace, &done))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let floods = {
        let (to, done) = (to.clone(), done.clone());
        std::thread::spawn(move || runtime.block_on(floods(&to, pace, &done)))
    };
    println!("flooding");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    done.stop.store(true, Ordering::Relaxed);
    drop(garbage.join());
    drop(floods.join());
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "flood: {} false packets, {} connections that said nothing, {} refused, {} greeted, {} streams of garbage",
        of(&done.packets),
        of(&done.silent),
        of(&done.refused),
        of(&done.greeted),
        of(&done.streams)
    );
    Ok(())
}

/// Long headers of QUIC version 1 with noise behind, from one address after another.
fn packets(to: &str, pace: u64, done: &Done) {
    let sockets: Vec<UdpSocket> = (2..40)
        .filter_map(|last| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).ok())
        .collect();
    let mut random = Mix(1);
    let mut packet = [0_u8; 1200];
    while !done.stop.load(Ordering::Relaxed) {
        for socket in sockets.iter().cycle().take((pace / 100).max(1) as usize) {
            for bytes in packet.chunks_mut(8) {
                bytes.copy_from_slice(&random.next().to_le_bytes()[..bytes.len()]);
            }
            packet[0] = 0xc0 | (packet[0] & 0x3f);
            packet[1..5].copy_from_slice(&1_u32.to_be_bytes());
            packet[5] = 8;
            packet[14] = 0;
            let is_sent = socket.send_to(&packet, to).is_ok();
            done.packets
                .fetch_add(u64::from(is_sent), Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One address after another dials; odd ones say nothing, even ones greet and send garbage.
async fn floods(to: &Endpoint, pace: u64, done: &Arc<Done>) {
    let every = Duration::from_micros(1_000_000 * 20 / pace.max(1));
    let mut tasks = tokio::task::JoinSet::new();
    let mut dials = Vec::new();
    for last in 40..240 {
        let from = SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0);
        if let Ok(transport) = QuicTransport::client_at(from, &QuicLimits::default()) {
            dials.push(Arc::new(transport));
        }
    }
    let mut number = 0_usize;
    while !done.stop.load(Ordering::Relaxed) && !dials.is_empty() {
        while tasks.try_join_next().is_some() {}
        if tasks.len() < 1500 {
            let transport = dials[number % dials.len()].clone();
            tasks.spawn(dial(transport, to.clone(), number, done.clone()));
            number += 1;
        }
        tokio::time::sleep(every).await;
    }
}

async fn dial(transport: Arc<QuicTransport>, to: Endpoint, number: usize, done: Arc<Done>) {
    let Ok(connection) = transport.connect(&to).await else {
        done.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if !number.is_multiple_of(4) {
        done.silent.fetch_add(1, Ordering::Relaxed);
        connection.closed().await;
        return;
    }
    if greet(&*connection, &to, number as u64).await.is_none() {
        return;
    }
    done.greeted.fetch_add(1, Ordering::Relaxed);
    let mut random = Mix(number as u64);
    while !done.stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = connection.open().await else {
            return;
        };
        let mut bytes = vec![0; 1 + (random.next() % 4000) as usize];
        bytes.fill_with(|| random.next() as u8);
        match random.next() % 4 {
            // It is what it says: a request, in its length.
            0 => bytes[0] = 200,
            1 => bytes.splice(0..1, [100, 0, 0, 0, 1]).for_each(drop),
            2 => bytes.splice(0..1, [0, 0, 0, 2, 5]).for_each(drop),
            _ => {}
        }
        if stream.send.write(bytes.into()).await.is_err() {
            return;
        }
        done.streams.fetch_add(1, Ordering::Relaxed);
        if random.next().is_multiple_of(8) {
            // Left open: the node is to end it.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(30)).await;
                drop(stream);
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says who it is, as any client does.
async fn greet(connection: &dyn Connection, to: &Endpoint, number: u64) -> Option<()> {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let identity = Identity::from_seed(&Seed::from_bytes(seed));
    let content = [&connection.binding()[..], &to.node.0.0].concat();
    let signature = identity.sign(Purpose::Channel, &content);
    // Request 0, version 1, then two strings of bytes.
    let mut hello = vec![0, 1];
    for bytes in [&identity.who().to_bytes()[..], signature.as_bytes()] {
        let length = bytes.len();
        hello.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        hello.extend_from_slice(bytes);
    }
    let mut message = (hello.len() as u32).to_le_bytes().to_vec();
    message.push(1);
    message.extend(hello);
    let mut stream = connection.open().await.ok()?;
    stream.send.write(message.into()).await.ok()?;
    stream.send.finish().ok()?;
    let answer = stream.receive.read(4096).await.ok()??;
    (answer.get(4) == Some(&2)).then_some(())
}
