//! A client that does as it should.

use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

use ate::net::{ChainAddress, Client, QuicLimits, QuicTransport};
use ate::{Identity, Seed, Store};
use ate_benches::{Sample, now};

use crate::Failed;

struct Nothing;

impl ate::net::Notebook for Nothing {
    fn kept(&self, _: &ate_chain::ChainId, _: &ate::net::NodeId) -> Option<ate::net::Kept> {
        None
    }

    fn keep(&self, _: &ate_chain::ChainId, _: &ate::net::NodeId, _: &ate::net::Kept) {}

    fn accuse(&self, _: &ate_chain::ChainId, _: &ate::net::NodeId, _: &ate::net::Evidence) {}
}

/// Each line of its input is a number of seconds to work; the answer is two lines of microseconds, of commits and of pings.
pub(crate) fn run(url: &str, dir: &str) -> Result<(), Failed> {
    let identity = Identity::from_seed(&Seed::from_bytes([9; 32]));
    let store = Store::builder(dir)
        .identity(identity.clone())
        .open()
        .wait()?;
    let chain = store.create_chain(url).wait()?;
    chain.add(Sample::new(0)).wait()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let transport = QuicTransport::client(&QuicLimits::default())?;
    let random = Arc::new(ate_crypto::SeededRandom::new(1));
    let client = Client::new(Arc::new(transport), identity, random, Arc::new(Nothing))?;
    drop(entered);
    let address: ChainAddress = url.parse()?;
    let node = address.node().node().ok_or("the address names its key")?;
    let link = client.link(&address.node().endpoint(node));
    println!("ready");
    let mut number = 1;
    for line in std::io::stdin().lock().lines() {
        let length = Duration::from_secs(line?.parse()?);
        let (mut commits, mut pings) = (Vec::new(), Vec::new());
        let begun = now();
        while begun.elapsed() < length {
            let at = now();
            chain.add(Sample::new(number)).wait()?;
            commits.push(at.elapsed());
            number += 1;
            let at = now();
            link.ping(Duration::from_secs(30)).wait()?;
            pings.push(at.elapsed());
        }
        for of in [commits, pings] {
            let words: Vec<String> = of.iter().map(|one| one.as_micros().to_string()).collect();
            println!("{}", words.join(" "));
        }
    }
    drop((link, client));
    runtime.shutdown_background();
    Ok(())
}
