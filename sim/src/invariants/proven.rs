//! A replay of the log alone, with every signature and every body, leads to the state that is shown.

use ate::Depth;

use super::{Miss, Sight, miss};

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let chain = sight.chain;
    let verified = sight.store.verify(&chain.id(), Depth::Deep, |_| {})?;
    // A reader's chain stands where it was opened; the log may be further by now.
    let is_same = (verified.position, verified.root) == (chain.position(), chain.root());
    if is_same || verified.position > chain.position() && !sight.store.info().writer {
        return Ok(());
    }
    miss(format!(
        "shown is {} at {}, proven {} at {}",
        chain.root(),
        chain.position(),
        verified.root,
        verified.position
    ))
}
