//! A process beside the writer: it sees states that the writer has confirmed, and never goes back.

use std::sync::Arc;

use crate::invariants::{self, Eyes, judge};
use crate::oracle::Stop;
use crate::run::Run;
use crate::session::Outcome;

pub(super) fn open(run: &mut Run) -> Outcome {
    let storage = run.storage.process();
    let builder = run.session.world.builder(Arc::new(storage)).read_only();
    run.reader = Some(builder.open().wait()?);
    look(run)
}

pub(super) fn look(run: &mut Run) -> Outcome {
    let Some(store) = run.reader.take() else {
        return Ok(());
    };
    run.tally.readers += 1;
    for info in store.chains()? {
        let chain = store.existing_chain(&info.name).wait()?;
        let before = chain.position();
        let after = chain
            .catch_up()
            .map_err(|error| Stop::Store(error.into()))?;
        if after < before {
            return Err(invariants::READER
                .broken(format!(
                    "chain {} went from {before:?} to {after:?}",
                    info.name
                ))
                .into());
        }
    }
    // The writer lives and has told everything that it acknowledged, unless that failed.
    let is_late = run.is_publication_late || run.storage.has_failed();
    judge(
        &store,
        &run.session.oracle,
        &run.session.world,
        Eyes::Reader { is_late },
    )?;
    run.reader = Some(store);
    Ok(())
}
