//! Bringing a chain into memory, following what another process writes, and proving it all again: what is done with replays.

use std::cell::Cell;
use std::sync::Arc;

use ate_crypto::Hash;
use ate_log::{Location, Log, Placed};

use crate::commit::{Commit, Contents, Verified};
use crate::committer::{Committer, apply};
use crate::error::{OpenError, ReadError};
use crate::ids::{ChainId, Position};
use crate::local::Local;
use crate::replay::{Depth, Proved, ReadTo, Taken, replay};
use crate::rest::Rest;
use crate::state::State;
use crate::watch::Telling;

/// A commit that was judged, until its signature is verified.
pub(crate) struct Held {
    pub(crate) commit: Commit<Verified>,
    pub(crate) heads: Vec<u8>,
    pub(crate) metas: Vec<u8>,
    pub(crate) contents: Contents,
    pub(crate) placed: Placed,
}

impl Held {
    pub(crate) fn of(taken: Taken<'_>) -> Self {
        let Taken {
            commit,
            heads,
            metas,
            contents,
            placed,
        } = taken;
        Self {
            commit,
            heads: heads.into(),
            metas: metas.into(),
            contents,
            placed,
        }
    }

    /// As it stands at `placed`.
    pub(crate) fn at(self, placed: Placed, confirm: impl FnOnce(&Taken<'_>)) {
        let Self {
            commit,
            heads,
            metas,
            contents,
            placed: _,
        } = self;
        confirm(&Taken {
            commit,
            heads: &heads,
            metas: &metas,
            contents,
            placed,
        });
    }
}

impl Local {
    /// Loads a chain from the log, from a sealed state if one fits, else from its genesis.
    ///
    /// # Errors
    /// [`OpenError`]; no chain is given out.
    ///
    /// # Cost
    /// Without a sealed state linear in the heads of the chain; with one, in what was written since.
    pub fn open(
        committer: &Arc<Committer>,
        chain: ChainId,
        rest: Option<Rest>,
    ) -> Result<Arc<Self>, OpenError> {
        let local = Self::at(committer, chain, rest);
        local.load()?;
        Ok(local)
    }

    /// A chain at rest, or empty: [`Local::load`] has to follow, before anything is read. In between an observer can be named that learns of what is
    /// replayed.
    pub fn at(committer: &Arc<Committer>, chain: ChainId, rest: Option<Rest>) -> Arc<Self> {
        let (state, from) = match rest {
            Some(rest) => (rest.state, rest.cursor),
            None => (State::new(chain), committer.log().start()),
        };
        let local = Self::assemble(committer.clone(), state, None);
        *local.read_to.lock() = ReadTo::at(from);
        local
    }

    /// Replays and proves what the log holds beyond the state.
    ///
    /// # Errors
    /// [`OpenError`]; the chain is not to be used, and what an observer was told until then is worth nothing.
    pub fn load(&self) -> Result<(), OpenError> {
        self.load_proven()?.map_or(Ok(()), Err)
    }

    /// As [`Local::load`], but a chain that is damaged or incomplete is loaded up to its last commit that is proven; what ended it there comes back.
    ///
    /// # Errors
    /// [`OpenError`] if not even one commit is proven, a signature does not hold, or a sealed state does not fit the log; the chain is not to be used.
    pub fn load_proven(&self) -> Result<Option<OpenError>, OpenError> {
        let (chain, from, sealed) = (self.chain(), self.read_to.lock().cursor, self.position().0);
        if from > self.log.durable() {
            return Err(OpenError::RolledBack {
                chain,
                found: 0,
                sealed,
            });
        }
        self.ends_as_sealed()?;
        let telling = Telling::of(self);
        let mut state = self.state.write();
        let stretch = replay(
            &*self.log,
            &mut state,
            ReadTo::at(from),
            Depth::Heads,
            &mut |_| {},
            &mut |state, taken| apply(&telling, state, &taken),
            &|_| false,
        )?;
        *self.read_to.lock() = stretch.to;
        let confirmed = state.confirmed();
        state.shrink(self.committer().common());
        drop(state);
        match stretch.failed {
            failed if confirmed > 0 => Ok(failed),
            Some(error) => Err(error),
            None => Err(OpenError::NotFound { chain }),
        }
    }

    /// The log holds the commit that a sealed state ends with.
    fn ends_as_sealed(&self) -> Result<(), OpenError> {
        let last = self.with_state(|state| state.commits.last().copied());
        let Some((last, seq)) = last.zip(self.position().0.checked_sub(1)) else {
            return Ok(());
        };
        match self.commit_head(&last, seq) {
            Ok(_) => Ok(()),
            // Nothing is known about bytes that the disk did not give.
            Err(ReadError::Log(source @ ate_log::ReadError::Io { .. })) => {
                Err(OpenError::Log(source))
            }
            Err(_) => Err(OpenError::Damaged {
                chain: self.chain(),
                seq,
                at: Location {
                    file: last.file,
                    offset: last.frame,
                },
                why: "the log does not hold what this store had sealed a state of: it was replaced",
            }),
        }
    }

    /// Takes in what another process wrote since, for a store that is open for reading; the position after it. A writer's state holds it all already.
    ///
    /// # Errors
    /// As [`Local::open`]; the state stays at the last good commit. Nothing is shown before its signature was verified.
    pub fn catch_up(&self) -> Result<Position, OpenError> {
        /// Heads that wait for their signature.
        const HELD_BYTES_MAX: usize = 32 << 20;
        if self.log.writable() {
            return Ok(self.position());
        }
        let durable = self.log.refresh()?;
        let telling = Telling::of(self);
        let mut state = self.state.write();
        loop {
            let from = self.read_to.lock().clone();
            let (mut held, held_bytes) = (Vec::new(), Cell::new(0));
            let stretch = replay(
                &*self.log,
                &mut state,
                from,
                Depth::Heads,
                &mut |_| {},
                &mut |_, taken| {
                    held_bytes.set(held_bytes.get() + taken.heads.len() + taken.metas.len());
                    held.push(Held::of(taken));
                },
                &|_| held_bytes.get() > HELD_BYTES_MAX,
            );
            let stretch = match stretch {
                Ok(stretch) => stretch,
                Err(error) => {
                    let confirmed = state.confirmed();
                    state.rollback_to(confirmed);
                    return Err(error);
                }
            };
            for held in held {
                let placed = held.placed;
                held.at(placed, |taken| apply(&telling, &mut state, taken));
            }
            let end = stretch.to.cursor;
            *self.read_to.lock() = stretch.to;
            match stretch.failed {
                Some(error) => return Err(error),
                None if end >= durable => return Ok(Position(state.confirmed())),
                None => {}
            }
        }
    }

    /// Proves the whole chain again from its genesis, from the log alone: no sealed state, no cache, nothing that was believed before.
    ///
    /// # Errors
    /// [`OpenError`] with chain, commit, file and offset of the first thing that does not hold.
    pub fn verify(
        log: &dyn Log,
        chain: ChainId,
        depth: Depth,
        mut progress: impl FnMut(&Proved),
    ) -> Result<(Proved, Position, Hash), OpenError> {
        let mut state = State::new(chain);
        let mut confirm = |state: &mut State, taken: Taken<'_>| {
            let (heads, metas) = (taken.heads.len() as u32, taken.metas.len() as u32);
            state.confirm_next(&taken.placed, heads, metas, taken.contents, |_, _| {});
        };
        let stretch = replay(
            log,
            &mut state,
            ReadTo::at(log.start()),
            depth,
            &mut progress,
            &mut confirm,
            &|_| false,
        )?;
        if let Some(error) = stretch.failed {
            return Err(error);
        }
        if state.confirmed() == 0 {
            return Err(OpenError::NotFound { chain });
        }
        Ok((
            stretch.proved,
            Position(state.confirmed()),
            state.root_at(state.confirmed()),
        ))
    }
}
