//! Every earlier state reads as it was when it was the newest.

use super::{Miss, Sight, atomic};
use crate::oracle::content_at;

/// How many earlier states are read: the others have roots.
const LOOKS: usize = 3;

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let end = sight.position().min(sight.known.states.len());
    let step = end.div_ceil(LOOKS).max(1);
    for position in (1..end).step_by(step) {
        let shown = content_at(sight.chain, position)?;
        atomic::compare(position, &shown, &sight.known.states[position - 1].content)?;
    }
    Ok(())
}
