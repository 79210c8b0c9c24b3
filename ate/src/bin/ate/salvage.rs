//! Reading what is left of a damaged store: what cannot be shown is said loudly, and is an exit code of its own.

use std::fmt::Display;
use std::sync::Arc;

use ate::log::{DamagedRange, FileLog, FileStorage};
use ate::{Chain, Store};
use serde::Serialize;

use crate::damage::Range;
use crate::failure::{Code, Failure, MEND};
use crate::output::say;
use crate::store::Place;

/// A warning as `--json` shows it.
#[derive(Serialize)]
struct Warning<'a> {
    warning: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<&'a str>,
    /// Shown up to here.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// It was at least there.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_position: Option<u64>,
    #[serde(skip_serializing_if = "<[Range]>::is_empty")]
    places: &'a [Range],
}

impl Place {
    /// Opens the store as far as it is intact, after it failed as a whole, and says so.
    pub(crate) fn salvage(&self, failure: Failure) -> Result<Store, Failure> {
        // What cannot be opened even so, is told as it was found.
        let Ok(store) = self.read_rest() else {
            return Err(failure);
        };
        let what = format!(
            "the store in {} is damaged; it is read as far as it is intact",
            self.shown_dir()
        );
        let places: Vec<Range> = store.damage().iter().map(Range::of).collect();
        self.warn(Warning {
            warning: &what,
            chain: None,
            position: None,
            known_position: None,
            places: &places,
        });
        Ok(store)
    }

    /// Says what a chain of a damaged store lacks.
    pub(crate) fn tell_missing(&self, store: &Store, chain: &Chain) -> Result<(), Failure> {
        if store.damage().is_empty() {
            return Ok(());
        }
        self.partial().set(true);
        let missing = store.missing(chain).map_err(|error| self.explain(error))?;
        let Some(missing) = missing else {
            return Ok(());
        };
        let (name, position) = (chain.name(), missing.position);
        let what = match missing.known {
            Some(known) => format!(
                "chain `{name}` is proven up to position {position}, and was at position {known} at least: what came after is missing"
            ),
            None => format!(
                "chain `{name}` is proven up to position {position}: whether it went on in a damaged place cannot be told"
            ),
        };
        let places: Vec<Range> = missing.places.iter().map(Range::of).collect();
        self.warn(Warning {
            warning: &what,
            chain: Some(name),
            position: Some(position.0),
            known_position: missing.known.map(|known| known.0),
            places: if self.is_json() { &places } else { &[] },
        });
        Ok(())
    }

    /// Says that one thing cannot be shown, if that is because it is damaged; otherwise it is a failure.
    pub(crate) fn leave_out(&self, what: impl Display, failure: Failure) -> Result<(), Failure> {
        if failure.code() != Code::Damaged {
            return Err(failure);
        }
        let failure = failure.during(format!("{what} is left out"));
        self.partial().set(true);
        say(if self.is_json() {
            failure.json()
        } else {
            failure.text()
        });
        Ok(())
    }

    /// How a command ends that has shown what it could.
    pub(crate) fn ended(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        if !self.partial().get() {
            return result;
        }
        let Err(failure) = result else {
            let what = format!(
                "the store in {} is damaged: what was printed is proven, but may not be all there was",
                self.shown_dir()
            );
            return Err(Failure::new(Code::Partial, what).next(MEND));
        };
        // What is not found may have been there.
        Err(match failure.code() {
            Code::Failed => failure
                .with_code(Code::Partial)
                .why("the store is damaged, and this may have stood in what is missing")
                .next(MEND),
            _ => failure,
        })
    }

    /// Every damaged place of the log.
    pub(crate) fn damaged_places(&self) -> Vec<DamagedRange> {
        let log = FileLog::open_damaged(Arc::new(FileStorage::new(self.dir())));
        // What does not open even so is told by whoever opens it next.
        log.map_or_else(|_| Vec::new(), |log| log.damage().to_vec())
    }

    fn warn(&self, warning: Warning<'_>) {
        self.partial().set(true);
        if self.is_json() {
            say(serde_json::to_string(&warning).expect("strings and numbers are JSON"));
            return;
        }
        say(format_args!("ate: WARNING: {}", warning.warning));
        for place in warning.places {
            say(format_args!("  damaged: {}", place.text()));
        }
    }
}
