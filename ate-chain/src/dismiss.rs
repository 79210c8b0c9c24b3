//! What a batch comes to before its signature is looked at: whoever sends rubbish costs a look-up, not a verification.
//!
//! Nothing here lets a commit in. What is refused here the rules would refuse whatever the signature says: epochs and history only go forward.

use crate::batch::Batch;
use crate::committer::Committed;
use crate::error::{Reject, SubmitError};
use crate::seal::Placing;
use crate::state::{At, State};

/// Commits back from the newest among which one that was sent again is looked for. Older ones are looked for once the signature holds.
const LOOK_BACK: usize = 4096;

type Verdict = Result<Committed, SubmitError>;

/// What becomes of each commit, if the state says so of all of them; `None` if one has to be judged.
pub(crate) fn dismissed(state: &State, batch: &Batch) -> Option<Vec<Verdict>> {
    let commits = batch.commits.iter();
    commits
        .map(|placing| verdict(state, batch, placing))
        .collect()
}

fn verdict(state: &State, batch: &Batch, placing: &Placing) -> Option<Verdict> {
    let head = &placing.commit.head;
    let (author, lane) = (batch.author(), batch.lane());
    let last = state.lanes.get(&(author, lane)).map_or(0, |lane| lane.last);
    if head.number <= last {
        return known(state, batch, placing);
    }
    let was_there =
        head.seen.size <= state.next_seq() && head.seen.root == state.root_at(head.seen.size);
    if !was_there {
        return Some(Err(Reject::Seen.into()));
    }
    // An epoch that is over stays over; one that is not there yet may come with a commit in front of this one.
    let stale = head.commitments.iter().find_map(|commitment| {
        let current = state.scopes.get(&commitment.scope)?.epoch;
        (commitment.epoch < current).then_some(Reject::StaleEpoch {
            scope: commitment.scope,
            current,
        })
    });
    stale.map(|reject| Err(reject.into()))
}

/// A commit that was sent again. A number that another commit has used up is judged with the signature: which of the two is meant may lie long ago.
fn known(state: &State, batch: &Batch, placing: &Placing) -> Option<Verdict> {
    let (id, number) = (placing.commit.id, placing.commit.head.number);
    let found = state.find_recent(&batch.author(), &batch.lane(), number, &id, LOOK_BACK)?;
    Some(match found {
        At::Confirmed { seq, order_time_ms } => Ok(Committed {
            chain: state.chain,
            seq,
            id,
            order_time_ms,
        }),
        At::Pending => Err(SubmitError::Unknown {
            commit: id,
            why: "it was sent before and is on its way".into(),
        }),
    })
}
