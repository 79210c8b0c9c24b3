//! What a run may do: one table.

use std::pin::Pin;
use std::time::Duration;

use ate_net::SimConditions;

use super::run::{Broken, Outcome};
use super::town::{NODE, Town};
use crate::random::Random;

type Work<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// Something that a run may do.
pub(super) struct Operation {
    pub(super) name: &'static str,
    weight: u64,
    pub(super) run: for<'a> fn(&'a mut Town) -> Work<'a>,
}

/// Everything that a run may do.
const OPERATIONS: &[Operation] = &[
    Operation {
        name: "somebody writes",
        weight: 14,
        run: |town| Box::pin(write(town, 1)),
    },
    Operation {
        name: "somebody writes several",
        weight: 12,
        run: |town| Box::pin(write(town, 4)),
    },
    Operation {
        name: "all write at once",
        weight: 6,
        run: |town| Box::pin(all_write(town)),
    },
    Operation {
        name: "somebody reads",
        weight: 5,
        run: |town| Box::pin(read(town)),
    },
    Operation {
        name: "somebody joins",
        weight: 2,
        run: |town| Box::pin(join(town)),
    },
    Operation {
        name: "connections break",
        weight: 5,
        run: |town| Box::pin(break_links(town)),
    },
    Operation {
        name: "a way is cut",
        weight: 4,
        run: |town| Box::pin(partition(town)),
    },
    Operation {
        name: "all ways are whole",
        weight: 4,
        run: |town| Box::pin(heal_ways(town)),
    },
    Operation {
        name: "the network changes",
        weight: 3,
        run: |town| Box::pin(change_network(town)),
    },
    Operation {
        name: "the node loses power",
        weight: 3,
        run: |town| Box::pin(crash_node(town)),
    },
    Operation {
        name: "the node will lose power",
        weight: 3,
        run: |town| Box::pin(cut_node(town)),
    },
    Operation {
        name: "the node ends in order",
        weight: 2,
        run: |town| Box::pin(stop_node(town)),
    },
    Operation {
        name: "a device loses power",
        weight: 3,
        run: |town| Box::pin(crash_device(town)),
    },
    Operation {
        name: "a device will lose power",
        weight: 3,
        run: |town| Box::pin(cut_device(town)),
    },
    Operation {
        name: "a device ends in order",
        weight: 2,
        run: |town| Box::pin(stop_device(town)),
    },
    Operation {
        name: "the node lets chains go",
        weight: 2,
        run: |town| Box::pin(evict(town)),
    },
];

/// Draws one.
pub(super) fn choose(random: &mut Random) -> &'static Operation {
    let sum: u64 = OPERATIONS.iter().map(|operation| operation.weight).sum();
    let mut left = random.below(sum);
    for operation in OPERATIONS {
        if left < operation.weight {
            return operation;
        }
        left -= operation.weight;
    }
    unreachable!("the number is below the sum")
}

async fn write(town: &mut Town, count: u64) -> Outcome {
    let Some(device) = town.any_device() else {
        return Ok(());
    };
    for _ in 0..count {
        town.write(device)?;
    }
    Ok(())
}

async fn all_write(town: &mut Town) -> Outcome {
    for device in 0..town.devices.len() {
        if town.devices[device].machine.is_on() {
            town.write(device)?;
        }
    }
    Ok(())
}

async fn read(town: &mut Town) -> Outcome {
    let Some(device) = town.any_device() else {
        return Ok(());
    };
    let (Some(chain), name) = (town.any_chain(device), town.any_name()) else {
        return Ok(());
    };
    let found = town.devices[device].read(chain, &name).await?;
    if let Some(text) = found
        && !town.was_written(chain, &name, &text)
    {
        let what = format!("device-{device} reads {name}, which nobody wrote");
        return Err(Broken::of("no false content", what));
    }
    Ok(())
}

async fn join(town: &mut Town) -> Outcome {
    let Some(device) = town.any_device() else {
        return Ok(());
    };
    let chains = town.ledger.lock().chains.len();
    for chain in 0..chains {
        if !town.devices[device].joined.contains_key(&chain) {
            let contents = if town.random.one_in(2) {
                ate::chain::Contents::Eager
            } else {
                ate::chain::Contents::Lazy
            };
            return town.devices[device].join(chain, contents);
        }
    }
    Ok(())
}

async fn break_links(town: &mut Town) -> Outcome {
    let Some(device) = town.any_device() else {
        return Ok(());
    };
    town.cuts += 1;
    town.network
        .break_between(&town.devices[device].machine.name, NODE);
    Ok(())
}

async fn partition(town: &mut Town) -> Outcome {
    let Some(device) = town.any_device() else {
        return Ok(());
    };
    town.cuts += 1;
    town.tell(format!("    between device-{device} and the node"));
    town.network
        .partition(&town.devices[device].machine.name, NODE);
    Ok(())
}

async fn heal_ways(town: &mut Town) -> Outcome {
    town.network.heal_all();
    Ok(())
}

async fn change_network(town: &mut Town) -> Outcome {
    let random = &mut town.random;
    let conditions = SimConditions {
        latency_max: Duration::from_millis(1 + random.below(200)),
        loss_per_mille: random.below(100) as u32,
        bytes_per_second: random.one_in(2).then(|| 20_000 + random.below(500_000)),
        duplicates_per_mille: random.below(100) as u32,
        ..SimConditions::default()
    };
    town.network.set_conditions(conditions);
    Ok(())
}

async fn crash_node(town: &mut Town) -> Outcome {
    if town.hosting.machine.is_on() {
        town.crash_node().await;
    }
    Ok(())
}

async fn cut_node(town: &mut Town) -> Outcome {
    if town.hosting.machine.is_on() {
        let calls = town.random.below(12);
        town.hosting.machine.storage.cut_after(calls);
    }
    Ok(())
}

async fn stop_node(town: &mut Town) -> Outcome {
    if town.hosting.machine.is_on() && !town.hosting.machine.has_fallen() {
        town.hosting.shut_down().await?;
        town.node_sleeps = 1 + town.random.below(3);
    }
    Ok(())
}

async fn crash_device(town: &mut Town) -> Outcome {
    if let Some(device) = town.any_device() {
        town.crash_device(device).await;
    }
    Ok(())
}

async fn cut_device(town: &mut Town) -> Outcome {
    if let Some(device) = town.any_device() {
        let calls = town.random.below(12);
        town.devices[device].machine.storage.cut_after(calls);
    }
    Ok(())
}

async fn stop_device(town: &mut Town) -> Outcome {
    let Some(device) = town.any_device() else {
        return Ok(());
    };
    if !town.devices[device].machine.has_fallen() {
        let is_off = town.devices[device].stop().await?;
        let steps = 1 + town.random.below(5);
        // Whoever has lost its power instead is seen to when that is looked at.
        if is_off {
            town.asleep.push((device, steps));
        }
    }
    Ok(())
}

async fn evict(town: &mut Town) -> Outcome {
    if let Some(chains) = town.hosting.chains() {
        let gone = chains.evict();
        town.tell(format!("    {gone}"));
    }
    Ok(())
}
