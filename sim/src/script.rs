//! One story over several chains, two authors, segments, snapshots, openings, sealing and erasures: what the enumerations repeat with one thing after the other going wrong.

use ate::log::{FullSpeed, Least};

use crate::session::{Changes, Outcome, Session};
use crate::world::text;

/// What one commit changes, with borrowed names.
type Told = Vec<(&'static str, Option<String>)>;

fn changes(told: Told) -> Changes {
    told.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl Session {
    fn tell(&mut self, told: Vec<(&'static str, Told)>) -> Outcome {
        let commits = told
            .into_iter()
            .map(|(chain, told)| (chain, changes(told)))
            .collect();
        self.commits(commits)
    }

    /// The whole story; ends at the first error, with the store as it is then.
    ///
    /// # Errors
    /// The first one. Without trouble there is none.
    pub fn run_script(&mut self) -> Outcome {
        self.first_life()?;
        self.second_life()?;
        self.open()?;
        self.tell(vec![("bank", vec![("settings", Some(text(13, 30)))])])?;
        // Gone without a goodbye of the program's; dropping closes.
        self.store = None;
        Ok(())
    }

    fn first_life(&mut self) -> Outcome {
        self.open()?;
        self.tell(vec![("bank", vec![("settings", Some(text(1, 30)))])])?;
        let accounts = vec![
            ("anna@example.org", Some("10".into())),
            ("ben@example.org", Some("-3".into())),
        ];
        self.tell(vec![("bank", accounts)])?;
        self.tell(vec![
            ("bank", vec![("settings", Some(text(2, 300)))]),
            (
                "vault",
                vec![("plan", Some(text(3, 700))), ("note", Some(text(4, 20)))],
            ),
            ("bank", vec![("limits", Some(text(5, 20)))]),
        ])?;
        self.share("vault", "plan")?;
        self.write_shared("vault", "shared", text(20, 50))?;
        self.write_as_bob("vault", "shared", text(21, 60))?;
        let theme = vec![("settings", None), ("theme", Some(text(6, 1500)))];
        self.tell(vec![("bank", theme)])?;
        // Large enough that closing writes snapshots.
        self.tell(vec![
            ("bank", vec![("large", Some(text(7, 70_000)))]),
            ("vault", vec![("note", Some(text(8, 10)))]),
        ])?;
        self.close()
    }

    fn second_life(&mut self) -> Outcome {
        self.open()?;
        self.tell(vec![("vault", vec![("note", None)])])?;
        self.tell(vec![
            ("log", vec![("a", Some(text(9, 5)))]),
            ("vault", vec![("note", Some(text(10, 900)))]),
            ("log", vec![("b", Some(text(11, 5)))]),
            ("bank", vec![("carl@example.org", Some("7".into()))]),
        ])?;
        self.seal_everything()?;
        self.erase("bank", "theme")?;
        self.unshare("vault", "plan")?;
        self.tell(vec![("vault", vec![("plan", Some(text(22, 80)))])])?;
        self.deposit("bank", "ben@example.org", 5)?;
        self.tell(vec![("log", vec![("a", Some(text(12, 40)))])])?;
        // One body of its own file, which has to go from there as well.
        self.erase("bank", "large")?;
        self.set_horizon("log", 3)?;
        self.give_back("log")?;
        self.close()
    }

    fn seal_everything(&mut self) -> Outcome {
        self.store().seal(&mut FullSpeed)?;
        Ok(())
    }

    fn give_back(&mut self, chain: &str) -> Outcome {
        let chain = self.chain(chain)?;
        self.store().compact(&chain, Least::ANY, &mut FullSpeed)?;
        Ok(())
    }
}
