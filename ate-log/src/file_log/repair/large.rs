//! Mending large bodies.

use super::{NEW, Work};
use crate::{
    backup::{BackupError, copy_file},
    error::{Damage, ReadError},
    file_log::{
        FileLog,
        large::header,
        survey::{DamagedRange, FrameName, Surveyed},
    },
    frame::{STUB_BYTES, Stub},
    location::Location,
    log::Log as _,
    segment::large_name,
    storage::{Access, write_full},
};
use std::{collections::BTreeMap, io, ops::ControlFlow};

/// The large bodies that are damaged: the frame, the place of the body in it, and where it lies.
pub(super) fn damaged(log: &FileLog) -> Result<Vec<(DamagedRange, Location, Stub)>, ReadError> {
    let (mut found, mut failed) = (Vec::new(), None);
    log.survey(&mut |surveyed| {
        let (Surveyed::Frame(frame) | Surveyed::Bodiless { frame, .. }) = surveyed else {
            return ControlFlow::Continue(());
        };
        for at in frame.large_bodies() {
            let mut stub = [0; STUB_BYTES as usize];
            if log.read(at, &mut stub).is_err() {
                continue;
            }
            let stub = Stub::decode(&stub);
            let mut body = vec![0; stub.bytes as usize];
            match log.large.read(at, &stub, &mut body) {
                Ok(()) => {}
                Err(ReadError::Corrupt { .. }) => {
                    let range = DamagedRange {
                        at: frame.at,
                        end: frame.next.offset,
                        damage: Damage::LargeBody,
                        frame: Some(FrameName {
                            kind: frame.kind,
                            stream: frame.stream,
                            number: frame.number,
                        }),
                    };
                    found.push((range, at, stub));
                }
                Err(error) => failed = Some(error),
            }
        }
        if failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    failed.map_or(Ok(found), Err)
}

impl Work<'_> {
    /// Takes the large bodies that are damaged here and whole there.
    pub(super) fn large(&mut self, ours: &FileLog) -> Result<(), BackupError> {
        let mut bodies: BTreeMap<u32, Vec<(u32, Vec<u8>)>> = BTreeMap::new();
        for (_, at, stub) in damaged(ours)? {
            let mut body = vec![0; stub.bytes as usize];
            // The stub of this copy: the bytes must have its checksum.
            if self.other.log.large.read(at, &stub, &mut body).is_ok() {
                bodies
                    .entry(stub.file)
                    .or_default()
                    .push((stub.offset, body));
            }
        }
        for (number, bodies) in bodies {
            let (name, log_id) = (large_name(number), ours.log_id());
            let new = format!("{NEW}{name}");
            let failed = |doing| {
                let name = &name;
                move |source| BackupError::io(doing, name, source)
            };
            let copy = match self.storage.open(&name, Access::Read) {
                Ok(file) => {
                    let bytes = file.length().map_err(failed("measure"))?;
                    copy_file(&*file, &name, &**self.storage, &new, bytes)?;
                    self.storage
                        .open(&new, Access::Write)
                        .map_err(failed("open"))?
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.storage.create(&new).map_err(failed("create"))?
                }
                Err(source) => return Err(failed("open")(source)),
            };
            write_full(&*copy, 0, &header(&log_id, number)).map_err(failed("write"))?;
            let mut taken = 0;
            for (offset, body) in bodies {
                write_full(&*copy, offset.into(), &body).map_err(failed("write"))?;
                taken += body.len() as u64;
                self.did(body.len() as u64)?;
            }
            copy.sync_all().map_err(failed("sync"))?;
            self.take(&name, taken);
        }
        Ok(())
    }
}
