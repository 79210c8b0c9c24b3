//! Finding out anew which sealed files there are.

use super::Work;
use crate::{
    backup::BackupError,
    error::{Damage, OpenError},
    sealed::{GroupFiles, Manifest, PairFile, Set, heads_header, sealed_file},
    segment::{segment_name, segment_number},
    storage::{Access, read_full},
};
use std::collections::{BTreeMap, BTreeSet};

impl Work<'_> {
    /// Makes a new manifest if there is none any more. Its store is `store_id`.
    pub(super) fn manifest(&mut self, store_id: [u8; 16]) -> Result<(), BackupError> {
        let theirs = self.other.log.tier.manifest();
        let is_lost = match Manifest::load(&**self.storage) {
            Ok(Some(_)) => false,
            // A log of which nothing was sealed yet has none.
            Ok(None) => {
                let first = segment_name(theirs.first);
                !theirs.sets.is_empty() && self.storage.size(&first).is_err()
                    || theirs.store_id != theirs.log_id
            }
            Err(OpenError::Corrupt {
                damage: Damage::Manifest,
                ..
            }) => true,
            Err(error) => return Err(error.into()),
        };
        if !is_lost {
            return Ok(());
        }
        let names = self.storage.list();
        let names =
            names.map_err(|source| BackupError::io("list", &self.storage.place(), source))?;
        let segments: BTreeSet<u32> = names
            .iter()
            .filter_map(|name| segment_number(name))
            .collect();
        let mut heads: BTreeMap<(u32, u16), u32> = BTreeMap::new();
        for name in &names {
            // The highest version: it has gone through all erasures.
            if let Some((PairFile::Heads, file, group, version)) = sealed_file(name) {
                let highest = heads.entry((file, group)).or_insert(version);
                *highest = version.max(*highest);
            }
        }
        let mut next = Manifest {
            generation: theirs.generation.saturating_add(1),
            store_id,
            sets: Vec::new(),
            ..(*theirs).clone()
        };
        loop {
            let number = next.first + next.sets.len() as u32;
            // A segment goes only when its sealed files count; what was not finished is ahead of it.
            let is_segment = segments.contains(&number) && theirs.set(number).is_none();
            if is_segment {
                break;
            }
            let groups = heads.range((number, 0)..=(number, u16::MAX));
            let mut set = theirs.set(number).cloned();
            for ((_, group), version) in groups {
                if let Some((end, files)) = self.files(&next, number, *group, *version)? {
                    let set = set.get_or_insert(Set {
                        file: number,
                        end,
                        groups: Vec::new(),
                    });
                    set.groups.retain(|files| files.group != *group);
                    set.groups.push(files);
                    set.groups.sort_unstable_by_key(|files| files.group);
                }
            }
            match set {
                Some(set) => next.sets.push(set),
                None => break,
            }
        }
        self.put_manifest(&next)
    }

    /// The files of a group as they are, and where their segment ended; `None` if the head is damaged.
    fn files(
        &self,
        manifest: &Manifest,
        file: u32,
        group: u16,
        version: u32,
    ) -> Result<Option<(u32, GroupFiles)>, BackupError> {
        let files = GroupFiles {
            group,
            version,
            heads_bytes: 0,
            bodies_bytes: 0,
        };
        let id = manifest.pair_id(file, &files);
        let name = id.heads_name();
        let failed = |source| BackupError::io("read", &name, source);
        let heads = self.storage.open(&name, Access::Read).map_err(failed)?;
        let mut header = [0; 64];
        read_full(&*heads, 0, &mut header).map_err(failed)?;
        let Some(end) = heads_header(&id, &header) else {
            return Ok(None);
        };
        let size = |name: &str| {
            let size = self.storage.size(name).ok();
            size.and_then(|size| u32::try_from(size).ok())
        };
        let files = GroupFiles {
            heads_bytes: size(&name).unwrap_or(0),
            bodies_bytes: size(&id.bodies_name()).unwrap_or(0),
            ..files
        };
        // Cut off so far, it is nothing that a manifest may name.
        Ok(
            (files.heads_bytes > 64 && (files.bodies_bytes == 0 || files.bodies_bytes > 64))
                .then_some((end, files)),
        )
    }
}
