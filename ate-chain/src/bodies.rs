//! Where the sealed parts of a commit stand in the log.

use ate_log::{Location, Span, body_bytes_in_frame};

use crate::commit::Contents;
use crate::event::EventHead;
use crate::state::CommitRow;

/// Bytes of the checksum behind each frame part.
pub(crate) const CRC_BYTES: u32 = 4;

/// The sealed parts of one event.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct BodyPlaces {
    /// The name: a range within frame part 1.
    pub(crate) meta: Option<Span>,
    /// The content: a frame part of its own.
    pub(crate) content: Option<Span>,
}

/// Bytes that a sealed content of `bytes` takes in its frame, checksum included.
pub(crate) const fn content_bytes_in_frame(bytes: u32) -> u32 {
    body_bytes_in_frame(bytes) + CRC_BYTES
}

/// The sealed parts of every event of a commit, in event order. Contents that stand apart from the frame have no place in it.
pub(crate) fn body_places<'e>(
    row: &CommitRow,
    events: impl Iterator<Item = &'e EventHead> + Clone,
) -> Vec<BodyPlaces> {
    let metas_bytes: u32 = events
        .clone()
        .filter_map(|event| event.meta)
        .map(|meta| meta.bytes)
        .sum();
    let mut meta_offset = row.heads + row.heads_bytes() + CRC_BYTES;
    let mut content_offset = meta_offset + metas_bytes + CRC_BYTES;
    let span = |offset, bytes| Span {
        at: Location {
            file: row.file,
            offset,
        },
        bytes,
    };
    let mut places = Vec::with_capacity(events.size_hint().0);
    for event in events {
        let meta = event.meta.map(|meta| {
            let at = meta_offset;
            meta_offset += meta.bytes;
            span(at, meta.bytes)
        });
        let in_frame = event
            .content
            .filter(|_| row.contents() == Contents::InFrame);
        let content = in_frame.map(|content| {
            let at = content_offset;
            content_offset += content_bytes_in_frame(content.bytes);
            span(at, content.bytes)
        });
        places.push(BodyPlaces { meta, content });
    }
    places
}
