//! Bytes that an erasure has to destroy, remembered to be looked for.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use ate::Json;
use ate::log::{FileLog, FrameKind, Location, Log as _, PartBytes, Scan};

use super::Run;
use crate::invariants::{self, Violation};
use crate::oracle::Stop;
use crate::session::Outcome;

/// What a commit is about to erase.
#[derive(Debug)]
pub struct Doomed {
    /// In which chain.
    pub chain: &'static str,
    /// Which document.
    pub name: String,
    /// Where the erasure will stand.
    pub position: usize,
    /// Parts of its contents.
    pub samples: Vec<Sample>,
}

/// Some bytes from the middle of a sealed body. No two bodies have them in common.
pub type Sample = [u8; 24];

impl Run {
    /// Samples of all contents of a document that can be told from others: those that are alone in their commit.
    pub fn sample(&self, chain: &str, name: &str) -> Outcome<Vec<Sample>> {
        let chain = self.session.chain(chain)?;
        let versions = chain.history::<Json>(name)?;
        let with_content = versions.iter().filter(|entry| entry.content_bytes > 0);
        let numbers: BTreeSet<u64> = with_content.map(|entry| entry.version.seq).collect();
        // Another process reads them, so that nothing which waits for this one hits it.
        let reader = FileLog::open_reader(Arc::new(self.storage.process()))
            .map_err(|error| Stop::Store(error.into()))?;
        let (mut samples, mut elsewhere) = (Vec::new(), Vec::new());
        let scan = Scan::from(reader.start())
            .of(chain.id().stream())
            .with_bodies();
        let scanned = reader.scan(scan, &mut |frame| {
            let is_meant = frame.kind == FrameKind::Commit && numbers.contains(&frame.number);
            let bodies: Vec<(Location, PartBytes<'_>)> =
                frame.parts().skip(usize::from(frame.head_parts)).collect();
            match bodies.as_slice() {
                [(_, PartBytes::Here(bytes))] if is_meant => samples.extend(middle(bytes)),
                [(at, PartBytes::NotRead { bytes })] if is_meant => elsewhere.push((*at, *bytes)),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        scanned.map_err(|error| Stop::Store(error.into()))?;
        for (at, bytes) in elsewhere {
            let mut body = vec![0; bytes as usize];
            let read = reader.read_body(at, &mut body);
            read.map_err(|error| Stop::Store(error.into()))?;
            samples.extend(middle(&body));
        }
        Ok(samples)
    }

    /// Nothing that was destroyed is found in any file.
    pub fn nothing_comes_back(&self) -> Outcome {
        Ok(self.none_of(&self.destroyed)?)
    }

    /// What any erasure erased that is in its chain now, whatever became of its answer, is gone: opening finishes what a crash left.
    pub(super) fn nothing_doomed_is_left(&self) -> Outcome {
        let is_erased = |doomed: &&Doomed| {
            let known = self.session.oracle.chains.get(doomed.chain);
            let erased = known.and_then(|known| known.newest().erased.get(&doomed.name));
            erased.is_some_and(|position| *position >= doomed.position)
        };
        let doomed = self.doomed.iter().filter(is_erased);
        let samples = doomed.flat_map(|doomed| doomed.samples.iter().copied());
        Ok(self.none_of(&samples.collect())?)
    }

    pub(super) fn none_of(&self, samples: &BTreeSet<Sample>) -> Result<(), Violation> {
        if samples.is_empty() {
            return Ok(());
        }
        for (name, bytes) in self.storage.image() {
            if bytes
                .windows(size_of::<Sample>())
                .any(|window| window[0] != 0 && samples.contains(window))
            {
                return Err(invariants::DESTROYED.broken(format!("an erased body is in {name}")));
            }
        }
        Ok(())
    }
}

/// `None` for bodies that are too short to be unlike all others, or whose sample would begin with a zero, as empty space does.
fn middle(body: &[u8]) -> Option<Sample> {
    let at = (body.len() / 2).saturating_sub(size_of::<Sample>() / 2);
    let sample: Sample = *body.get(at..)?.first_chunk()?;
    (sample[0] != 0).then_some(sample)
}
