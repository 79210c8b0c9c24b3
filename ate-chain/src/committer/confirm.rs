//! Confirming: durable commits become visible to readers and are told to the observer, in the order of their chain.

use ate_log::Placed;

use crate::commit::Contents;
use crate::local::Local;
use crate::observe::{ConfirmedCommit, RowChange};
use crate::replay::{Taken, frame_bytes};
use crate::seal::Placing;
use crate::state::State;
use crate::watch::Telling;

use super::Committed;

/// Makes the oldest pending commit of a chain visible. It is durable.
pub(super) fn confirm(local: &Local, placing: Placing, seq: u64, placed: &Placed) -> Committed {
    let telling = Telling::of(local);
    let mut state = local.state.write();
    let committed = Committed {
        chain: local.chain(),
        seq,
        id: placing.commit.id,
        order_time_ms: placing.commit.order_time_ms,
    };
    let taken = Taken {
        commit: placing.commit,
        heads: &placing.heads,
        metas: &placing.metas,
        contents: Contents::InFrame,
        placed: *placed,
    };
    apply(&telling, &mut state, &taken);
    local
        .read_to
        .lock()
        .pass(placed.next, frame_bytes(placed.frame, placed.next));
    committed
}

/// Confirms a commit and tells the observer: the one way into what readers see, for commits made here and for those that a load replays. Those who
/// watch the position are told when `local` goes, which outlives the lock of the state.
pub(crate) fn apply(local: &Telling<'_>, state: &mut State, taken: &Taken<'_>) {
    let Taken {
        commit,
        heads,
        metas,
        contents,
        placed,
    } = taken;
    let seq = state.confirmed();
    let observer = local.observer.read();
    let mut changed = Vec::with_capacity(if observer.is_some() {
        commit.events.len()
    } else {
        0
    });
    state.confirm_next(
        placed,
        heads.len() as u32,
        metas.len() as u32,
        *contents,
        |slot, above| {
            if observer.is_some() {
                changed.push((slot, above));
            }
        },
    );
    if let Some(observer) = &*observer {
        let changes: Vec<RowChange> = changed
            .into_iter()
            .map(|(slot, above)| RowChange::of(state, slot, above))
            .collect();
        let head = &commit.head;
        observer.confirmed(&ConfirmedCommit {
            seq,
            order_time_ms: commit.order_time_ms,
            author: head.author,
            salt: head.salt,
            commitments: &head.commitments,
            events: &commit.events,
            heads,
            metas,
            changes: &changes,
        });
    }
}
