//! A copy of the disk is damaged, and what a store makes of it is judged. The run goes on without the damage.

use std::sync::Arc;

use ate::ErrorKind;
use ate::log::{Image, MemStorage};

use super::Run;
use crate::invariants::{self, Eyes, judge};
use crate::session::Outcome;

impl Run {
    /// Turns a bit, or cuts a file short, in a copy of what programs see now.
    pub fn damage_a_copy(&mut self) -> Outcome {
        let mut image = self.storage.image();
        let names: Vec<String> = image
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let name = names[self.random.index(names.len())].clone();
        let is_cut = self.random.one_in(3);
        let what = self.damage(&mut image, &name, is_cut);
        self.tally.damaged += 1;
        let world = self.session.world.clone();
        let store = match world.open(Arc::new(MemStorage::from_image(image))) {
            Ok(store) => store,
            Err(error) if error.kind() == ErrorKind::Damaged => return Ok(()),
            Err(error) => {
                return Err(invariants::DETECTED
                    .broken(format!("{what}: {error:?}"))
                    .into());
            }
        };
        judge(
            &store,
            &self.session.oracle,
            &world,
            Eyes::AfterDamage { is_cut },
        )
        .map_err(|violation| invariants::DETECTED.broken(format!("{what}: {violation}")))?;
        Ok(())
    }

    fn damage(&mut self, image: &mut Image, name: &str, is_cut: bool) -> String {
        let bytes = image.get_mut(name).expect("one of its names");
        let at = self.random.index(bytes.len());
        if is_cut {
            bytes.truncate(at);
            return format!("{name} cut to {at} bytes");
        }
        let bit = self.random.below(8);
        bytes[at] ^= 1 << bit;
        format!("bit {bit} of byte {at} of {name} turned")
    }
}
