//! Showing a chain: its frames from a commit on, then those that come, each once and in order. A follower that does not read slows nobody but itself.

use std::sync::Arc;

use ate_chain::{Contents, Local, Position, ShowFrom, ShownFrame};
use tokio::time::Instant;

use super::left;
use super::serve::{Visit, done};
use crate::error::NetError;
use crate::framed::{FrameReader, FrameWriter};
use crate::metrics::RequestEnd;
use crate::wire::{Kind, RefusalCode, Standing, encode};

/// A follower has nothing to say.
const FOLLOWER_BYTES_MAX: usize = 64;
/// Commits behind the last that was shown which are read without handing the thread's other tasks over first.
const NEWS_COMMITS: u64 = 4;

/// Whether a standing is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    Signed,
    None,
}

/// Where the chain stands here.
pub(super) fn standing(visit: &Visit, local: &Local, note: Note) -> Standing {
    let note = match note {
        Note::Signed => local.checkpoint(&visit.shared.parts.identity),
        Note::None => None,
    };
    let signed = note.as_deref().and_then(|note| local.check(note).ok());
    let size = signed.map_or_else(|| local.position().0, |checkpoint| checkpoint.size);
    standing_at(local, Position(size), note)
}

/// Where the chain stood here at a position that it has reached.
pub(super) fn standing_at(local: &Local, position: Position, note: Option<String>) -> Standing {
    Standing {
        size: position.0,
        root: local.root_at(position).unwrap_or_default().0,
        order_time_ms: local.order_time_of(position.0),
        note,
    }
}

pub(super) async fn follow(
    visit: &Visit,
    local: &Arc<Local>,
    from: u64,
    lazy: bool,
    mut writer: FrameWriter,
    mut reader: FrameReader,
) -> Result<RequestEnd, NetError> {
    let Some(from) = local.show_from(from) else {
        // What it has is more than the follower may know of: it is evidence for whoever kept a checkpoint.
        let standing = visit.work(|| standing(visit, local, Note::Signed)).await;
        visit
            .send(&mut writer, Kind::Standing, &encode(&standing))
            .await?;
        let why = "the chain is shorter here";
        return visit.refuse(writer, RefusalCode::Behind, why).await;
    };
    let contents = if lazy {
        Contents::Lazy
    } else {
        Contents::Eager
    };
    let metrics = &visit.shared.gate.metrics;
    let _follows = metrics.follow_streams.enter();
    tokio::select! {
        biased;
        () = left(visit.shared.leaving.clone()) => {}
        // The follower says nothing more; when its side ends, it is gone.
        _ = reader.next(FOLLOWER_BYTES_MAX) => return Ok(RequestEnd::Done),
        shown = show(visit, local, from, contents, &mut writer) => {
            if let Err(NetError::TimedOut { .. }) = &shown {
                metrics.follow_cut_off.add(1);
            }
            shown?;
            return done(writer);
        }
    }
    let why = "the node is shutting down";
    visit.refuse(writer, RefusalCode::Leaving, why).await
}

async fn show(
    visit: &Visit,
    local: &Arc<Local>,
    mut from: ShowFrom,
    contents: Contents,
    writer: &mut FrameWriter,
) -> Result<(), NetError> {
    let limits = &visit.shared.parts.limits;
    let mut signed_at: Option<Instant> = None;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let shown_to = from.seq();
        let show = || {
            let mut frames: Vec<ShownFrame> = Vec::new();
            let behind = local.show(from, contents, limits.shown_bytes, &mut frames)?;
            frames.iter().for_each(|frame| frame.encode(&mut bytes));
            Ok::<_, NetError>(behind)
        };
        // What has just come is still in memory.
        from = if local.position().0.saturating_sub(shown_to) <= NEWS_COMMITS {
            visit.little(show).await?
        } else {
            visit.work(show).await?
        };
        if !bytes.is_empty() {
            visit.send(writer, Kind::Frames, &bytes).await?;
            let metrics = &visit.shared.gate.metrics;
            metrics.follow_commits.add(from.seq() - shown_to);
            if from.seq() < local.position().0 {
                continue;
            }
        }
        // All that there is was shown.
        let note = match signed_at {
            Some(at) if at.elapsed() < limits.note_every => Note::None,
            _ => Note::Signed,
        };
        // A follower that waits for news holds no buffer.
        bytes = Vec::new();
        let standing = match note {
            Note::None => visit.little(|| standing(visit, local, note)).await,
            Note::Signed => {
                signed_at = Some(Instant::now());
                visit.work(|| standing(visit, local, note)).await
            }
        };
        visit
            .send(writer, Kind::Standing, &encode(&standing))
            .await?;
        if local.past(Position(from.seq())).await.is_none() {
            // The chain was let go here: the follower asks again.
            return Ok(());
        }
    }
}
