//! What goes wrong, at once or at a call that chance chooses.

use ate::log::Fault;

use crate::run::Run;
use crate::session::Outcome;

/// Most calls that trouble waits: a commit makes a handful, an opening some dozens.
const CALLS_MAX: u64 = 40;

pub(super) fn kill(run: &mut Run) -> Outcome {
    run.kill();
    Ok(())
}

pub(super) fn cut_now(run: &mut Run) -> Outcome {
    run.power_comes_back()
}

/// The cut hits whatever operation gets there.
pub(super) fn cut_soon(run: &mut Run) -> Outcome {
    run.storage.cut_after(run.random.below(CALLS_MAX));
    Ok(())
}

pub(super) fn fail_sync(run: &mut Run) -> Outcome {
    run.storage.fail_sync_after(run.random.below(6));
    Ok(())
}

pub(super) fn fail(run: &mut Run, fault: Fault) -> Outcome {
    let calls = run.random.below(CALLS_MAX);
    if run.random.one_in(3) {
        run.storage.fail_from_after(calls, fault);
    } else {
        run.storage.fail_once_after(calls, fault);
    }
    Ok(())
}

pub(super) fn fill(run: &mut Run) -> Outcome {
    let room = run.random.below(96 << 10);
    let used = run.storage.disk().bytes();
    run.storage.set_capacity(Some(used + room));
    Ok(())
}

pub(super) fn flip_read(run: &mut Run) -> Outcome {
    let choice = run.random.next();
    run.storage.flip_read_after(run.random.below(12), choice);
    Ok(())
}
