//! Writers, readers and a node that are killed, and a link that is cut, at moments that a seed chooses: what was acknowledged stays, once, in one order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::node::{Client, Node};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::support::{Ended, Place, json_lines};

const CHAIN: &str = "ruin";
/// A kill comes within this time after a command was started.
const KILL_WITHIN_MS: u64 = 400;

struct World<'a> {
    place: &'a Place,
    node: Node,
    proxy: Proxy,
    writers: Vec<Client<'a>>,
    reader: Client<'a>,
    random: Random,
    /// Names in the order in which they were tried, with what the answer said.
    tried: Vec<(String, Option<(u64, String)>)>,
    unknown: usize,
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_anybody_is_killed_seed_1() {
    ruin(1, 14);
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_anybody_is_killed_seed_2() {
    ruin(2, 14);
}

fn ruin(seed: u64, rounds: u64) {
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let proxy = Proxy::to(node.place, seed);
    let first = Client::new(&place, "a", &node.url_through(proxy.place));
    first.good(&["put", CHAIN, "begin", "0"]);
    let mut world = World {
        reader: first.twin("reader"),
        writers: vec![first.twin("b"), first],
        place: &place,
        node,
        proxy,
        random: Random(seed),
        tried: Vec::new(),
        unknown: 0,
    };
    for round in 0..rounds {
        world.round(round);
    }
    world.heal();
    world.judge();
}

impl World<'_> {
    fn round(&mut self, round: u64) {
        let writer = self.random.below(2) as usize;
        let name = format!("record-{round}");
        let value = round.to_string();
        let put = ["put", CHAIN, &name, &value, "--json", "--wait", "4"];
        let mut running = self.writers[writer].start(&put);
        let pause = Duration::from_millis(self.random.below(KILL_WITHIN_MS));
        std::thread::sleep(pause);
        match self.random.below(6) {
            0 => {
                self.node.kill();
                self.node = Node::again(self.place, self.node.place);
            }
            1 => {
                running.child().kill().expect("it can be killed");
            }
            2 => {
                self.proxy.cut(true);
                std::thread::sleep(2 * pause);
                self.proxy.cut(false);
            }
            3 => {
                self.proxy.lose(self.random.below(200) as u32);
                self.proxy.delay(self.random.below(20) as u32);
            }
            4 => {
                let reading = self.reader.start(&["replicate", CHAIN]);
                std::thread::sleep(2 * pause);
                reading.kill();
            }
            _ => {
                let get = ["get", CHAIN, "begin", "--wait", "30"];
                assert_eq!(self.reader.good(&get), "0\n");
            }
        }
        let answer = self.answered(running.ended());
        self.tried.push((name, answer));
    }

    /// Where a commit is, if it was acknowledged.
    fn answered(&mut self, ended: Ended) -> Option<(u64, String)> {
        match ended.code {
            0 => {
                let written = json_lines(&ended.out).remove(0);
                let position = written["position"].as_u64().expect("a position");
                let root = written["root"].as_str().expect("a root");
                Some((position, root.to_owned()))
            }
            // Staged, or killed.
            5 | -1 => {
                self.unknown += 1;
                None
            }
            _ => panic!("seed gave {ended:?}"),
        }
    }

    /// Everybody can speak with the node again, and does.
    fn heal(&mut self) {
        self.proxy.cut(false);
        self.proxy.lose(0);
        self.proxy.delay(0);
        for client in self.writers.iter().chain([&self.reader]) {
            client.good(&["replicate", CHAIN, "--once"]);
        }
        // What one had staged, the others have not seen yet.
        for client in self.writers.iter().chain([&self.reader]) {
            client.good(&["replicate", CHAIN, "--once"]);
        }
    }

    fn judge(mut self) {
        let log = self.reader.here(&["log", CHAIN, "--json"]).good();
        let commits = json_lines(&log);
        for client in &self.writers {
            assert_eq!(client.here(&["log", CHAIN, "--json"]).good(), log);
        }
        assert_eq!(self.node.terminate(), Some(0));
        let chains = json_lines(&self.at_node(&["ls", "--json"]));
        let id = chains[0]["id"].as_str().expect("an id");
        // It knows no names, but the same commits under the same roots.
        let hosted = json_lines(&self.at_node(&["log", id, "--json"]));
        let facts = |commit: &Value| {
            ["position", "commit", "root", "lane", "author"].map(|fact| commit[fact].to_string())
        };
        let (here, there): (Vec<_>, Vec<_>) = (
            commits.iter().map(facts).collect(),
            hosted.iter().map(facts).collect(),
        );
        assert_eq!(here, there);
        let mut root = self.at_node(&["verify", "--deep", "--json"]);
        root = json_lines(&root)[0]["root"].to_string();
        for client in self.writers.iter().chain([&self.reader]) {
            let verified = json_lines(&client.here(&["verify", "--deep", "--json"]).good());
            assert_eq!(verified[0]["root"].to_string(), root);
        }
        let mut written: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, commit) in commits.iter().enumerate() {
            for change in commit["changes"].as_array().expect("changes") {
                if let Some(name) = change["name"].as_str() {
                    written.entry(name.to_owned()).or_default().push(index);
                }
            }
        }
        for (name, answer) in &self.tried {
            let places = written.get(name).map(Vec::as_slice).unwrap_or_default();
            assert!(places.len() <= 1, "{name} is doubled: {places:?}");
            let Some((position, root)) = answer else {
                continue;
            };
            let commit = places.first().map(|index| &commits[*index]);
            let commit = commit.unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!(commit["position"], *position, "{name}");
            assert_eq!(commit["root"], root.as_str(), "{name}");
        }
        assert!(
            self.unknown < self.tried.len(),
            "no commit was acknowledged at all"
        );
    }

    fn at_node(&self, args: &[&str]) -> String {
        let output = self.place.command_in(self.node.dir(), args).output();
        Ended::of(output.expect("it runs")).good()
    }
}
