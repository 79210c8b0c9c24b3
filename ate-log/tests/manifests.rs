//! A lost or older manifest costs nothing but the opening: no file that may be all there is is
//! taken for a leftover.

mod common;

use ate_log::{Damage, FileLog, FullSpeed, Image, Least, Log, MemStorage, OpenError, Scan, Span};
use common::{Remembered, SMALL, append};
use std::{ops::ControlFlow, sync::Arc};

/// A closed log with sealed segments, one body erased; its files before and after the erasure.
fn sample() -> (Image, Image) {
    let storage = MemStorage::new();
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).expect("nothing stands in the way");
    let mut placed = Vec::new();
    for number in 1..12 {
        placed.extend(
            append(&log, &[Remembered::commit(number, 300)]).expect("nothing stands in the way"),
        );
    }
    log.roll().expect("nothing stands in the way");
    while log.seal(&mut FullSpeed).expect("nothing stands in the way") {}
    append(&log, &[Remembered::commit(12, 300)]).expect("nothing stands in the way");
    log.sync().expect("nothing stands in the way");
    let before = storage.image();
    let body = Span {
        at: placed[0].part(&[20]),
        bytes: 300,
    };
    log.erase(&[body], Least::ANY, &mut FullSpeed)
        .expect("nothing stands in the way");
    log.close().expect("nothing stands in the way");
    (before, storage.image())
}

/// What happens to the files.
type Change = dyn Fn(&mut Image);

fn files_of_the_log(image: &Image) -> Image {
    let mut image = image.clone();
    // Taken by a writer that was refused.
    image.remove("lock");
    image
}

#[test]
fn no_file_is_removed_beside_a_manifest_that_does_not_fit() {
    let (before, after) = sample();
    let older = before["manifest"].clone();
    let cases: [(&str, Box<Change>); 5] = [
        (
            "lost",
            Box::new(move |image| drop(image.remove("manifest"))),
        ),
        (
            "older",
            Box::new(move |image| drop(image.insert("manifest".into(), older.clone()))),
        ),
        (
            "without the newest segment",
            Box::new(|image| {
                let newest = image
                    .keys()
                    .filter(|name| name.starts_with("log-"))
                    .max()
                    .cloned();
                image.remove(&newest.expect("there is one"));
            }),
        ),
        (
            "without any segment and manifest",
            Box::new(|image| {
                image.retain(|name, _| !name.starts_with("log-") && name != "manifest");
            }),
        ),
        (
            "without a sealed file",
            Box::new(|image| drop(image.remove("heads-00000002-00-0001.seg"))),
        ),
    ];
    for (what, change) in cases {
        let mut image = after.clone();
        change(&mut image);
        let storage = MemStorage::from_image(image.clone());
        let error = FileLog::open(Arc::new(storage.clone()), SMALL)
            .map(drop)
            .expect_err(what);
        assert!(
            matches!(
                error,
                OpenError::Corrupt {
                    damage: Damage::SegmentMissing | Damage::SealedMissing | Damage::Manifest,
                    ..
                }
            ),
            "{what}: {error:?}"
        );
        assert_eq!(
            files_of_the_log(&storage.image()),
            files_of_the_log(&image),
            "{what}"
        );
    }
}

#[test]
fn what_an_interrupted_writer_left_is_removed_and_nothing_else() {
    let (before, after) = sample();
    let mut image = after.clone();
    // The version before, a version to come, a segment that is sealed, files under construction.
    for name in ["heads-00000001-00-0001.seg", "bodies-00000001-00-0001.seg"] {
        image.insert(name.into(), before[name].clone());
    }
    for name in [
        "heads-00000002-00-0009.seg",
        "log-00000001.seg",
        "manifest.new",
        "heads-00000003-00-0002.new",
    ] {
        image.insert(name.into(), vec![7; 100]);
    }
    let storage = MemStorage::from_image(image);
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).unwrap();
    let mut frames = 0;
    log.scan(Scan::from(log.start()), &mut |_| {
        frames += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(frames, 12);
    log.close().unwrap();
    drop(log);
    let names = |image: &Image| image.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&storage.image()), names(&after));
}
