//! Every earlier state reads as it was when it was the newest, except for what was erased since, or superseded before the horizon.

use super::{Miss, Sight, miss};
use crate::oracle::{Past, State, past};

/// How many earlier states are read: the others have roots.
const LOOKS: usize = 3;

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let end = sight.position().min(sight.known.states.len());
    let Some(newest) = sight.known.states[..end].last() else {
        return Ok(());
    };
    let step = end.div_ceil(LOOKS).max(1);
    for position in (1..end).step_by(step) {
        let shown = past(sight.chain, position)?;
        compare(position, shown, &sight.known.states[position - 1], newest).or_else(miss)?;
    }
    Ok(())
}

/// Compares what is shown of an earlier position with what was written, as the `newest` state leaves it.
pub(crate) fn compare(
    position: usize,
    mut past: Past,
    written: &State,
    newest: &State,
) -> Result<(), String> {
    if position >= newest.horizon && (past.dropped_accounts > 0 || !past.dropped.is_empty()) {
        let horizon = newest.horizon;
        return Err(format!(
            "{past:?} at {position}, but the horizon is {horizon}"
        ));
    }
    for (name, value) in &written.content {
        let is_erased = newest
            .erased
            .get(name)
            .is_some_and(|erased| position < *erased);
        match past.shown.remove(name) {
            Some(_) if is_erased => {
                return Err(format!("`{name}`, erased, is there at {position}"));
            }
            Some(shown) if shown != *value => {
                return Err(format!("`{name}` at {position} is another one"));
            }
            Some(_) => {}
            None if is_erased => {
                past.erased.remove(name);
            }
            None if past.dropped.remove(name) => {}
            None if name.contains('@') && past.dropped_accounts > 0 => past.dropped_accounts -= 1,
            None => return Err(format!("`{name}` is missing at {position}")),
        }
    }
    if past.shown.is_empty()
        && past.dropped.is_empty()
        && past.erased.is_empty()
        && past.dropped_accounts == 0
    {
        return Ok(());
    }
    Err(format!("{past:?} is left over at {position}"))
}
