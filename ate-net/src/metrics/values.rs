//! Numbers that many threads write, and the lines in which they are told.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::kinds::Label;

// Relaxed everywhere: a number says how often, never that something else has happened.

/// Only grows, until it wraps after 2^64.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Default, Debug)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0
            .store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0
            .fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// So many fewer.
    pub fn sub(&self, count: u64) {
        self.0
            .fetch_sub(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// One more until the guard is dropped, so that no early return is forgotten.
    #[must_use = "the gauge goes down when this is dropped"]
    pub fn enter(&self) -> Entered<'_> {
        self.add(1);
        Entered(self)
    }

    /// The number.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of those that a gauge counts.
#[derive(Debug)]
pub struct Entered<'a>(&'a Gauge);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// A counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    counters: Box<[Counter]>,
    label: PhantomData<fn() -> L>,
}

impl<L: Label> Counters<L> {
    /// So many more of these.
    pub fn add(&self, label: L, count: u64) {
        self.counters[label.index()].add(count);
    }

    /// The number of these.
    #[must_use]
    pub fn value(&self, label: L) -> u64 {
        self.counters[label.index()].value()
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self {
            counters: L::ALL.iter().map(|_| Counter::default()).collect(),
            label: PhantomData,
        }
    }
}

/// A counter for each pair of values of two labels.
#[derive(Debug)]
pub struct Counters2<A, B> {
    counters: Box<[Counter]>,
    labels: PhantomData<fn() -> (A, B)>,
}

impl<A: Label, B: Label> Counters2<A, B> {
    /// So many more of these.
    pub fn add(&self, first: A, second: B, count: u64) {
        self.at(first, second).add(count);
    }

    /// The number of these.
    #[must_use]
    pub fn value(&self, first: A, second: B) -> u64 {
        self.at(first, second).value()
    }

    fn at(&self, first: A, second: B) -> &Counter {
        &self.counters[first.index() * B::ALL.len() + second.index()]
    }
}

impl<A: Label, B: Label> Default for Counters2<A, B> {
    fn default() -> Self {
        let count = A::ALL.len() * B::ALL.len();
        Self {
            counters: (0..count).map(|_| Counter::default()).collect(),
            labels: PhantomData,
        }
    }
}

/// The buckets of a histogram.
pub trait Bounds: 'static {
    /// Highest value of each bucket but the last, which has no end; increasing.
    const UPPER: &'static [u64];
    /// How many of what is recorded make one of what is told: 1000 for ms that are told in seconds.
    const PER_UNIT: u64;
}

/// How values are spread over fixed buckets.
#[derive(Debug)]
pub struct Histogram<B> {
    /// By bucket, not summed up; the last one is for what is above all bounds.
    buckets: Box<[Counter]>,
    sum: Counter,
    bounds: PhantomData<fn() -> B>,
}

impl<B: Bounds> Histogram<B> {
    /// One more value.
    pub fn record(&self, value: u64) {
        let bucket = B::UPPER.partition_point(|upper| *upper < value);
        self.buckets[bucket].add(1);
        self.sum.add(value);
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }
}

impl<B: Bounds> Default for Histogram<B> {
    fn default() -> Self {
        Self {
            buckets: (0..=B::UPPER.len()).map(|_| Counter::default()).collect(),
            sum: Counter::default(),
            bounds: PhantomData,
        }
    }
}

/// A text that grows line by line. Names and helps are constants of this crate, labels are enums: nothing needs to be escaped.
pub(super) struct Text(String);

impl Text {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(16 << 10))
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, help, "counter");
        self.line(name, "", counter.value());
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, gauge: &Gauge) {
        self.head(name, help, "gauge");
        // It may be below zero for a moment, while others write it.
        self.line(name, "", gauge.value().max(0));
    }

    pub(super) fn counters<L: Label>(&mut self, name: &str, help: &str, counters: &Counters<L>) {
        self.head(name, help, "counter");
        for value in L::ALL {
            let labels = format!("{{{}=\"{}\"}}", L::NAME, value.as_str());
            self.line(name, &labels, counters.value(*value));
        }
    }

    pub(super) fn counters2<A: Label, B: Label>(
        &mut self,
        name: &str,
        help: &str,
        counters: &Counters2<A, B>,
    ) {
        self.head(name, help, "counter");
        for first in A::ALL {
            for second in B::ALL {
                let (a, b) = (first.as_str(), second.as_str());
                let labels = format!("{{{}=\"{a}\",{}=\"{b}\"}}", A::NAME, B::NAME);
                self.line(name, &labels, counters.value(*first, *second));
            }
        }
    }

    pub(super) fn histogram<B: Bounds>(
        &mut self,
        name: &str,
        help: &str,
        histogram: &Histogram<B>,
    ) {
        self.head(name, help, "histogram");
        let mut count = 0;
        for (index, bucket) in histogram.buckets.iter().enumerate() {
            count += bucket.value();
            let upper = B::UPPER
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), |upper| in_units::<B>(*upper));
            self.line(
                &format!("{name}_bucket"),
                &format!("{{le=\"{upper}\"}}"),
                count,
            );
        }
        self.line(
            &format!("{name}_sum"),
            "",
            in_units::<B>(histogram.sum.value()),
        );
        // The same number as the last bucket, whatever others write meanwhile.
        self.line(&format!("{name}_count"), "", count);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        self.put(format_args!("{name}{labels} {value}\n"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes everything");
    }
}

/// A value in what is told, exactly.
fn in_units<B: Bounds>(value: u64) -> String {
    if B::PER_UNIT == 1 {
        return value.to_string();
    }
    debug_assert_eq!(B::PER_UNIT, 1000, "three digits below one");
    format!("{}.{:03}", value / B::PER_UNIT, value % B::PER_UNIT)
}
