//! Reading everything again, to find what the disk has damaged before it is needed.

use super::{
    FileLog,
    walk::{Step, Walker, Window},
};
use crate::{
    error::{Damage, ReadError},
    frame::{Binding, Stub},
    location::Location,
    log::Scan,
    maintenance::{Pace, Scrubbed},
    segment::{SEGMENT_HEADER_BYTES, segment_name},
};
use std::ops::ControlFlow;

/// How much is checked between two calls of a pace.
const PACE_BYTES: u64 = 256 << 10;

/// Gets each damage that was found.
type Found<'a> = dyn FnMut(Location, Damage) + 'a;

impl FileLog {
    pub(super) fn scrub_all(
        &self,
        pace: &mut dyn Pace,
        found: &mut Found<'_>,
    ) -> Result<Scrubbed, ReadError> {
        let end = self.durable_cursor();
        let mut scrubbed = Scrubbed::default();
        for number in self.segments.first()..=end.file {
            let flow = self.scrub_number(number, end, &mut scrubbed, pace, found)?;
            if flow.is_break() {
                return Ok(scrubbed);
            }
            scrubbed.segments += 1;
        }
        scrubbed.finished = true;
        Ok(scrubbed)
    }

    /// Checks one segment, wherever it is.
    pub(super) fn scrub_number(
        &self,
        number: u32,
        end: Location,
        scrubbed: &mut Scrubbed,
        pace: &mut dyn Pace,
        found: &mut Found<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        self.in_either_tier(
            number,
            &mut (scrubbed, pace, found),
            |(scrubbed, pace, found)| self.scrub_segment(number, end, scrubbed, *pace, *found),
            |(scrubbed, pace, found)| self.scrub_set(number, scrubbed, *pace, *found),
        )
    }

    /// Checks a segment that stands as it was written. Behind damage nothing of it is looked at.
    fn scrub_segment(
        &self,
        number: u32,
        end: Location,
        scrubbed: &mut Scrubbed,
        pace: &mut dyn Pace,
        found: &mut Found<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let limit = match self.segments.sealed(number) {
            Some(sealed) if number < end.file => sealed,
            _ => end.offset,
        };
        let file = self.segments.handle(number)?;
        let binding = Binding::new(self.segments.log_id(), number);
        let mut walker = Walker::new(
            file,
            binding,
            SEGMENT_HEADER_BYTES,
            limit,
            Window::default(),
        );
        let mut unpaced = 0;
        loop {
            let at = Location {
                file: number,
                offset: walker.at,
            };
            let step = walker.step().map_err(|source| ReadError::Io {
                doing: "read",
                name: segment_name(number),
                source,
            })?;
            let damage = match step {
                Step::End => return Ok(ControlFlow::Continue(())),
                Step::Short => Damage::SegmentShort,
                Step::Bad(bad) => bad.damage,
                Step::Frame { header, bytes, .. } => {
                    let (stubs, total) = (header.stubs(bytes), u64::from(header.total));
                    scrubbed.frames += 1;
                    unpaced += total + self.scrub_large(at, &stubs, scrubbed, found)?;
                    scrubbed.bytes += total;
                    if unpaced >= PACE_BYTES && pace.did(std::mem::take(&mut unpaced)).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    continue;
                }
            };
            scrubbed.damaged += 1;
            found(at, damage);
            return Ok(ControlFlow::Continue(()));
        }
    }

    /// Checks the large bodies that a frame names.
    fn scrub_large(
        &self,
        at: Location,
        stubs: &[Stub],
        scrubbed: &mut Scrubbed,
        found: &mut Found<'_>,
    ) -> Result<u64, ReadError> {
        let mut bytes = 0;
        for stub in stubs {
            let mut body = vec![0; stub.bytes as usize];
            match self.large.read(at, stub, &mut body) {
                Ok(()) => scrubbed.large_bodies += 1,
                Err(ReadError::Corrupt { damage, .. }) => {
                    scrubbed.damaged += 1;
                    found(at, damage);
                }
                Err(error) => return Err(error),
            }
            bytes += u64::from(stub.bytes);
        }
        scrubbed.bytes += bytes;
        Ok(bytes)
    }

    /// Checks a segment that is sealed.
    fn scrub_set(
        &self,
        number: u32,
        scrubbed: &mut Scrubbed,
        pace: &mut dyn Pace,
        found: &mut Found<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let manifest = self.tier.manifest();
        let set = manifest.set(number).ok_or(ReadError::Corrupt {
            at: Location {
                file: number,
                offset: 0,
            },
            damage: Damage::SealedMissing,
        })?;
        for files in &set.groups {
            let pair = match self.tier.pair(set, files) {
                Ok(pair) => pair,
                Err(ReadError::Corrupt { at, damage }) if damage != Damage::SealedMissing => {
                    scrubbed.damaged += 1;
                    found(at, damage);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut damaged = 0;
            let flow = pair.scrub(&mut |bytes| pace.did(bytes), &mut |at, damage| {
                damaged += 1;
                found(at, damage);
            })?;
            scrubbed.damaged += damaged;
            scrubbed.bytes += u64::from(files.heads_bytes) + u64::from(files.bodies_bytes);
            if flow.is_break() {
                return Ok(flow);
            }
            scrubbed.frames += u64::from(pair.frame_count()).saturating_sub(damaged);
        }
        self.scrub_large_of_set(number, scrubbed, pace, found)
    }

    /// Checks the large bodies that the frames of a sealed segment name.
    fn scrub_large_of_set(
        &self,
        number: u32,
        scrubbed: &mut Scrubbed,
        pace: &mut dyn Pace,
        found: &mut Found<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let start = Location {
            file: number,
            offset: SEGMENT_HEADER_BYTES,
        };
        let (mut failed, mut flow) = (None, ControlFlow::Continue(()));
        let shown = self
            .tier
            .show(&Scan::from(start).with_bodies(), start, &mut |frame| {
                let large = frame
                    .large_bodies()
                    .map_while(|at| self.stub_at(at).transpose())
                    .collect::<Result<Vec<Stub>, ReadError>>()
                    .and_then(|stubs| self.scrub_large(frame.at, &stubs, scrubbed, found));
                match large {
                    Ok(0) => return ControlFlow::Continue(()),
                    Ok(bytes) => flow = pace.did(bytes),
                    Err(error) => failed = Some(error),
                }
                if failed.is_some() || flow.is_break() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        match (failed, shown) {
            (Some(error), _) => Err(error),
            // It was found, and told, above.
            (None, Err(ReadError::Corrupt { .. })) | (None, Ok(_)) => Ok(flow),
            (None, Err(error)) => Err(error),
        }
    }

    /// The stub at a place; `None` if the body is gone.
    fn stub_at(&self, at: Location) -> Result<Option<Stub>, ReadError> {
        let mut bytes = [0; crate::frame::STUB_BYTES as usize];
        match self.tier.read(at, &mut bytes) {
            Ok(()) => Ok(Some(Stub::decode(&bytes))),
            Err(ReadError::Erased { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
