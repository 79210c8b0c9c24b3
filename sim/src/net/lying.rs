//! A node that lies: nobody takes in what was not signed, and a lie that can be found out is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ate::chain::{Contents, Depth, Local, Position};
use ate::crypto::Hash;
use ate::log::Image;
use ate_net::Endpoint;

use super::hosting::Hosting;
use super::judge::{judge_passed_over, verify};
use super::liar::{Liar, LyingTransport, Signers};
use super::lie::Lie;
use super::machine::Machine;
use super::run::{Broken, NetFailure, NetFinished, Outcome, guarded, identity};
use super::town::Town;
use crate::storage::SimStorage;

/// Writes of each part of a run.
const WRITES: u64 = 6;
/// For everything honest to be done.
const CALM: Duration = Duration::from_secs(90);

/// Runs one seed with one lie.
///
/// # Errors
/// The promise that was broken, a panic included.
pub fn run_lie(lie: Lie, seed: u64) -> Result<NetFinished, NetFailure> {
    guarded(seed, |town| {
        Box::pin(async move {
            town.tell(format!("the lie: {lie:?}"));
            match lie {
                Lie::RolledBack => rolled_back(town).await,
                Lie::Forked => forked(town).await,
                _ => told(town, lie).await,
            }
        })
    })
}

/// An honest beginning; what everybody has at its end.
async fn beginning(town: &mut Town, contents: Contents) -> Outcome {
    town.endpoint = Some(town.hosting.start(&town.network)?);
    for index in 0..town.devices.len() {
        town.start_device(index)?;
    }
    let note_key = town.hosting.identity.note_keys().public_bytes();
    let chain = town.devices[0].found("first", &[identity(1)], Some(&note_key))?;
    for device in &mut town.devices[1..] {
        device.join(chain, contents)?;
    }
    write_some(town, WRITES).await?;
    town.settle().await
}

async fn write_some(town: &mut Town, count: u64) -> Outcome {
    for _ in 0..count {
        let device = town.random.index(town.devices.len());
        town.write(device)?;
        let ms = town.random.below(200);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    Ok(())
}

/// One device is lied to.
async fn told(town: &mut Town, lie: Lie) -> Outcome {
    let victim = town.random.index(town.devices.len());
    beginning(town, Contents::Lazy).await?;
    let chain = town.ledger.lock().chains[0].chain;
    let signers = Signers {
        node: town.hosting.identity.clone(),
        stranger: identity(3).clone(),
        chain,
    };
    let liar = Liar::new(lie, town.random.next(), signers);
    // From now on the victim hears what the liar says.
    town.devices[victim].stop().await?;
    let inner = Arc::new(town.network.transport(&town.devices[victim].machine.name));
    let transport = LyingTransport {
        inner,
        liar: liar.clone(),
    };
    let endpoint = town.endpoint.clone().expect("the node runs");
    town.devices[victim].start(Arc::new(transport), &endpoint)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = roots(town, victim);
    liar.switch(true);
    if lie == Lie::DroppedCommit {
        // What comes after a while without a way comes in one message.
        let name = town.devices[victim].machine.name.clone();
        town.network.partition(&name, super::town::NODE);
        let other = (victim + 1) % town.devices.len();
        for _ in 0..4 {
            town.write(other)?;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        town.network.heal_all();
    }
    write_some(town, WRITES).await?;
    for name in 0..5 {
        drop(
            town.devices[victim]
                .read(0, &format!("note-{name}"))
                .await?,
        );
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    town.devices[victim].look_at_staged();
    liar.switch(false);
    town.lies += liar.told();
    town.tell(format!("{} lies to device-{victim}", liar.told()));
    // What was swallowed is sent again with the next connection.
    town.network
        .break_between(&town.devices[victim].machine.name, super::town::NODE);
    let unheard = hosted(town).position().0 as usize;
    tokio::time::sleep(CALM).await;
    judge(town, &before)?;
    if lie.is_found_out() && liar.told() > 0 {
        expect_accusation(town, victim)?;
    }
    settle_honest(town).await?;
    let order = town.order_of(&hosted(town))?;
    judge_passed_over(&town.ledger.lock(), 0, &order, unheard)
}

/// The chain as the node has it.
fn hosted(town: &Town) -> Arc<Local> {
    let chain = town.ledger.lock().chains[0].chain;
    let chains = town.hosting.chains().expect("the node runs");
    chains
        .local(chain)
        .ok()
        .flatten()
        .expect("it has the chain")
}

/// The roots that a device has seen.
fn roots(town: &Town, device: usize) -> Vec<(usize, Hash)> {
    let local = &town.devices[device].replicas[&0].local;
    let roots = (0..=local.position().0).filter_map(|at| local.root_at(Position(at)));
    roots.map(|root| (device, root)).collect()
}

fn expect_accusation(town: &Town, device: usize) -> Outcome {
    let status = town.devices[device].replicas[&0].remote.status();
    if status.diverged.is_none() {
        let what = format!("device-{device} believes it: {status:?}");
        return Err(Broken::of("found out", what));
    }
    Ok(())
}

/// Whatever was said: what a device has was signed, is ordered as it was when the device saw it, and is proven by the device's own log.
fn judge(town: &Town, before: &[(usize, Hash)]) -> Outcome {
    let chain = town.ledger.lock().chains[0].chain;
    for device in &town.devices {
        let replica = &device.replicas[&0];
        let local = &replica.local;
        // A later signature stands for those that it is linked to.
        verify(local, &device.machine.name, Depth::Bodies)?;
        let mut seen = BTreeSet::new();
        for seq in 0..local.position().0 {
            let id = local.commit_at(seq);
            let id = id
                .map_err(|error| Broken::of("proven", format!("{error:?}")))?
                .id;
            if !seen.insert(id) || !town.ledger.lock().commits.contains_key(&id) {
                let what = format!("{}: commit {id} at {seq}", device.machine.name);
                return Err(Broken::of("authentic", what));
            }
        }
        let is_accused = !device.notes.accusations(chain).is_empty();
        if replica.remote.status().diverged.is_some() != is_accused {
            let what = format!("{}: {:?}", device.machine.name, replica.remote.status());
            return Err(Broken::of("evidence is kept", what));
        }
        let known = before.iter().filter(|(of, _)| *of == device.index);
        for (at, (_, root)) in (0u64..).zip(known) {
            if local.root_at(Position(at)) != Some(*root) {
                let what = format!("{} had another root at {at}", device.machine.name);
                return Err(Broken::of("one order", what));
            }
        }
    }
    Ok(())
}

/// Those who accuse nobody agree with the node in the end, and get their answers.
async fn settle_honest(town: &mut Town) -> Outcome {
    town.settle().await?;
    for device in &town.devices {
        if device.replicas[&0].remote.status().diverged.is_some() {
            town.ledger.lock().forget_callers(device.index);
        }
    }
    let awaited = town.ledger.lock().awaited();
    if awaited > 0 {
        let what = format!("{awaited} callers wait for ever");
        return Err(Broken::of("settles", what));
    }
    Ok(())
}

/// The disk of the node as it is at this moment, put into the place of what it has now.
async fn go_back(
    hosting: &mut Hosting,
    town_network: &ate_net::SimNetwork,
    image: Image,
) -> Outcome<Endpoint> {
    hosting.crash(town_network, ate::log::Loss::Nothing).await;
    hosting.machine.storage = SimStorage::from_image(image);
    hosting.start(town_network)
}

/// The node forgets what it has acknowledged.
async fn rolled_back(town: &mut Town) -> Outcome {
    beginning(town, Contents::Eager).await?;
    let image = town.hosting.machine.storage.image();
    write_some(town, WRITES).await?;
    town.devices[0].change(0, super::ledger::Change::Put("last".into(), "said".into()))?;
    town.settle().await?;
    let before: Vec<_> = (0..town.devices.len())
        .flat_map(|index| roots(town, index))
        .collect();
    town.lies += 1;
    let network = town.network.clone();
    go_back(&mut town.hosting, &network, image).await?;
    // New commits may hide nothing.
    write_some(town, WRITES).await?;
    tokio::time::sleep(CALM).await;
    judge(town, &before)?;
    for index in 0..town.devices.len() {
        expect_accusation(town, index)?;
    }
    Ok(())
}

/// Two nodes with one key and two orders.
async fn forked(town: &mut Town) -> Outcome {
    beginning(town, Contents::Eager).await?;
    let image = town.hosting.machine.storage.image();
    let mut machine = Machine::new(
        "fork",
        101,
        town.random.next(),
        town.hosting.machine.clock(),
    );
    machine.storage = SimStorage::from_image(image);
    let mut fork = Hosting::new(machine, town.hosting.identity.clone());
    let other = fork.start(&town.network)?;
    let last = town.devices.len() - 1;
    move_to(town, last, &other).await?;
    for text in ["one", "two", "three"] {
        let put = |name: &str| super::ledger::Change::Put(name.into(), text.into());
        town.devices[0].change(0, put("here"))?;
        town.devices[last].change(0, put("there"))?;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    town.lies += 1;
    let before = roots(town, last);
    let home = town.endpoint.clone().expect("the node runs");
    move_to(town, last, &home).await?;
    tokio::time::sleep(CALM).await;
    judge(town, &before)?;
    expect_accusation(town, last)?;
    fork.shut_down().await
}

/// A device dials another endpoint from now on.
async fn move_to(town: &mut Town, device: usize, to: &Endpoint) -> Outcome {
    town.devices[device].stop().await?;
    let transport = town.network.transport(&town.devices[device].machine.name);
    town.devices[device].start(Arc::new(transport), to)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}
