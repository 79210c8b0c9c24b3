//! What must hold when nothing is under way any more.

use std::collections::BTreeMap;
use std::time::Duration;

use ate::chain::{Depth, Local, Position};
use ate::crypto::Hash;

use super::device::{Device, Replica};
use super::ledger::{Change, Entry, Ledger, Told};
use super::run::{Broken, Outcome};
use super::town::Town;

impl Town {
    /// Whether somebody ever meant a note to hold this.
    pub(super) fn was_written(&self, chain: usize, name: &str, text: &str) -> bool {
        let ledger = self.ledger.lock();
        ledger.commits.values().any(|entry| {
            entry.chain == chain
                && matches!(&entry.change, Change::Put(at, put) if at == name && put == text)
        })
    }

    /// The commits of a chain, in order.
    pub(super) fn order_of(&self, local: &Local) -> Outcome<Vec<Hash>> {
        let position = local.position().0;
        (0..position)
            .map(|seq| match local.commit_at(seq) {
                Ok(info) => Ok(info.id),
                Err(error) => Err(Broken::of("proven", format!("commit {seq}: {error:?}"))),
            })
            .collect()
    }

    /// After a start of the node: what somebody was told to have landed stands in its place.
    pub(super) fn nothing_answered_is_lost(&self) -> Outcome {
        let chains = self.hosting.chains().expect("the node runs");
        let count = self.ledger.lock().chains.len();
        for chain in 0..count {
            let id = self.ledger.lock().chains[chain].chain;
            let local = chains
                .local(id)
                .map_err(|error| Broken::of("no false damage", error))?;
            let order = match &local {
                Some(local) => self.order_of(local)?,
                None => Vec::new(),
            };
            for (id, entry) in &self.ledger.lock().commits {
                if let Some(Told::Landed(seq)) = entry.told
                    && entry.chain == chain
                    && order.get(seq as usize) != Some(id)
                {
                    let what = format!("the node does not have commit {id} at {seq}");
                    return Err(Broken::of("acknowledged is durable", what));
                }
            }
        }
        Ok(())
    }

    /// Everybody agrees, on what was promised.
    pub(super) async fn judge(&mut self) -> Outcome {
        self.judge_contents().await?;
        // What the node would have after a loss of power is what counts.
        self.hosting
            .crash(&self.network, ate::log::Loss::Everything)
            .await;
        self.start_node()?;
        let chains = self.hosting.chains().expect("it runs").clone();
        let count = self.ledger.lock().chains.len();
        for chain in 0..count {
            let id = self.ledger.lock().chains[chain].chain;
            let hosted = chains
                .local(id)
                .map_err(|error| Broken::of("no false damage", error))?;
            let Some(hosted) = hosted else {
                let what = format!("chain {chain} never reached the node");
                return Err(Broken::of("settles", what));
            };
            let order = self.order_of(&hosted)?;
            self.judge_order(chain, &order)?;
            verify(&hosted, "the node", Depth::Deep)?;
            let deep = self.random.index(self.devices.len());
            for device in &self.devices {
                let replica = &device.replicas[&chain];
                judge_replica(device, replica, &hosted)?;
                if device.index == deep {
                    verify(&replica.local, &device.machine.name, Depth::Deep)?;
                }
            }
        }
        Ok(())
    }

    /// Commits land once, in the order in which they were handed over, and as their callers were told.
    fn judge_order(&self, chain: usize, order: &[Hash]) -> Outcome {
        let ledger = self.ledger.lock();
        let mut places = BTreeMap::new();
        let mut latest: BTreeMap<_, u64> = BTreeMap::new();
        for (seq, id) in (0u64..).zip(order) {
            if places.insert(*id, seq).is_some() {
                return Err(Broken::of("once", format!("commit {id} stands twice")));
            }
            let Some(entry) = ledger.commits.get(id) else {
                let what = format!("commit {id} at {seq} was handed over by nobody");
                return Err(Broken::of("authentic", what));
            };
            let last = latest.entry((entry.device, entry.author)).or_default();
            // What was on its way when its device crashed comes when it comes.
            if entry.is_lost {
                continue;
            }
            if entry.order < *last {
                return Err(Broken::of("in order", format!("commit {id} at {seq}")));
            }
            *last = entry.order;
        }
        let of_chain = ledger.commits.iter().filter(|(_, it)| it.chain == chain);
        for (id, entry) in of_chain {
            judge_answer(id, entry, places.get(id).copied())?;
        }
        judge_passed_over(&ledger, chain, order, order.len())
    }

    /// What the notes hold after these commits.
    fn content_behind(&self, order: &[Hash]) -> Outcome<BTreeMap<String, String>> {
        let ledger = self.ledger.lock();
        let mut content = BTreeMap::new();
        for id in order {
            let entry = ledger.commits.get(id);
            let entry = entry.ok_or_else(|| Broken::of("authentic", format!("commit {id}")))?;
            match &entry.change {
                Change::Put(name, text) => drop(content.insert(name.clone(), text.clone())),
                Change::Remove(name) => drop(content.remove(name)),
                Change::Beside => {}
            }
        }
        Ok(content)
    }

    /// Everybody reads what was written last.
    async fn judge_contents(&self) -> Outcome {
        let count = self.ledger.lock().chains.len();
        for chain in 0..count {
            for device in &self.devices {
                let order = self.order_of(&device.replicas[&chain].local)?;
                let content = self.content_behind(&order)?;
                self.judge_content(device, chain, &content).await?;
            }
        }
        Ok(())
    }

    async fn judge_content(
        &self,
        device: &Device,
        chain: usize,
        content: &BTreeMap<String, String>,
    ) -> Outcome {
        for (name, text) in content {
            let mut found = device.read(chain, name).await?;
            // A connection that is no more may be found out late.
            for _ in 0..4 {
                if found.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(10)).await;
                found = device.read(chain, name).await?;
            }
            if found.as_ref() != Some(text) {
                let found = found.map(|found| found.chars().take(20).collect::<String>());
                let what = format!("{} reads {name} as {found:?}", device.machine.name);
                return Err(Broken::of("readable", what));
            }
        }
        Ok(())
    }
}

/// What a lane has come past was refused when it came the first time, by an answer that nobody heard: when the commit that passed it landed, what it was to take the
/// place of was not what stood there. So whoever asked again was told the truth, and a commit that nothing was in the way of is never passed over. The lane has come
/// past it within the first `before` commits: behind them all answers were heard.
pub(super) fn judge_passed_over(
    ledger: &Ledger,
    chain: usize,
    order: &[Hash],
    before: usize,
) -> Outcome {
    let passed = |entry: &Entry| entry.chain == chain && entry.told == Some(Told::PassedOver);
    let mut open: Vec<_> = ledger.commits.iter().filter(|(_, it)| passed(it)).collect();
    let mut written: BTreeMap<&str, Hash> = BTreeMap::new();
    for id in &order[..before] {
        let Some(landed) = ledger.commits.get(id) else {
            continue;
        };
        let passes = |entry: &Entry| {
            (entry.device, entry.author) == (landed.device, landed.author)
                && entry.number < landed.number
        };
        for (id, entry) in open.extract_if(.., |(_, entry)| passes(entry)) {
            let stood = entry.change.name().and_then(|name| written.get(name));
            if stood == ledger.base_of(entry, order).as_ref() {
                let what = format!("commit {id} was passed over, with nothing in its way");
                return Err(Broken::of("refusals", what));
            }
        }
        if let Some(name) = landed.change.name() {
            written.insert(name, *id);
        }
    }
    match open.first() {
        Some((id, _)) => {
            let what =
                format!("commit {id} was said to be passed over, and nothing has passed it before");
            Err(Broken::of("refusals", what))
        }
        None => Ok(()),
    }
}

fn judge_answer(id: &Hash, entry: &Entry, place: Option<u64>) -> Outcome {
    match &entry.told {
        Some(Told::Landed(seq)) if place != Some(*seq) => {
            let what = format!("commit {id} was told to be at {seq}, and is at {place:?}");
            Err(Broken::of("acknowledged is durable", what))
        }
        Some(Told::Refused(why)) if place.is_some() => {
            let what = format!("commit {id} was refused ({why}), and is at {place:?}");
            Err(Broken::of("refused is refused", what))
        }
        Some(Told::PassedOver) if place.is_some() => {
            let what = format!("commit {id} was said to be passed over, and is at {place:?}");
            Err(Broken::of("refused is refused", what))
        }
        None if entry.is_awaited => {
            let what = format!("nobody says what became of commit {id}, at {place:?}");
            Err(Broken::of("settles", what))
        }
        _ => Ok(()),
    }
}

fn judge_replica(device: &Device, replica: &Replica, hosted: &Local) -> Outcome {
    let name = &device.machine.name;
    let status = replica.remote.status();
    if let Some(what) = status.diverged {
        return Err(Broken::of("no false accusation", format!("{name}: {what}")));
    }
    let position = replica.local.position();
    if position != hosted.position() || replica.local.root_at(position) != hosted.root_at(position)
    {
        return Err(Broken::of("one order", format!("{name} at {position:?}")));
    }
    if !replica.local.staged().is_empty() {
        return Err(Broken::of("settles", format!("{name} has staged commits")));
    }
    Ok(())
}

/// The log alone proves what the chain shows.
pub(super) fn verify(local: &Local, name: &str, depth: Depth) -> Outcome {
    let log = local.committer().log();
    let fail = |what: String| Broken::of("proven", format!("{name}: {what}"));
    log.sync().map_err(|error| fail(error.to_string()))?;
    let proved = Local::verify(&**log, local.chain(), depth, |_| {});
    let (_, position, root) = proved.map_err(|error| fail(format!("{error:?}")))?;
    if position != local.position() || local.root_at(Position(position.0)) != Some(root) {
        return Err(fail(format!("the log proves {position:?}")));
    }
    Ok(())
}
