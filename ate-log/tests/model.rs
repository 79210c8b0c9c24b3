//! Random programs against a plain model: whatever is done to a log in whatever order, with
//! power cuts in between, it holds what the model says.

mod common;

use ate_log::{FileLog, Location, Log, LogOptions, Loss, LossyStorage, Placed, Scan};
use common::{Remembered, append, scan};
use proptest::{prelude::*, test_runner::RngSeed};
use std::{ops::ControlFlow, sync::Arc};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u16, u8)>),
    Sync,
    Drop,
    Close,
    Cut(u64),
    ReadAll,
    ScanFrom(u16),
    Snapshot(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((0..1200_u16, 0..4_u8), 1..5).prop_map(Step::Append),
        5 => Just(Step::Sync),
        1 => Just(Step::Drop),
        1 => Just(Step::Close),
        2 => any::<u64>().prop_map(Step::Cut),
        1 => Just(Step::ReadAll),
        2 => any::<u16>().prop_map(Step::ScanFrom),
        1 => any::<u16>().prop_map(Step::Snapshot),
    ]
}

struct Model {
    storage: LossyStorage,
    options: LogOptions,
    log: Option<FileLog>,
    frames: Vec<(Remembered, Placed)>,
    durable: usize,
    next: u64,
    snapshot: Option<Vec<u8>>,
}

impl Model {
    fn new(zero_window_bytes: u32) -> Self {
        let options = LogOptions {
            zero_window_bytes,
            ..common::SMALL
        };
        let mut model = Self {
            storage: LossyStorage::new(),
            options,
            log: None,
            frames: Vec::new(),
            durable: 0,
            next: 0,
            snapshot: None,
        };
        model.open();
        model
    }

    fn open(&mut self) {
        let log =
            FileLog::open(Arc::new(self.storage.clone()), self.options).expect("never refused");
        self.log = Some(log);
        self.durable = self.frames.len();
        self.compare();
    }

    fn log(&self) -> &FileLog {
        self.log.as_ref().expect("open between steps")
    }

    fn compare(&self) {
        let (frames, error) = scan(self.log());
        assert!(error.is_none(), "{error:?}");
        let expected: Vec<&Remembered> = self.frames[..self.durable]
            .iter()
            .map(|(frame, _)| frame)
            .collect();
        assert_eq!(frames.iter().collect::<Vec<_>>(), expected);
        assert_eq!(
            self.log().snapshot_get("view").expect("readable"),
            self.snapshot
        );
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(group) => {
                let group: Vec<Remembered> = group
                    .into_iter()
                    .map(|(bytes, parts)| {
                        self.next += 1;
                        let frame = Remembered::commit(self.next, usize::from(bytes));
                        let parts = frame
                            .parts
                            .into_iter()
                            .chain([Vec::new(), vec![0; 3]])
                            .take(usize::from(parts));
                        Remembered {
                            parts: parts.collect(),
                            ..frame
                        }
                    })
                    .collect();
                let placed = append(self.log(), &group).expect("appended");
                assert!(placed.windows(2).all(|pair| pair[0].next == pair[1].frame));
                self.frames.extend(group.into_iter().zip(placed));
                // A new segment is begun only when the one before it is durable.
                let durable = self.log().durable();
                self.durable = self
                    .frames
                    .iter()
                    .filter(|(_, placed)| placed.next <= durable)
                    .count();
            }
            Step::Sync => {
                self.log().sync().expect("synced");
                self.durable = self.frames.len();
                self.compare();
            }
            Step::Drop => {
                self.log = None;
                self.open();
            }
            Step::Close => {
                self.log().close().expect("closed");
                self.log = None;
                self.open();
            }
            Step::Cut(seed) => {
                let image = self.storage.image_after_cut(Loss::Random { seed });
                self.storage = LossyStorage::from_image(image);
                let log = FileLog::open(Arc::new(self.storage.clone()), self.options)
                    .expect("never refused");
                let left = scan(&log).0.len();
                assert!(
                    left >= self.durable,
                    "{left} of {} durable frames",
                    self.durable
                );
                self.frames.truncate(left);
                drop(log);
                self.open();
            }
            Step::ReadAll => {
                for (frame, placed) in &self.frames {
                    let lens: Vec<usize> = frame.parts.iter().map(Vec::len).collect();
                    for (part, at) in frame.parts.iter().zip(placed.part_locations(lens)) {
                        let mut bytes = vec![0; part.len()];
                        self.log().read_body(at, &mut bytes).expect("read");
                        assert_eq!(&bytes, part);
                    }
                    let read = self.log().read_frame(placed.frame).expect("checked");
                    assert_eq!(
                        (read.frame().number, read.frame().next),
                        (frame.number, placed.next)
                    );
                }
            }
            Step::ScanFrom(index) => {
                let Some(index) = usize::from(index).checked_rem(self.durable) else {
                    return;
                };
                let mut seen: Vec<(u64, Location)> = Vec::new();
                let scanned =
                    self.log()
                        .scan(Scan::from(self.frames[index].1.frame), &mut |frame| {
                            seen.push((frame.number, frame.at));
                            ControlFlow::Continue(())
                        });
                assert_eq!(scanned.expect("scanned"), self.log().durable());
                let expected: Vec<_> = self.frames[index..self.durable]
                    .iter()
                    .map(|(frame, placed)| (frame.number, placed.frame))
                    .collect();
                assert_eq!(seen, expected);
            }
            Step::Snapshot(length) => {
                let bytes = vec![length as u8; usize::from(length % 3000)];
                self.log().snapshot_put("view", &bytes).expect("put");
                self.snapshot = Some(bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(0xa7e),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_holds_what_the_model_says(
        steps in prop::collection::vec(step(), 1..60),
        zero_window_bytes in prop_oneof![Just(0), Just(300), Just(5000)],
    ) {
        let mut model = Model::new(zero_window_bytes);
        for step in steps {
            model.run(step);
        }
        model.run(Step::ReadAll);
        model.run(Step::Close);
    }
}
