//! Bob reads what he was given and nothing else.

use ate::Json;

use super::{Miss, Sight, miss};
use crate::oracle::Access;

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let position = sight.position();
    let Some(state) = position
        .checked_sub(1)
        .and_then(|index| sight.known.states.get(index))
    else {
        return Ok(());
    };
    if state.bob.is_empty() {
        return Ok(());
    }
    let as_bob = sight.chain.as_identity(&sight.world.bob);
    for (name, access) in &state.bob {
        let Some(key) = sight.chain.key_of::<Json>(name) else {
            continue;
        };
        let may_read = *access != Access::Nothing;
        match as_bob.get(key).wait() {
            Ok(read) if may_read && read.as_str() == &*state.content[name] => {}
            Ok(_) => return miss(format!("Bob reads `{name}` at {position}")),
            Err(_) if !may_read => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
