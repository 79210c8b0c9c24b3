//! Where order comes from. The same rules and the same view run over every sequencer.

use std::sync::Arc;

use crate::committer::Committed;
use crate::error::{ReadError, SubmitError};
use crate::ids::Position;
use crate::local::Local;
use crate::pending::Pending;
use crate::read::CommitInfo;
use crate::seal::Sealed;

/// Decides the order of a chain's commits.
///
/// Duties: an answer `Ok` means the commit is durable as promised and part of the one order; a rejection means that it is not and never will be under
/// that lane number; everything else is *unknown* and can be settled later. Handing over at the call: dropping the answer takes nothing back.
pub trait Sequencer: Send + Sync {
    /// Hands a commit over for ordering.
    fn submit(&self, commit: Sealed) -> Pending<Result<Committed, SubmitError>>;

    /// A position that includes everything acknowledged before the call.
    fn read_barrier(&self) -> Pending<Position>;

    /// The commits from number `seq` on that are confirmed now, in order, until `visit` breaks. Heads only: bodies are opened one by one.
    ///
    /// # Errors
    /// [`ReadError`]; the commits before it were shown.
    fn commits_from(
        &self,
        seq: u64,
        visit: &mut dyn FnMut(CommitInfo) -> std::ops::ControlFlow<()>,
    ) -> Result<Position, ReadError>;
}

impl Sequencer for Arc<Local> {
    fn submit(&self, commit: Sealed) -> Pending<Result<Committed, SubmitError>> {
        Local::submit(self, commit)
    }

    fn read_barrier(&self) -> Pending<Position> {
        Pending::ready(self.position())
    }

    fn commits_from(
        &self,
        seq: u64,
        visit: &mut dyn FnMut(CommitInfo) -> std::ops::ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        for seq in seq..self.position().0 {
            if visit(self.commit_at(seq)?).is_break() {
                return Ok(Position(seq + 1));
            }
        }
        Ok(self.position())
    }
}
