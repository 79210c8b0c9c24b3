//! Commits of an import: some in flight, answered in order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ate::{Chain, CommitError, Pending, Receipt, Store, Transaction};
use serde::Serialize;

use super::check::Verdict;
use crate::args::Import;
use crate::failure::{Code, Failure, fault};
use crate::lines::Parsed;
use crate::output::Output;
use crate::store::Place;

/// Commits handed over but not answered: one is synced while the next is sealed, and one waits.
const IN_FLIGHT_MAX: usize = 4;
/// Bytes of documents in them, so that large documents do not fill the memory.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Bytes in one commit. Its limit is 31 MiB, heads and names included.
const COMMIT_BYTES_MAX: usize = 15 << 20;
/// Records in one commit. Its limit is 65,536 events.
const COMMIT_RECORDS_MAX: usize = 60_000;
/// What a record costs in a commit beside its document and name, and a little more.
const RECORD_OVERHEAD: usize = 256;

type Answer = Result<Receipt, CommitError>;

enum State {
    Waiting(Pending<Answer>),
    /// The first look found the answer.
    Here(Answer),
}

struct Flight {
    state: State,
    bytes: usize,
    written: u64,
    /// Records of the input that are in once this is durable.
    records: u64,
}

/// What is durable.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) written: u64,
    pub(super) commits: u64,
}

/// Gathers records into commits.
pub(super) struct Writer<'a> {
    place: &'a Place,
    store: &'a Store,
    chain: &'a Chain,
    records_max: usize,
    acks: Option<&'a mut Output>,
    open: Option<Transaction>,
    open_records: usize,
    open_bytes: usize,
    /// Records of the input taken so far.
    taken: u64,
    in_flight: VecDeque<Flight>,
    in_flight_bytes: usize,
    totals: Totals,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        place: &'a Place,
        store: &'a Store,
        chain: &'a Chain,
        args: &Import,
        out: &'a mut Output,
    ) -> Self {
        Self {
            place,
            store,
            chain,
            records_max: (args.per_commit as usize).min(COMMIT_RECORDS_MAX),
            acks: args.acks.then_some(out),
            open: None,
            open_records: 0,
            open_bytes: 0,
            taken: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            totals: Totals::default(),
        }
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    /// Takes the next record of the input.
    pub(super) fn record(&mut self, parsed: Parsed, verdict: Verdict) -> Result<(), Failure> {
        if verdict == Verdict::Write {
            let bytes = parsed.json.as_str().len() + parsed.name.len() + RECORD_OVERHEAD;
            if self.open_bytes + bytes > COMMIT_BYTES_MAX {
                self.commit()?;
            }
            let transaction = self.open.get_or_insert_with(|| self.chain.begin());
            transaction
                .put(parsed.name.as_str(), &parsed.json)
                .map_err(fault)?;
            self.open_records += 1;
            self.open_bytes += bytes;
        }
        self.taken += 1;
        if self.open_records >= self.records_max {
            self.commit()?;
        }
        Ok(())
    }

    /// Hands over what was gathered, and waits only for the oldest if too much is in flight.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.open_bytes);
        let written = std::mem::take(&mut self.open_records) as u64;
        if let Some(transaction) = self.open.take() {
            let mut pending = transaction.commit();
            // The first look wakes the store's thread, so that it signs and syncs while this one goes on.
            let looked = Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
            self.in_flight_bytes += bytes;
            self.in_flight.push_back(Flight {
                state: match looked {
                    Poll::Ready(answer) => State::Here(answer),
                    Poll::Pending => State::Waiting(pending),
                },
                bytes,
                written,
                records: self.taken,
            });
        }
        while self.in_flight.len() > IN_FLIGHT_MAX || self.in_flight_bytes > IN_FLIGHT_BYTES_MAX {
            self.answer()?;
        }
        Ok(())
    }

    /// Waits for everything that was handed over. What was only gathered is dropped.
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        while !self.in_flight.is_empty() {
            self.answer()?;
        }
        // Unchanged records behind the last commit are in without one.
        if self.open.is_none() {
            self.totals.records = self.taken;
        }
        Ok(())
    }

    /// Takes the oldest answer.
    fn answer(&mut self) -> Result<(), Failure> {
        let Some(flight) = self.in_flight.pop_front() else {
            return Ok(());
        };
        self.in_flight_bytes -= flight.bytes;
        let answer = match flight.state {
            State::Waiting(pending) => self.place.landed(self.store, self.chain, pending)?,
            State::Here(answer) => answer,
        };
        let receipt = answer.map_err(fault)?;
        self.totals.records = flight.records;
        self.totals.written += flight.written;
        self.totals.commits += 1;
        self.ack(receipt.position.0)
    }

    fn ack(&mut self, position: u64) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Ack {
            ack: u64,
            records: u64,
        }
        let Some(out) = &mut self.acks else {
            return Ok(());
        };
        let records = self.totals.records;
        let printed = if out.is_json() {
            out.object(&Ack {
                ack: position,
                records,
            })
        } else {
            out.line(format_args!("ack {position} {records}"))
        };
        match printed.and_then(|()| out.flush()) {
            // Nobody listens any more; the import is worth no less.
            Err(failure) if failure.code() == Code::Quiet => {
                self.acks = None;
                Ok(())
            }
            result => result,
        }
    }
}
