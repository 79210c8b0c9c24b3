//! Everything of one run: the network, the node, the devices, and the time that passes.

use std::sync::Arc;
use std::time::Duration;

use ate::chain::{Clock, Contents};
use ate::log::Loss;
use ate_net::{Endpoint, LinkState, SimConditions, SimNetwork};
use parking_lot::Mutex;

use super::device::Device;
use super::hosting::Hosting;
use super::ledger::{Change, Ledger};
use super::machine::{Machine, VirtualTime};
use super::run::{Broken, NetTally, Outcome, identity};
use crate::random::Random;

/// Host name of the node.
pub(super) const NODE: &str = "node";
/// For everything to settle once nothing breaks any more: the longest pauses of links, and some.
const SETTLE: Duration = Duration::from_secs(240);
/// Names that are written: few, so that devices get into each other's way.
const NAMES: u64 = 5;

pub(super) struct Town {
    pub(super) random: Random,
    pub(super) story: Vec<String>,
    pub(super) network: SimNetwork,
    pub(super) hosting: Hosting,
    pub(super) devices: Vec<Device>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) endpoint: Option<Endpoint>,
    /// Machines that stay off for some steps.
    pub(super) asleep: Vec<(usize, u64)>,
    pub(super) node_sleeps: u64,
    pub(super) crashes: u64,
    pub(super) cuts: u64,
    pub(super) lies: u64,
    texts: u64,
    begun: tokio::time::Instant,
}

impl Town {
    pub(super) fn new(seed: u64, mut random: Random) -> Self {
        let begun = tokio::time::Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(VirtualTime(begun));
        let ledger: Arc<Mutex<Ledger>> = Arc::default();
        let machine = |name: &str, number| Machine::new(name, number, seed, clock.clone());
        let hosting = Hosting::new(machine(NODE, 100), identity(2).clone());
        let devices = (0..2 + random.index(2)).map(|index| {
            // The first founds, the second is somebody else, the third is the first one's second store.
            let who = identity(index % 2).clone();
            let name = format!("device-{index}");
            Device::new(index, machine(&name, index as u8), who, ledger.clone())
        });
        Self {
            devices: devices.collect(),
            network: SimNetwork::new(seed, SimConditions::default()),
            hosting,
            ledger,
            endpoint: None,
            story: Vec::new(),
            random,
            asleep: Vec::new(),
            node_sleeps: 0,
            crashes: 0,
            cuts: 0,
            lies: 0,
            texts: 0,
            begun,
        }
    }

    pub(super) fn tell(&mut self, what: String) {
        let now = self.begun.elapsed().as_millis();
        self.story.push(format!("{now:>7} ms  {what}"));
    }

    /// Everything that the disks were asked and answered.
    pub(super) fn trace(&self) -> u64 {
        let devices = self.devices.iter().map(|device| &device.machine);
        devices
            .chain([&self.hosting.machine])
            .fold(0u64, |all, machine| {
                all.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ machine.storage.trace()
            })
    }

    pub(super) fn tally(&self) -> NetTally {
        let ledger = self.ledger.lock();
        let accused = self.devices.iter().map(|device| {
            let chains = ledger.chains.iter();
            let of_device = chains.map(|chain| device.notes.accusations(chain.chain).len() as u64);
            of_device.sum::<u64>()
        });
        NetTally {
            staged: ledger.commits.len() as u64,
            landed: ledger.landed,
            refused: ledger.refused,
            crashes: self.crashes,
            cuts: self.cuts,
            lies: self.lies,
            accused: accused.sum(),
        }
    }

    /// Everybody starts; the first founds a chain or two.
    pub(super) async fn begin(&mut self) -> Outcome {
        self.endpoint = Some(self.hosting.start(&self.network)?);
        for index in 0..self.devices.len() {
            self.start_device(index)?;
        }
        self.found("first")?;
        if self.random.one_in(3) {
            self.found("second")?;
        }
        Ok(())
    }

    /// A chain of the first device's identity, on which the second one's may write.
    pub(super) fn found(&mut self, name: &str) -> Outcome<usize> {
        // Some chains have checkpoints that the node signs.
        let note_key = self.hosting.identity.note_keys().public_bytes();
        let note_key = self.random.one_in(2).then_some(&note_key[..]);
        let chain = self.devices[0].found(name, &[identity(1)], note_key)?;
        for device in &mut self.devices[1..] {
            let contents = if self.random.one_in(2) {
                Contents::Eager
            } else {
                Contents::Lazy
            };
            // Some come later.
            if device.machine.is_on() && !self.random.one_in(3) {
                device.join(chain, contents)?;
            }
        }
        Ok(chain)
    }

    pub(super) fn start_device(&mut self, index: usize) -> Outcome {
        let device = &mut self.devices[index];
        let transport = self.network.transport(&device.machine.name);
        let endpoint = self.endpoint.as_ref().expect("the node has started once");
        device.start(Arc::new(transport), endpoint)
    }

    /// A device that runs.
    pub(super) fn any_device(&mut self) -> Option<usize> {
        let on: Vec<usize> = self
            .devices
            .iter()
            .filter(|it| it.machine.is_on())
            .map(|it| it.index)
            .collect();
        (!on.is_empty()).then(|| on[self.random.index(on.len())])
    }

    /// A chain that the device follows.
    pub(super) fn any_chain(&mut self, device: usize) -> Option<usize> {
        let known: Vec<usize> = self.devices[device].replicas.keys().copied().collect();
        (!known.is_empty()).then(|| known[self.random.index(known.len())])
    }

    pub(super) fn any_name(&mut self) -> String {
        format!("note-{}", self.random.below(NAMES))
    }

    /// A device changes something.
    pub(super) fn write(&mut self, device: usize) -> Outcome<bool> {
        let Some(chain) = self.any_chain(device) else {
            return Ok(false);
        };
        let name = self.any_name();
        let change = if self.random.one_in(6) {
            Change::Remove(name)
        } else {
            self.texts += 1;
            let long = if self.random.one_in(8) { 6000 } else { 20 };
            let text = format!("{} {}", self.texts, "x".repeat(long));
            Change::Put(name, text)
        };
        self.devices[device].change(chain, change)
    }

    pub(super) async fn pass_some_time(&mut self) {
        let ms = match self.random.below(8) {
            0 => 0,
            1 => 5_000 + self.random.below(40_000),
            2 => 1_000 + self.random.below(3_000),
            _ => self.random.below(300),
        };
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub(super) fn choose_loss(&mut self) -> Loss {
        if self.random.one_in(4) {
            Loss::Everything
        } else {
            Loss::Random {
                seed: self.random.next(),
            }
        }
    }

    /// What is looked at after every step: what answers have broken, and who has lost power meanwhile.
    pub(super) async fn look(&mut self) -> Outcome {
        if let Some((promise, what)) = self.ledger.lock().broken.take() {
            return Err(Broken::of(promise, what));
        }
        for index in 0..self.devices.len() {
            self.devices[index].look_at_staged();
            if self.devices[index].machine.has_fallen() {
                self.crash_device(index).await;
            }
        }
        if self.hosting.machine.has_fallen() {
            self.crash_node().await;
        }
        self.wake_sleepers()
    }

    fn wake_sleepers(&mut self) -> Outcome {
        let mut awake = Vec::new();
        self.asleep.retain_mut(|(index, steps)| {
            *steps -= 1;
            if *steps == 0 {
                awake.push(*index);
            }
            *steps > 0
        });
        for index in awake {
            self.tell(format!("    device-{index} starts"));
            self.start_device(index)?;
        }
        self.node_sleeps = self.node_sleeps.saturating_sub(1);
        if self.node_sleeps == 0 && !self.hosting.machine.is_on() {
            self.start_node()?;
        }
        Ok(())
    }

    pub(super) fn start_node(&mut self) -> Outcome {
        self.tell("    the node starts".into());
        self.endpoint = Some(self.hosting.start(&self.network)?);
        self.nothing_answered_is_lost()
    }

    pub(super) async fn crash_device(&mut self, index: usize) {
        self.crashes += 1;
        let loss = self.choose_loss();
        self.tell(format!("    device-{index} lost its power: {loss:?}"));
        self.devices[index].crash(&self.network, loss).await;
        let steps = 1 + self.random.below(3);
        self.asleep.push((index, steps));
    }

    pub(super) async fn crash_node(&mut self) {
        self.crashes += 1;
        let loss = self.choose_loss();
        self.tell(format!("    the node lost its power: {loss:?}"));
        self.hosting.crash(&self.network, loss).await;
        self.node_sleeps = 1 + self.random.below(2);
    }

    /// Nothing breaks any more, and everybody runs and follows everything.
    pub(super) async fn heal(&mut self) -> Outcome {
        self.tell("heal".into());
        self.network.heal_all();
        self.network.set_conditions(SimConditions::default());
        if self.hosting.machine.has_fallen() {
            self.crash_node().await;
        }
        self.hosting.machine.storage.heal();
        for index in 0..self.devices.len() {
            if self.devices[index].machine.has_fallen() {
                self.crash_device(index).await;
            }
            self.devices[index].machine.storage.heal();
        }
        self.asleep.clear();
        self.node_sleeps = 0;
        if !self.hosting.machine.is_on() {
            self.start_node()?;
        }
        let chains = self.ledger.lock().chains.len();
        for index in 0..self.devices.len() {
            if !self.devices[index].machine.is_on() {
                self.start_device(index)?;
            }
            for chain in 0..chains {
                if !self.devices[index].joined.contains_key(&chain) {
                    self.devices[index].join(chain, Contents::Lazy)?;
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing is under way, which must come.
    pub(super) async fn settle(&mut self) -> Outcome {
        let begun = tokio::time::Instant::now();
        loop {
            let open = self.open_matters();
            if open.is_empty() {
                return self.look().await;
            }
            if begun.elapsed() > SETTLE {
                return Err(Broken::of("settles", open.join("; ")));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What is still under way between the node and those who are not at odds with it.
    pub(super) fn open_matters(&self) -> Vec<String> {
        let mut open = Vec::new();
        let Some(chains) = self.hosting.chains() else {
            return vec!["the node is off".into()];
        };
        for device in &self.devices {
            for (chain, replica) in &device.replicas {
                let status = replica.remote.status();
                if status.diverged.is_some() {
                    continue;
                }
                let there = chains.local(replica.local.chain());
                let there = there.ok().flatten().map_or(0, |local| local.position().0);
                let here = replica.local.position().0;
                let staged = replica.local.staged().len();
                if here != there || here == 0 || staged > 0 || status.agreed != here {
                    let link = replica.remote.link().state();
                    let is_up = link == LinkState::Up;
                    open.push(format!(
                        "{} has {here} of {there} commits of chain {chain}, {staged} staged, up: {is_up}, {status:?}",
                        device.machine.name
                    ));
                }
            }
        }
        open
    }
}
