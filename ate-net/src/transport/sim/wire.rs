//! What is under way on one simulated connection, and the task that brings it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Inner;
use crate::transport::TransportError;
use crate::transport::link::{Carrier, Frame, Link, Side};

/// Bytes that a frame costs beside its content.
const OVERHEAD_BYTES: u64 = 40;
/// Pipes of which the latest arrival is remembered, before those that are over are forgotten.
const REMEMBERED_MAX: usize = 1024;
/// What a side hears when nothing came for too long.
pub(super) const SILENCE: &str = "nothing came for too long";

/// The way between two hosts, in both directions.
pub(super) struct Wire {
    network: Arc<Inner>,
    /// The dialler's, then the listener's.
    hosts: [String; 2],
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// By the time of arrival, then by the order of sending.
    events: BTreeMap<(Instant, u64), Event>,
    sent: u64,
    /// When the latest frame of a pipe arrives at a side: no later one may overtake it.
    latest: BTreeMap<(bool, u64), Instant>,
    /// When the way to a side is free for the next byte.
    free: [Option<Instant>; 2],
}

enum Event {
    Frame(Side, Frame),
    /// A side finds out that the connection is no more.
    Lost(Side),
    /// Both do.
    Broken,
}

impl Wire {
    pub(super) fn new(network: Arc<Inner>, hosts: [String; 2]) -> Arc<Self> {
        Arc::new(Self {
            network,
            hosts,
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn put(&self, at: Instant, event: Event) {
        let mut state = self.state.lock();
        state.sent += 1;
        let number = state.sent;
        state.events.insert((at, number), event);
        drop(state);
        self.changed.notify_one();
    }

    /// When a frame that is sent now arrives; `None`: it is lost again and again until both sides give up.
    fn arrival(&self, to: Side, frame: &Frame) -> Option<Instant> {
        let conditions = self.network.conditions();
        let now = Instant::now();
        let bytes = OVERHEAD_BYTES
            + match frame {
                Frame::Data { bytes, .. } => bytes.len() as u64,
                _ => 0,
            };
        let mut state = self.state.lock();
        let leaves = state.free[to as usize].map_or(now, |free| free.max(now));
        let leaves = leaves + conditions.time_of(bytes);
        state.free[to as usize] = Some(leaves);
        let arrives = leaves + self.network.delay(&conditions)?;
        let Some(pipe) = frame.pipe() else {
            return Some(arrives);
        };
        if state.latest.len() >= REMEMBERED_MAX {
            state.latest.retain(|_, at| *at > now);
        }
        let key = (to == Side::Listener, pipe);
        let latest = state.latest.entry(key).or_insert(arrives);
        *latest = arrives.max(*latest);
        Some(*latest)
    }

    /// The host of one side is no more. What is under way is lost; the other side finds out now, soon or late.
    pub(super) fn crash(self: &Arc<Self>, link: &Arc<Link>, host: &str) {
        let lost = std::mem::take(&mut self.state.lock().events);
        for side in [Side::Dialler, Side::Listener] {
            let why = "the host crashed".to_owned();
            if self.hosts[side as usize] == host {
                link.end(side, TransportError::Broken { why });
            } else {
                let conditions = self.network.conditions();
                let at_once = self.network.chance.hits(500);
                let delay = self.network.delay(&conditions).filter(|_| at_once);
                let delay = delay.unwrap_or(conditions.idle);
                self.put(Instant::now() + delay, Event::Lost(side));
            }
        }
        drop(lost);
    }

    /// Brings everything, until the connection has ended on both sides.
    pub(super) async fn run(self: Arc<Self>, link: Arc<Link>) {
        let pair = super::pair(&self.hosts[0], &self.hosts[1]);
        let mut cut_since = None;
        let mut resumes = Instant::now();
        loop {
            let conditions = self.network.conditions();
            let now = Instant::now();
            let is_cut = self.network.cuts.lock().contains(&pair);
            if is_cut {
                cut_since.get_or_insert(now);
            } else if cut_since.take().is_some() {
                resumes = now + conditions.retransmit;
            }
            let next = self
                .state
                .lock()
                .events
                .first_key_value()
                .map(|(&(at, _), _)| at);
            let next = match cut_since {
                Some(since) => Some(since + conditions.idle),
                None => next.map(|at| at.max(resumes)),
            };
            let ended = async {
                link.until_ended(Side::Dialler).await;
                link.until_ended(Side::Listener).await;
            };
            tokio::select! {
                biased;
                () = ended => return,
                () = self.network.cuts.until(|cuts| {
                    (cuts.contains(&pair) != is_cut).then_some(())
                }) => {}
                () = self.changed.notified() => {}
                () = until(next) => {
                    if cut_since.is_some() {
                        link.break_off(SILENCE);
                    } else {
                        self.bring(&link);
                    }
                }
            }
        }
    }

    /// Brings the first event. Nothing is locked while it arrives: what arrives may send.
    fn bring(&self, link: &Arc<Link>) {
        let event = self.state.lock().events.pop_first();
        match event {
            Some((_, Event::Frame(to, frame))) => link.arrive(to, self.altered(to, frame)),
            Some((_, Event::Lost(side))) => {
                let why = SILENCE.to_owned();
                link.end(side, TransportError::Broken { why });
            }
            Some((_, Event::Broken)) => link.break_off(SILENCE),
            None => {}
        }
    }

    fn altered(&self, to: Side, frame: Frame) -> Frame {
        let Frame::Data { pipe, bytes } = frame else {
            return frame;
        };
        let length = bytes.len();
        let (from, to) = (&self.hosts[to.other() as usize], &self.hosts[to as usize]);
        let bytes = self.network.alter(from, to, bytes);
        pipe.resize(length, bytes.len());
        Frame::Data { pipe, bytes }
    }
}

/// For ever without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The end of a wire that a connection holds.
pub(super) struct Onto(pub(super) Arc<Wire>);

impl Carrier for Onto {
    fn carry(&self, _link: &Arc<Link>, to: Side, frame: Frame) {
        match self.0.arrival(to, &frame) {
            Some(at) => self.0.put(at, Event::Frame(to, frame)),
            None => {
                let idle: Duration = self.0.network.conditions().idle;
                self.0.put(Instant::now() + idle, Event::Broken);
            }
        }
    }
}
