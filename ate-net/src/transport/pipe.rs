//! One direction of a stream between two ends in one process.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::link::{Frame, Hold, WINDOW_BYTES};
use super::{ReceiveHalf, SendHalf, Task, TransportError};

/// The most bytes of one frame.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// Bytes from one end to the other.
pub(super) struct Pipe {
    pub(super) number: u64,
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<Bytes>,
    /// Bytes that the writer has handed in and the reader has not taken: on the way, or arrived.
    taken: usize,
    end: Option<End>,
    /// The reader reads no further, as far as the writer has heard.
    stopped: Option<u32>,
}

#[derive(Clone, Copy)]
enum End {
    Finished,
    Reset(u32),
}

impl Pipe {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            state: Mutex::new(State::default()),
            readable: Notify::new(),
            writable: Notify::new(),
        }
    }

    pub(super) fn arrived(&self, bytes: Bytes) {
        {
            let mut state = self.state.lock();
            if state.end.is_some() || bytes.is_empty() {
                return;
            }
            state.arrived.push_back(bytes);
        }
        self.readable.notify_one();
    }

    /// What was taken from the writer has another length on arrival.
    pub(super) fn resize(&self, was: usize, is: usize) {
        if was != is {
            let mut state = self.state.lock();
            state.taken = (state.taken + is).saturating_sub(was);
        }
    }

    pub(super) fn finished(&self) {
        self.state.lock().end.get_or_insert(End::Finished);
        self.readable.notify_one();
    }

    pub(super) fn was_reset(&self, code: u32) {
        {
            let mut state = self.state.lock();
            state.end = Some(End::Reset(code));
            state.arrived.clear();
        }
        self.readable.notify_one();
    }

    pub(super) fn was_stopped(&self, code: u32) {
        self.state.lock().stopped.get_or_insert(code);
        self.writable.notify_one();
    }
}

/// The frame that tells the peer of a new stream, until the first thing happens on either half.
pub(super) struct Opening(Mutex<Option<Frame>>);

impl Opening {
    pub(super) fn new(
        forth: Arc<Pipe>,
        back: Arc<Pipe>,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        Self(Mutex::new(Some(Frame::Open {
            forth,
            back,
            permit,
        })))
    }

    /// The peer knows of it already.
    pub(super) fn none() -> Self {
        Self(Mutex::new(None))
    }
}

/// What both halves have.
struct Half {
    hold: Arc<Hold>,
    pipe: Arc<Pipe>,
    opening: Arc<Opening>,
    /// Counts the stream as open; gone when this half is done.
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Half {
    fn send(&self, frame: Frame) {
        let opening = self.opening.0.lock().take();
        if let Some(opening) = opening {
            self.hold.link.send(self.hold.side, opening);
        }
        self.hold.link.send(self.hold.side, frame);
    }

    fn ended(&self) -> Option<TransportError> {
        self.hold.link.ended(self.hold.side)
    }

    fn pipe(&self) -> Arc<Pipe> {
        Arc::clone(&self.pipe)
    }
}

/// The writing side.
pub(super) struct Sender {
    half: Half,
    /// Finished or reset.
    done: bool,
}

impl Sender {
    pub(super) fn new(
        hold: Arc<Hold>,
        pipe: Arc<Pipe>,
        permit: Arc<OwnedSemaphorePermit>,
        opening: Arc<Opening>,
    ) -> Self {
        Self {
            half: Half {
                hold,
                pipe,
                opening,
                permit: Some(permit),
            },
            done: false,
        }
    }

    /// How many bytes may go now; 0: none.
    fn room(&self) -> Result<usize, TransportError> {
        if self.done {
            return Err(TransportError::Closed);
        }
        if let Some(error) = self.half.ended() {
            return Err(error);
        }
        let state = self.half.pipe.state.lock();
        if let Some(code) = state.stopped {
            return Err(TransportError::Reset { code });
        }
        Ok(WINDOW_BYTES.saturating_sub(state.taken))
    }
}

impl SendHalf for Sender {
    fn write(&mut self, mut bytes: Bytes) -> Task<'_, Result<(), TransportError>> {
        Box::pin(async move {
            while !bytes.is_empty() {
                let room = self.room()?;
                if room == 0 {
                    let half = &self.half;
                    tokio::select! {
                        biased;
                        error = half.hold.link.until_ended(half.hold.side) => return Err(error),
                        () = half.pipe.writable.notified() => continue,
                    }
                }
                let part = bytes.split_to(room.min(bytes.len()).min(FRAME_BYTES_MAX));
                self.half.pipe.state.lock().taken += part.len();
                let pipe = self.half.pipe();
                self.half.send(Frame::Data { pipe, bytes: part });
            }
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        if self.done {
            return Err(TransportError::Closed);
        }
        if let Some(error) = self.half.ended() {
            return Err(error);
        }
        self.done = true;
        let pipe = self.half.pipe();
        self.half.send(Frame::Finish { pipe });
        self.half.permit = None;
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        self.done = true;
        let pipe = self.half.pipe();
        self.half.send(Frame::Reset { pipe, code });
        self.half.permit = None;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.done {
            self.reset(0);
        }
    }
}

/// The reading side.
pub(super) struct Receiver {
    half: Half,
    /// Stopped here, or read to its end.
    done: bool,
}

impl Receiver {
    pub(super) fn new(
        hold: Arc<Hold>,
        pipe: Arc<Pipe>,
        permit: Arc<OwnedSemaphorePermit>,
        opening: Arc<Opening>,
    ) -> Self {
        Self {
            half: Half {
                hold,
                pipe,
                opening,
                permit: Some(permit),
            },
            done: false,
        }
    }

    /// What can be said at once.
    fn take(&mut self, max: usize) -> Option<Result<Option<Bytes>, TransportError>> {
        let mut state = self.half.pipe.state.lock();
        if let Some(first) = state.arrived.front_mut() {
            let bytes = first.split_to(max.max(1).min(first.len()));
            if first.is_empty() {
                state.arrived.pop_front();
            }
            state.taken = state.taken.saturating_sub(bytes.len());
            drop(state);
            self.half.pipe.writable.notify_one();
            return Some(Ok(Some(bytes)));
        }
        let end = state.end?;
        drop(state);
        self.done = true;
        self.half.permit = None;
        Some(match end {
            End::Finished => Ok(None),
            End::Reset(code) => Err(TransportError::Reset { code }),
        })
    }
}

impl ReceiveHalf for Receiver {
    fn read(&mut self, max: usize) -> Task<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(async move {
            let pipe = self.half.pipe();
            loop {
                if let Some(answer) = self.take(max) {
                    return answer;
                }
                if self.done {
                    return Err(TransportError::Closed);
                }
                let (link, side) = (&self.half.hold.link, self.half.hold.side);
                tokio::select! {
                    biased;
                    () = pipe.readable.notified() => {}
                    error = link.until_ended(side) => return Err(error),
                }
            }
        })
    }

    fn stop(&mut self, code: u32) {
        if self.done {
            return;
        }
        self.done = true;
        self.half.pipe.state.lock().arrived.clear();
        let pipe = self.half.pipe();
        self.half.send(Frame::Stop { pipe, code });
        self.half.permit = None;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop(0);
    }
}
