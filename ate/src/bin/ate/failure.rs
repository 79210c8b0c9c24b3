//! How a command fails: what, why, what to do next, and the exit code.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use ate::ErrorKind;
use serde::Serialize;

use crate::damage::{self, Damage, Range};

/// The meaning of the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// Nobody reads standard output any more: no error.
    Quiet,
    /// Failed or not found.
    Failed,
    /// The command makes no sense as it was given.
    Usage,
    /// Stored bytes are not what was written.
    Damaged,
    /// Refused by the rules, or something else is there already.
    Rejected,
    /// Whether it happened is not known.
    Unknown,
    /// Bytes are damaged, and what is proven in spite of that was shown.
    Partial,
}

/// What to do about damage.
pub(crate) const MEND: &str = "`ate verify` lists every damaged place; `ate repair --from DIR` mends them from another copy of this store; nothing was changed here";

impl Code {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Quiet => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Damaged => 3,
            Self::Rejected => 4,
            Self::Unknown => 5,
            Self::Partial => 6,
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    /// The thing and what was wanted of it.
    what: String,
    /// Why, outermost cause first.
    causes: Vec<String>,
    /// Where, if bytes are damaged.
    damage: Option<Box<Damage>>,
    /// All damaged places, if they were looked for.
    places: Vec<Range>,
    /// What to do now.
    next: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            causes: Vec::new(),
            damage: None,
            places: Vec::new(),
            next: None,
        }
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Code::Failed, what)
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Code::Usage, what)
    }

    /// Standard output has no reader any more.
    pub(crate) fn quiet() -> Self {
        Self::new(Code::Quiet, "")
    }

    /// Adds a cause and its own causes.
    #[must_use]
    pub(crate) fn because(mut self, cause: &(dyn StdError + 'static)) -> Self {
        self.causes.extend(chain_of(cause));
        self
    }

    #[must_use]
    pub(crate) fn why(mut self, cause: impl Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Adds to what to do now.
    #[must_use]
    pub(crate) fn and_next(mut self, next: &str) -> Self {
        self.next = Some(match self.next {
            Some(before) => format!("{before}; {next}"),
            None => next.to_owned(),
        });
        self
    }

    #[must_use]
    pub(crate) const fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds all damaged places that there are.
    #[must_use]
    pub(crate) fn with_places(mut self, places: Vec<Range>) -> Self {
        self.places = places;
        self
    }

    /// Completes where the damage is, by those who know what was read and how far it held.
    #[must_use]
    pub(crate) fn in_chain(mut self, chain: String, position: u64) -> Self {
        if let Some(damage) = &mut self.damage {
            damage.chain.get_or_insert(chain);
            damage.position.get_or_insert(position);
        }
        self
    }

    /// Says what was wanted when the library says only what is wrong.
    #[must_use]
    pub(crate) fn during(mut self, what: impl Into<String>) -> Self {
        let cause = std::mem::replace(&mut self.what, what.into());
        self.causes.insert(0, cause);
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(self.code.number())
    }

    /// For people: one line of what and why, one of what to do.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("ate: {}", self.line());
        for place in &self.places {
            text.push_str("\n  damaged: ");
            text.push_str(&place.text());
        }
        if let Some(next) = &self.next {
            text.push_str("\n  next: ");
            text.push_str(next);
        }
        text
    }

    /// For programs: one line.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Shown<'a> {
            error: &'a str,
            causes: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            damage: Option<&'a Damage>,
            #[serde(skip_serializing_if = "<[Range]>::is_empty")]
            places: &'a [Range],
            next: Option<&'a str>,
            kind: Code,
            exit: u8,
        }
        serde_json::to_string(&Shown {
            error: &self.what,
            causes: &self.causes,
            damage: self.damage.as_deref(),
            places: &self.places,
            next: self.next.as_deref(),
            kind: self.code,
            exit: self.code.number(),
        })
        .expect("strings and numbers are JSON")
    }

    pub(crate) fn line(&self) -> String {
        let mut line = self.what.clone();
        for cause in &self.causes {
            // A library error often ends its message with its source's: say it once.
            if !line.ends_with(cause.as_str()) {
                line.push_str(": ");
                line.push_str(cause);
            }
        }
        if let Some(damage) = &self.damage {
            line.push_str(" in ");
            line.push_str(&damage.text());
        }
        line
    }
}

/// The messages of an error and its sources.
fn chain_of(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut messages = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        messages.push(error.to_string());
        next = error.source();
    }
    messages
}

impl From<ate::Error> for Failure {
    fn from(error: ate::Error) -> Self {
        let is_write = matches!(
            error,
            ate::Error::Commit(_)
                | ate::Error::Transact(_)
                | ate::Error::IdentityExists { .. }
                | ate::Error::Occupied { .. }
                | ate::Error::Backup(_)
                | ate::Error::Nodes(_)
        );
        let code = match error.kind() {
            ErrorKind::Damaged => Code::Damaged,
            ErrorKind::Unknown => Code::Unknown,
            ErrorKind::Conflict
            | ErrorKind::Rejected
            | ErrorKind::Denied
            | ErrorKind::NewerSchema
                if is_write =>
            {
                Code::Rejected
            }
            _ => Code::Failed,
        };
        let damage = Damage::of(&error);
        let mut messages = match (&damage, damage::why(&error)) {
            // The place is told once, in one form.
            (Some(_), Some(why)) => vec![why],
            _ => chain_of(&error),
        };
        let what = messages.remove(0);
        Self {
            code,
            what,
            causes: messages,
            damage: damage.map(Box::new),
            places: Vec::new(),
            next: match &error {
                // It names the file or the command for this very node.
                ate::Error::Nodes(error) => Some(error.remedy()),
                _ => (error.kind() == ErrorKind::Damaged)
                    .then_some(MEND)
                    .or_else(|| error.remedy())
                    .or_else(|| remedy(error.kind()))
                    .map(Into::into),
            },
        }
    }
}

/// What usually helps, where the library knows nothing better.
const fn remedy(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotFound => "`ate ls` lists what is there",
        ErrorKind::Limit => "`ate info` tells the limits",
        ErrorKind::Denied => {
            "whoever may grant it needs the public part that `ate identity show` prints"
        }
        ErrorKind::Rejected => {
            "change what the message names; the same again will be refused again"
        }
        ErrorKind::Unreachable => {
            "give the node with --url, and see that `ate serve` runs there and that UDP packets reach it"
        }
        ErrorKind::Io => {
            "check the path, its permissions and the free space of its disk, then try again"
        }
        _ => return None,
    })
}

/// A library error as a failure.
pub(crate) fn fault(error: impl Into<ate::Error>) -> Failure {
    Failure::from(error.into())
}

/// Failures of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::quiet()
        } else {
            Self::failed("cannot write to standard output")
                .because(&error)
                .next("check where it goes to, for example whether that disk is full")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_thing_cause_and_next_step() {
        let failure = Failure::failed("no chain")
            .during("cannot read `a`")
            .next("try `ate ls`");
        assert_eq!(
            failure.text(),
            "ate: cannot read `a`: no chain\n  next: try `ate ls`"
        );
        assert_eq!(
            failure.json(),
            r#"{"error":"cannot read `a`","causes":["no chain"],"next":"try `ate ls`","kind":"failed","exit":1}"#
        );
    }

    #[test]
    fn a_broken_pipe_is_no_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.code(), Code::Quiet);
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(failure.code(), Code::Failed);
    }
}
