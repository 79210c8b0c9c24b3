//! A link between clients and a node that can be cut, lose and delay datagrams, and remembers all of them.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::random::Random;

/// How often the threads look whether to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Which way a datagram went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToNode,
    ToClient,
}

/// A datagram that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) way: Way,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
struct Conditions {
    is_over: AtomicBool,
    is_cut: AtomicBool,
    lost_per_mille: AtomicU32,
    delay_ms: AtomicU32,
    seen: Mutex<Vec<Seen>>,
    random: Mutex<Random>,
}

/// A datagram on its way.
struct Passing {
    due: Instant,
    from: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// The link, until it is dropped.
pub(crate) struct Proxy {
    conditions: Arc<Conditions>,
    pub(crate) place: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn to(node: SocketAddr, seed: u64) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a port"));
        let place = socket.local_addr().expect("an address");
        let conditions = Arc::new(Conditions {
            random: Mutex::new(Random(seed)),
            ..Conditions::default()
        });
        let (sender, passing) = channel();
        let hub = Hub {
            conditions: conditions.clone(),
            front: socket,
            node,
            sender,
        };
        Self {
            threads: vec![
                std::thread::spawn(move || hub.run()),
                std::thread::spawn(move || pass(&passing)),
            ],
            conditions,
            place,
        }
    }

    /// Nothing passes any more, or again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.conditions.is_cut.store(is_cut, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self, per_mille: u32) {
        let lost = &self.conditions.lost_per_mille;
        lost.store(per_mille, Ordering::Relaxed);
    }

    pub(crate) fn delay(&self, ms: u32) {
        self.conditions.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// Everything that came, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.conditions.seen.lock().expect("no panic").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.conditions.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Conditions {
    /// Takes note of a datagram, and says when it goes on, if it does.
    #[expect(
        clippy::disallowed_methods,
        reason = "a link that delays has a clock, that of the processes at both ends"
    )]
    fn judge(&self, way: Way, bytes: &[u8]) -> Option<Instant> {
        let mut seen = self.seen.lock().expect("no panic");
        seen.push(Seen {
            way,
            bytes: bytes.to_vec(),
        });
        drop(seen);
        let lost = u64::from(self.lost_per_mille.load(Ordering::Relaxed));
        let is_lost = self.random.lock().expect("no panic").below(1000) < lost;
        if is_lost || self.is_cut.load(Ordering::Relaxed) {
            return None;
        }
        let delay = self.delay_ms.load(Ordering::Relaxed);
        Some(Instant::now() + Duration::from_millis(delay.into()))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Takes datagrams of clients; each client has a port of its own towards the node.
struct Hub {
    conditions: Arc<Conditions>,
    front: Arc<UdpSocket>,
    node: SocketAddr,
    sender: Sender<Passing>,
}

impl Hub {
    fn run(self) {
        let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut backs = Vec::new();
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        self.front.set_read_timeout(Some(LOOK_EVERY)).expect("set");
        while !self.conditions.is_over() {
            let Ok((length, client)) = self.front.recv_from(&mut buffer) else {
                continue;
            };
            let back = clients.entry(client).or_insert_with(|| {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a port"));
                back.set_read_timeout(Some(LOOK_EVERY)).expect("set");
                let answers = Answers {
                    conditions: self.conditions.clone(),
                    back: back.clone(),
                    front: self.front.clone(),
                    client,
                    sender: self.sender.clone(),
                };
                backs.push(std::thread::spawn(move || answers.run()));
                back
            });
            let bytes = &buffer[..length];
            if let Some(due) = self.conditions.judge(Way::ToNode, bytes) {
                let passing = Passing {
                    due,
                    from: back.clone(),
                    to: self.node,
                    bytes: bytes.to_vec(),
                };
                drop(self.sender.send(passing));
            }
        }
        for back in backs {
            drop(back.join());
        }
    }
}

/// Takes what the node says to one client.
struct Answers {
    conditions: Arc<Conditions>,
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    sender: Sender<Passing>,
}

impl Answers {
    fn run(self) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while !self.conditions.is_over() {
            // An error also says that nobody listened there a moment ago.
            let Ok((length, _)) = self.back.recv_from(&mut buffer) else {
                continue;
            };
            let bytes = &buffer[..length];
            if let Some(due) = self.conditions.judge(Way::ToClient, bytes) {
                let passing = Passing {
                    due,
                    from: self.front.clone(),
                    to: self.client,
                    bytes: bytes.to_vec(),
                };
                drop(self.sender.send(passing));
            }
        }
    }
}

/// Sends each datagram when it is due, in the order in which they came.
#[expect(
    clippy::disallowed_methods,
    reason = "a link that delays has a clock, that of the processes at both ends"
)]
fn pass(passing: &Receiver<Passing>) {
    while let Ok(next) = passing.recv() {
        std::thread::sleep(next.due.saturating_duration_since(Instant::now()));
        // As on any link, nobody may be there.
        drop(next.from.send_to(&next.bytes, next.to));
    }
}
