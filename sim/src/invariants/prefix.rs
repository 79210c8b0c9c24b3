//! What is found is a prefix of what was attempted.

use super::{Miss, Sight, miss};

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let (position, attempted) = (sight.position(), sight.known.states.len());
    if position == 0 || position > attempted {
        return miss(format!("ends at {position} of {attempted} attempted"));
    }
    Ok(())
}
