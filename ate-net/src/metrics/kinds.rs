//! The labels: enums, so that their number is known.

use crate::limits::LimitKind;

/// A label whose values are known when the program is built.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Its values, each once. [`Label::index`] of the value at `i` is `i`.
    const ALL: &'static [Self];

    /// Place in [`Label::ALL`].
    fn index(self) -> usize;

    /// As it is printed: lower case, digits and `_` alone.
    fn as_str(self) -> &'static str;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $label:literal: $($(#[$value_doc:meta])* $value:ident = $text:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

label!(
    /// Why a connection was refused before it could ask for anything.
    ConnectionRefusal, "reason":
    /// A limit of connections or handshakes.
    Limit = "limit",
    /// It did not speak the protocol, or another version.
    Protocol = "protocol",
    /// The node is about to end.
    Draining = "draining",
    /// Its identity may not come here.
    Denied = "denied",
);

label!(
    /// How a handshake ended.
    HandshakeEnd, "end":
    /// The peer has proven who it is.
    Completed = "completed",
    /// It took too long.
    TimedOut = "timed_out",
    /// The proof does not hold.
    Refused = "refused",
    /// The connection broke, or the peer went away.
    Broken = "broken",
);

label!(
    /// What was asked for.
    RequestKind, "kind":
    /// Which chain a name means.
    Find = "find",
    /// A chain's frames from a position on.
    Follow = "follow",
    /// To order batches of commits.
    Submit = "submit",
    /// Sealed contents.
    Fetch = "fetch",
    /// Where a chain stands, signed.
    Standing = "standing",
    /// That the node holds a chain so far, signed.
    Witness = "witness",
    /// A call to a service.
    Call = "call",
    /// To serve calls.
    Serve = "serve",
    /// Whether the node is there.
    Ping = "ping",
    /// What this version does not know.
    Other = "other",
);

label!(
    /// How a request or a call ended.
    RequestEnd, "end":
    /// It was answered.
    Done = "done",
    /// It was refused: absent or forbidden, which strangers cannot tell apart.
    Refused = "refused",
    /// A limit was hit.
    Limited = "limited",
    /// It made no sense.
    Malformed = "malformed",
    /// The deadline passed.
    TimedOut = "timed_out",
    /// The peer gave it up, or went away.
    Cancelled = "cancelled",
    /// This node failed.
    Failed = "failed",
);

label!(
    /// Why a commit was refused.
    CommitRefusal, "reason":
    /// Its bytes, hashes or bodies do not fit together.
    Malformed = "malformed",
    /// Its signature does not hold.
    Signature = "signature",
    /// The author may not do that.
    Denied = "denied",
    /// Somebody else was faster.
    Conflict = "conflict",
    /// It was sealed under an epoch that is over.
    StaleEpoch = "stale_epoch",
    /// Its lane or number is used up.
    Lane = "lane",
    /// Any other rule of the chain.
    Rule = "rule",
    /// A quota or another limit of this node.
    Limit = "limit",
    /// The node's disk or log.
    Storage = "storage",
);

impl Label for LimitKind {
    const NAME: &'static str = "limit";
    const ALL: &'static [Self] = Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}
