//! A log that is written, sealed and erased from, with what should be in it.
#![allow(dead_code, reason = "each test file uses its own selection")]

use super::{Random, Remembered, SMALL, append};
use ate_log::{
    FileLog, FullSpeed, Image, Least, Location, Log, MemStorage, PartBytes, Placed, ReadError,
    Scan, Span, Storage,
};
use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

/// What stands in a log: numbers and bodies, `None` for one that was erased.
pub(crate) type Contents = Vec<(u64, Option<Vec<u8>>)>;

/// A log in memory and what was appended to it.
pub(crate) struct Story {
    pub(crate) storage: MemStorage,
    pub(crate) log: FileLog,
    pub(crate) frames: Vec<(Remembered, Placed)>,
    pub(crate) erased: BTreeSet<usize>,
    synced: usize,
}

impl Story {
    pub(crate) fn new() -> Self {
        let storage = MemStorage::new();
        Self {
            log: FileLog::open(Arc::new(storage.clone()), SMALL).expect("a new log"),
            storage,
            frames: Vec::new(),
            erased: BTreeSet::new(),
            synced: 0,
        }
    }

    pub(crate) fn append(&mut self, bytes: usize) {
        let frame = Remembered::commit(self.frames.len() as u64, bytes);
        let placed = append(&self.log, std::slice::from_ref(&frame)).expect("appended");
        self.frames.push((frame, placed[0]));
    }

    pub(crate) fn sync(&mut self) {
        self.log.sync().expect("synced");
        self.synced = self.frames.len();
    }

    pub(crate) fn erase(&mut self, index: usize) {
        let (frame, placed) = &self.frames[index];
        let span = Span {
            at: placed.part(&[frame.parts[0].len()]),
            bytes: frame.parts[1].len() as u32,
        };
        self.log
            .erase(&[span], Least::ANY, &mut FullSpeed)
            .expect("erased");
        self.erased.insert(index);
    }

    pub(crate) fn seal_all(&mut self) {
        while self.log.seal(&mut FullSpeed).expect("sealed") {}
    }

    pub(crate) fn reopen(&mut self) {
        // The lock must be free before the log is opened again.
        let other = MemStorage::new();
        self.log = FileLog::open(Arc::new(other), SMALL).expect("a new log");
        self.log = FileLog::open(Arc::new(self.storage.clone()), SMALL).expect("opened again");
        self.synced = self.frames.len();
    }

    /// What a copy up to the durable end has.
    pub(crate) fn durable(&self) -> Contents {
        let end = self.log.durable();
        let frames = self.frames.iter().enumerate();
        frames
            .take_while(|(_, (_, placed))| placed.next <= end)
            .map(|(index, (frame, _))| {
                let body = (!self.erased.contains(&index)).then(|| frame.parts[1].clone());
                (frame.number, body)
            })
            .collect()
    }

    /// Does something at random.
    pub(crate) fn step(&mut self, random: &mut Random) {
        match random.below(12) {
            0..=4 => {
                let bytes = match random.below(12) {
                    0 => 66_000 + random.below(9_000) as usize,
                    _ => 20 + random.below(700) as usize,
                };
                self.append(bytes);
            }
            5 | 6 => self.sync(),
            7 => {
                self.log.roll().expect("rolled");
            }
            8 => {
                self.log.seal(&mut FullSpeed).expect("sealed");
            }
            9 => self.seal_all(),
            10 if !self.frames.is_empty() => {
                let index = random.below(self.frames.len() as u64) as usize;
                self.erase(index);
            }
            _ => {
                if random.below(3) == 0 {
                    self.log.close().expect("closed");
                    self.reopen();
                }
            }
        }
    }

    /// Segments sealed and not, small and large bodies, some of them erased.
    pub(crate) fn example() -> Self {
        let mut story = Self::new();
        for index in 0..24 {
            story.append(if index % 7 == 3 {
                70_000
            } else {
                150 + 31 * index
            });
        }
        story.sync();
        story.log.roll().expect("rolled");
        for _ in 0..4 {
            story.log.seal(&mut FullSpeed).expect("sealed");
        }
        story.erase(2);
        story.erase(3);
        for index in 0..6 {
            story.append(if index == 2 { 80_000 } else { 200 });
        }
        story.sync();
        story
    }
}

/// All frames of a log with their bodies.
pub(crate) fn contents(log: &impl Log) -> Result<Contents, ReadError> {
    let mut seen = Contents::new();
    let mut failed = None;
    log.scan(Scan::from(log.start()).with_bodies(), &mut |frame| {
        let (at, part) = frame.parts().nth(1).expect("two parts");
        match body(log, at, part) {
            Ok(body) => seen.push((frame.number, body)),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(seen), Err)
}

fn body(log: &impl Log, at: Location, part: PartBytes<'_>) -> Result<Option<Vec<u8>>, ReadError> {
    match part {
        PartBytes::Here(bytes) => Ok(Some(bytes.to_vec())),
        PartBytes::Erased { .. } => Ok(None),
        PartBytes::NotRead { bytes } => {
            let mut out = vec![0; bytes as usize];
            log.read_body(at, &mut out).map(|()| Some(out))
        }
        _ => panic!("a part of a kind that the test does not know"),
    }
}

pub(crate) fn shared(storage: &(impl Storage + Clone + 'static)) -> Arc<dyn Storage> {
    Arc::new(storage.clone())
}

/// What a reader finds in a directory.
pub(crate) fn read_image(image: Image) -> Result<Contents, ReadError> {
    let log = FileLog::open_reader(Arc::new(MemStorage::from_image(image)))?;
    contents(&log)
}
