//! Reading sealed segments past damage.

use super::{Tier, show::Pieces};
use crate::{
    error::{Damage, ReadError},
    file_log::survey::{DamagedRange, Surveyed, Visit},
    frame::view,
    location::{Cursor, Location},
    log::Bodies,
    sealed::{Index, SealedFrame, Set},
    segment::SEGMENT_HEADER_BYTES,
};
use std::{ops::ControlFlow, sync::Arc};

impl Tier {
    /// Shows every intact frame of a sealed segment from `from` on, and what is damaged.
    pub(in crate::file_log) fn survey(
        &self,
        from: Location,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let manifest = self.manifest();
        let set = manifest.set(from.file).ok_or(ReadError::Corrupt {
            at: from,
            damage: Damage::SealedMissing,
        })?;
        let mut groups = Vec::with_capacity(set.groups.len());
        for group in self.groups(set) {
            match group {
                Ok(group) => groups.push(group),
                Err(ReadError::Corrupt { damage, .. }) => {
                    let range = DamagedRange {
                        at: Location {
                            file: from.file,
                            offset: 0,
                        },
                        end: set.end,
                        damage,
                        frame: None,
                    };
                    if from.offset <= SEGMENT_HEADER_BYTES
                        && visit(Surveyed::Damaged(&range)).is_break()
                    {
                        return Ok(ControlFlow::Break(from));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let mut groups: Vec<_> = groups
            .iter_mut()
            .map(|(index, pieces)| (index.frames_from(from.offset).peekable(), pieces))
            .collect();
        loop {
            let next = groups
                .iter_mut()
                .filter_map(|(frames, pieces)| {
                    let offset = frames.peek()?.offset;
                    Some((offset, frames, pieces))
                })
                .min_by_key(|(offset, ..)| *offset);
            let Some((_, frames, pieces)) = next else {
                return Ok(ControlFlow::Continue(()));
            };
            let frame = frames.next().expect("peeked at");
            let surveyed = pieces.survey(&frame, visit)?;
            if surveyed.is_break() {
                return Ok(surveyed);
            }
        }
    }

    fn groups<'a>(
        &'a self,
        set: &'a Set,
    ) -> impl Iterator<Item = Result<(Arc<Index>, Pieces), ReadError>> + 'a {
        set.groups.iter().map(move |files| {
            let pair = self.pair(set, files)?;
            Ok((self.index(&pair)?, Pieces::new(pair, Bodies::Read)))
        })
    }
}

impl Pieces {
    fn survey(
        &mut self,
        frame: &SealedFrame,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<Cursor>, ReadError> {
        let at = self.place(frame);
        let (header, damage) = match self.read(frame) {
            Ok(header) => (Some(header), None),
            Err(ReadError::Corrupt { damage, .. }) => match self.read_heads_alone(frame) {
                Ok(header) => (Some(header), Some(damage)),
                Err(ReadError::Corrupt { .. }) => (None, Some(damage)),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let name = header.and_then(|header| header.name());
        let range = damage.map(|damage| DamagedRange {
            at,
            end: frame.offset + frame.total,
            damage,
            frame: name,
        });
        let shown = header
            .zip(name)
            .map(|(header, name)| view(at, &header, name.kind, &self.bytes, &self.gone));
        let surveyed = match (&range, shown) {
            (None, Some(frame)) => Surveyed::Frame(frame),
            (Some(damage), Some(frame)) => Surveyed::Bodiless { frame, damage },
            (Some(range), None) => Surveyed::Damaged(range),
            // A mark.
            (None, None) => return Ok(ControlFlow::Continue(())),
        };
        Ok(if visit(surveyed).is_break() {
            ControlFlow::Break(Location {
                file: at.file,
                offset: frame.offset + frame.total,
            })
        } else {
            ControlFlow::Continue(())
        })
    }
}
