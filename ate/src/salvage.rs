//! A store that was opened in spite of damage: what is wrong with it, and what it lacks of a chain.

use std::ops::ControlFlow;

use ate_chain::{ChainId, Position};
use ate_log::{Damage, DamagedRange, FrameKind, Location, ReadError, Scan};
use ate_view::Chain;

use crate::error::Error;
use crate::inner::StoreInner;
use crate::store::Store;

/// What a store that was opened by [`StoreBuilder::salvage`](crate::StoreBuilder::salvage) lacks of one chain.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Missing {
    /// Everything up to here is proven, and shown.
    pub position: Position,
    /// The chain had reached at least this position: a later frame says so, or a snapshot that this store sealed. `None`: nothing says that there was more.
    pub known: Option<Position>,
    /// The damaged places in which what is missing may have stood.
    pub places: Vec<DamagedRange>,
}

impl Store {
    /// The damaged places of the log, in order; none unless the store was opened by [`StoreBuilder::salvage`](crate::StoreBuilder::salvage).
    #[must_use]
    pub fn damage(&self) -> &[DamagedRange] {
        self.inner.damage.as_deref().unwrap_or_default()
    }

    /// What is missing of a chain: `None` if nothing is, or can be. Bodies before the position that stood in a damaged place are found missing when
    /// they are read.
    ///
    /// # Errors
    /// [`Error::LogRead`] if the log cannot be read.
    ///
    /// # Cost
    /// Linear in the log.
    pub fn missing(&self, chain: &Chain) -> Result<Option<Missing>, Error> {
        let (id, position) = (chain.id(), chain.position());
        let tip = chain.local().tip();
        let places: Vec<DamagedRange> = self
            .damage()
            .iter()
            .filter(|range| may_hold(range, &id, tip))
            .cloned()
            .collect();
        if self.damage().is_empty() {
            return Ok(None);
        }
        let mut commits = 0;
        let log = &self.inner.log;
        log.scan(Scan::from(log.start()).of(id.stream()), &mut |frame| {
            if frame.kind == FrameKind::Commit {
                commits = commits.max(frame.number + 1);
            }
            ControlFlow::Continue(())
        })?;
        let named = places.iter().filter_map(|range| range.frame);
        let named = named.filter(|frame| frame.kind == FrameKind::Commit);
        let named = named.map(|frame| frame.number + 1).max().unwrap_or(0);
        let sealed = self.inner.sealed_position(id).unwrap_or(0);
        let known = commits.max(named).max(sealed);
        let known = (known > position.0).then_some(Position(known));
        Ok((known.is_some() || !places.is_empty()).then_some(Missing {
            position,
            known,
            places,
        }))
    }
}

impl StoreInner {
    /// The damaged place that explains why a chain ends, or is broken, at `at` or before.
    pub(crate) fn explains(&self, chain: &ChainId, at: Option<Location>) -> Option<Error> {
        let ranges = self.damage.as_deref()?;
        let mut before = ranges
            .iter()
            .filter(|range| at.is_none_or(|at| range.at <= at));
        let is_own = |range: &&DamagedRange| {
            range
                .frame
                .is_some_and(|frame| frame.stream == chain.stream())
        };
        let own = before.clone().find(is_own);
        let range = own.or_else(|| before.rfind(|range| range.frame.is_none()))?;
        Some(Error::Chain(ate_chain::OpenError::Log(
            ReadError::Corrupt {
                at: range.at,
                damage: range.damage,
            },
        )))
    }
}

/// Whether frames of a chain behind `tip` may have stood in a damaged place.
fn may_hold(range: &DamagedRange, chain: &ChainId, tip: Option<Location>) -> bool {
    let is_behind = tip.is_none_or(|tip| tip < range.at);
    // The end of a file that was missing, or cut, is behind what is left of it.
    let is_short = matches!(range.damage, Damage::SegmentMissing | Damage::SegmentShort);
    let is_other = range
        .frame
        .is_some_and(|frame| frame.stream != chain.stream());
    is_behind && (is_short || !is_other)
}
