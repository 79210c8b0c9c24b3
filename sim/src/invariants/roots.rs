//! The root of a position is what it was.

use ate::Position;

use super::{Miss, Sight, miss};

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let end = sight.position().min(sight.known.states.len());
    for (state, position) in sight.known.states[..end].iter().zip(1..) {
        let Some(root) = state.root else { continue };
        let found = sight.chain.root_at(Position(position));
        if found != Some(root) {
            return miss(format!("root at {position} is {found:?} and not {root:?}"));
        }
    }
    Ok(())
}
