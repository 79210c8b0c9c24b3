//! Following a chain: taking in what the node shows, and holding what it says against what it said.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ate_chain::{Checkpoint, Contents, Local, Position, ShownFrame};
use ate_crypto::Hash;

use super::remote::Shared;
use super::session::Session;
use crate::error::NetError;
use crate::framed::{BULK_BYTES_MAX, FrameReader};
use crate::node::blocking;
use crate::notebook::{Evidence, Kept};
use crate::wire::{Kind, RefusalCode, Request, Standing, decode};

/// Pause after a stream broke while the connection stands; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After so long without news, what came is synced.
const SYNC_AFTER: Duration = Duration::from_millis(100);
/// Frames that are taken in without handing the thread's other tasks over first.
const SMALL_BYTES: usize = 32 << 10;

pub(super) async fn follow(shared: Arc<Shared>, weak: Weak<Local>) {
    let mut pause = PAUSE;
    loop {
        let session = shared.link.up().await;
        let Some(begun) = weak.upgrade().map(|local| local.position()) else {
            return;
        };
        let ended = stream(&shared, &weak, &session).await;
        let Some(local) = weak.upgrade() else { return };
        match ended {
            Err(NetError::Diverged(what)) => {
                tracing::error!(chain = %shared.chain, node = %shared.link.endpoint.node, %what, "the node is not followed any more");
                // Nobody waits for ever for what will not come.
                local.abandon_staged(&format!("its node is not followed any more: {what}"));
                local.end_watches();
                shared.note(|status| status.diverged = Some(what));
                return;
            }
            Err(error) => {
                tracing::debug!(chain = %shared.chain, %error, "not following");
                // A chain that was founded here is there with its first commit.
                let is_unborn = local.position() == Position(0)
                    && matches!(
                        &error,
                        NetError::Refused {
                            code: RefusalCode::Absent,
                            ..
                        }
                    );
                shared.note(|status| {
                    status.trouble = (!is_unborn).then(|| error.to_string());
                });
            }
            Ok(()) => {}
        }
        if local.position() > begun {
            pause = PAUSE;
        }
        drop(local);
        // An answer to a commit is a reason to look at once.
        drop(tokio::time::timeout(pause, shared.look.notified()).await);
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

async fn stream(shared: &Shared, weak: &Weak<Local>, session: &Session) -> Result<(), NetError> {
    let from = match weak.upgrade() {
        Some(local) => local.position().0,
        None => return Ok(()),
    };
    let request = Request::Follow {
        chain: shared.chain.0.0,
        from,
        lazy: shared.contents == Contents::Lazy,
    };
    let (_writer, mut reader) = session.request(&request).await?;
    let mut is_dirty = false;
    let kept = || {
        let notebook = &shared.link.client.notebook;
        notebook.kept(&shared.chain, &shared.link.endpoint.node)
    };
    let mut before = blocking(kept);
    loop {
        let message = match next(&mut reader, is_dirty).await {
            Some(message) => message?,
            None => {
                let Some(local) = weak.upgrade() else {
                    return Ok(());
                };
                is_dirty = false;
                let synced = blocking(|| local.committer().log().sync());
                synced.map_err(|error| NetError::Store(error.to_string()))?;
                continue;
            }
        };
        let Some((kind, payload)) = message else {
            return Ok(());
        };
        let Some(local) = weak.upgrade() else {
            return Ok(());
        };
        match kind {
            Kind::Frames => {
                let frames = ShownFrame::decode_all(&payload)
                    .map_err(|error| accuse(shared, error.to_string(), None))?;
                let take_in = || local.take_in(&frames);
                // Handing the thread's other tasks over costs more than a few commits.
                let taken = match payload.len() {
                    0..=SMALL_BYTES => take_in(),
                    _ => blocking(take_in),
                };
                let taken = taken.map_err(NetError::from);
                taken.map_err(|error| match error {
                    NetError::Diverged(what) => accuse(shared, what, None),
                    error => error,
                })?;
                is_dirty = true;
            }
            Kind::Standing => {
                let standing: Standing = decode(&payload)?;
                let mut hold = || hold(shared, &local, &standing, &mut before);
                match &standing.note {
                    None => hold()?,
                    // It may be written down.
                    Some(_) => blocking(hold)?,
                }
            }
            _ => {
                return Err(NetError::Protocol {
                    what: "a follower is shown frames and standings",
                });
            }
        }
    }
}

/// The next message; `None` if none came and there is something to sync.
async fn next(
    reader: &mut FrameReader,
    is_dirty: bool,
) -> Option<Result<Option<(Kind, bytes::Bytes)>, NetError>> {
    if !is_dirty {
        return Some(reader.next(BULK_BYTES_MAX).await);
    }
    let message = tokio::time::timeout(SYNC_AFTER, reader.next(BULK_BYTES_MAX)).await;
    message.ok()
}

/// Keeps evidence against the node.
fn accuse(shared: &Shared, what: String, now: Option<Kept>) -> NetError {
    let (notebook, node) = (&shared.link.client.notebook, &shared.link.endpoint.node);
    let evidence = Evidence {
        what: what.clone(),
        before: notebook.kept(&shared.chain, node),
        now,
    };
    notebook.accuse(&shared.chain, node, &evidence);
    NetError::Diverged(what)
}

/// Holds what the node says against the own state, and against what it said before, as far as that was written down.
fn hold(
    shared: &Shared,
    local: &Local,
    standing: &Standing,
    before: &mut Option<Kept>,
) -> Result<(), NetError> {
    let (notebook, node) = (&shared.link.client.notebook, &shared.link.endpoint.node);
    let now = Kept {
        size: standing.size,
        root: Hash(standing.root),
        note: standing.note.clone(),
    };
    let diverged = |what: &str| Err(accuse(shared, what.into(), Some(now.clone())));
    let is_signed = match &standing.note {
        None => false,
        Some(note) => {
            let keys = local.genesis().map(|genesis| genesis.note_keys.clone());
            let checkpoint = Checkpoint::verify(note, &shared.chain, &keys.unwrap_or_default());
            match checkpoint {
                Ok(signed) if signed.size == now.size && signed.root == now.root => true,
                // Before the genesis has come nobody can tell who may sign.
                _ if !local.is_born() => false,
                #[cfg(ate_planted)]
                _ if ate_crypto::planted("take-any-note") => false,
                _ => return diverged("the node's checkpoint is not signed by a key of the chain"),
            }
        }
    };
    let known = before
        .as_ref()
        .map_or(0, |kept| kept.size)
        .max(local.position().0);
    let is_shorter = now.size < known;
    #[cfg(ate_planted)]
    let is_shorter = is_shorter && !ate_crypto::planted("believe-a-shorter-chain");
    if is_shorter {
        return diverged("the node has gone back behind what it had acknowledged");
    }
    let is_other = |root: Hash| root != now.root;
    #[cfg(ate_planted)]
    let is_other = |root| is_other(root) && !ate_crypto::planted("skip-the-root-of-a-standing");
    match local.root_at(Position(now.size)) {
        Some(root) if is_other(root) => {
            return diverged("the node says another root than its commits have");
        }
        Some(_) => shared.note(|status| {
            status.agreed = status.agreed.max(now.size);
            if is_signed {
                status.proven = status.proven.max(now.size);
            }
            status.trouble = None;
        }),
        None => {}
    }
    shared.note(|status| status.node_size = Some(now.size));
    let is_further = before
        .as_ref()
        .is_none_or(|kept| now.size > kept.size || kept.note.is_none() && is_signed);
    if is_further && local.position().0 >= now.size {
        notebook.keep(&shared.chain, node, &now);
        // What was not signed may not have been written down; what came in knows that size anyway.
        if now.note.is_some() {
            *before = notebook.kept(&shared.chain, node);
        }
    }
    Ok(())
}
