//! What may go for good: the bodies of one record, and contents that were superseded long ago.

use crate::commit::Event;
use crate::error::Reject;
use crate::ids::{Position, RecordKey, Ref};

use super::{Check, invalid};

impl Check<'_> {
    /// A record ends with all its bodies. Unlike a removal it may follow the end of the record: what was only removed can still be erased.
    ///
    /// A descriptor stays, as it does before a removal: contents of others are readable by it alone, older versions included.
    pub(super) fn erase(
        &mut self,
        key: &RecordKey,
        supersedes: &Ref,
        index: u32,
        event: &Event,
    ) -> Result<(), Reject> {
        self.at_version(key, supersedes)?;
        let found = self.state.find(key).ok_or(Reject::NoRecord { key: *key })?;
        self.needs_write(key)?;
        self.end(*key, index, event, found)
    }

    /// It concerns every record, so the right at the root record is asked for. It never goes back: what is gone does not return.
    pub(super) fn horizon(&mut self, position: Position) -> Result<(), Reject> {
        self.needs_write(&RecordKey::ROOT)?;
        if position.0 > self.seq {
            return Err(invalid(
                "a horizon lies behind what was committed before it",
            ));
        }
        let last = self
            .effects
            .horizon
            .unwrap_or_else(|| self.state.next_horizon());
        if position <= last {
            return Err(invalid("a horizon moves forward only"));
        }
        self.effects.horizon = Some(position);
        Ok(())
    }
}
