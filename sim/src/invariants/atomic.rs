//! The newest state is one that a whole commit led to.

use super::{Miss, Sight, miss};
use crate::oracle::{Content, content};

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let position = sight.position();
    let Some(state) = position
        .checked_sub(1)
        .and_then(|index| sight.known.states.get(index))
    else {
        return Ok(());
    };
    compare(position, &content(sight.chain)?, &state.content)
}

/// Compares what is shown at a position with what was written.
pub(super) fn compare(position: usize, shown: &Content, written: &Content) -> Result<(), Miss> {
    for (name, value) in written {
        match shown.get(name) {
            None => return miss(format!("`{name}` is missing at {position}")),
            Some(found) if found != value => {
                return miss(format!(
                    "`{name}` at {position} is {} and not {}",
                    short(found),
                    short(value)
                ));
            }
            Some(_) => {}
        }
    }
    match shown.keys().find(|name| !written.contains_key(*name)) {
        Some(name) => miss(format!("`{name}` is there at {position}")),
        None => Ok(()),
    }
}

/// Values are long, and their beginnings tell them apart.
fn short(value: &str) -> String {
    let head: String = value.chars().take(40).collect();
    format!("{head}... ({} bytes)", value.len())
}
