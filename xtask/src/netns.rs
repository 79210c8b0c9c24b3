//! Two machines in one: a node in one network namespace, its clients in another, and a link between them that is taken down and loses packets.
//!
//! Everything that it makes bears the number of this process and is removed at its end; where namespaces may not be made it says so and checks nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::crash::SplitMix;
use crate::process::{self, answers};
use crate::scratch::Scratch;
use crate::steps::Outcome;

/// A network for documentation (RFC 5737): nobody routes it.
const NODE: &str = "192.0.2.1";
const CLIENT: &str = "192.0.2.2";
const LISTEN: &str = "192.0.2.1:4433";
const CHAIN: &str = "across";

struct Options {
    rounds: u64,
    seed: u64,
}

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    let options = parse(arguments)?;
    let names = Names::new();
    if let Some(why) = names.missing() {
        return Ok(Outcome::Skipped(why));
    }
    let program = process::program("ate")?;
    let namespaces = Namespaces::make(names)?;
    let mut scratch = Scratch::new("netns")?;
    println!("    seed {}, {} rounds", options.seed, options.rounds);
    let mut world = World::new(&namespaces, program, scratch.path())?;
    let judged = world.run(&options);
    drop(world);
    if judged.is_err() {
        println!("    the stores are left in {}", scratch.path().display());
        scratch.keep();
    }
    judged
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 20,
        seed: 1,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word} takes a number"))?;
        let number = value
            .parse()
            .with_context(|| format!("{word}: `{value}` is no number"))?;
        match word.as_str() {
            "--rounds" => options.rounds = number,
            "--seed" => options.seed = number,
            _ => bail!("takes --rounds N and --seed S, got `{word}`"),
        }
    }
    Ok(options)
}

/// What the namespaces and the ends of the link are called.
struct Names {
    node: String,
    client: String,
    node_end: String,
    client_end: String,
}

impl Names {
    fn new() -> Self {
        let own = std::process::id();
        Self {
            node: format!("ate-node-{own}"),
            client: format!("ate-client-{own}"),
            // At most 15 bytes.
            node_end: format!("aten{own}"),
            client_end: format!("atec{own}"),
        }
    }

    /// Why this cannot run here, if it cannot.
    fn missing(&self) -> Option<String> {
        if !answers(Command::new("ip").arg("-V")) {
            return Some("there is no program `ip` (Debian: iproute2)".to_owned());
        }
        let may = answers(Command::new("ip").args(["netns", "add", &self.node]));
        if may {
            answers(Command::new("ip").args(["netns", "delete", &self.node]));
            return None;
        }
        Some("network namespaces may not be made here (it takes root)".to_owned())
    }
}

/// The namespaces and the link, until they are dropped.
struct Namespaces(Names);

impl Namespaces {
    fn make(names: Names) -> Result<Self> {
        let made = Self(names);
        let Names {
            node,
            client,
            node_end,
            client_end,
        } = &made.0;
        ip(&["netns", "add", node])?;
        ip(&["netns", "add", client])?;
        ip(&[
            "link", "add", node_end, "netns", node, "type", "veth", "peer", "name", client_end,
            "netns", client,
        ])?;
        for (namespace, end, address) in [(node, node_end, NODE), (client, client_end, CLIENT)] {
            ip(&[
                "-n",
                namespace,
                "addr",
                "add",
                &format!("{address}/30"),
                "dev",
                end,
            ])?;
            ip(&["-n", namespace, "link", "set", end, "up"])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        Ok(made)
    }

    /// Takes the clients' end of the link down, or up again.
    fn link(&self, state: &str) -> Result<()> {
        ip(&[
            "-n",
            &self.0.client,
            "link",
            "set",
            &self.0.client_end,
            state,
        ])
    }

    /// A link that loses and delays packets; `false` where the system cannot do that.
    fn spoil(&self, loss_percent: u64, delay_ms: u64) -> bool {
        let (loss, delay) = (format!("{loss_percent}%"), format!("{delay_ms}ms"));
        [
            (&self.0.client, &self.0.client_end),
            (&self.0.node, &self.0.node_end),
        ]
        .into_iter()
        .all(|(namespace, end)| {
            answers(Command::new("tc").args([
                "-n", namespace, "qdisc", "replace", "dev", end, "root", "netem", "loss", &loss,
                "delay", &delay,
            ]))
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // The link goes with its ends.
        for namespace in [&self.0.node, &self.0.client] {
            answers(Command::new("ip").args(["netns", "delete", namespace]));
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip {}: {said}",
        arguments.join(" ")
    );
    Ok(())
}

/// A node, two writers and a reader, who share one identity.
struct World<'a> {
    namespaces: &'a Namespaces,
    program: PathBuf,
    dir: &'a Path,
    node: Option<Child>,
    url: String,
    /// What the commits that were tried said, by name: position and root of those that were acknowledged.
    tried: BTreeMap<String, Option<(u64, String)>>,
}

impl<'a> World<'a> {
    fn new(namespaces: &'a Namespaces, program: PathBuf, dir: &'a Path) -> Result<Self> {
        let mut world = Self {
            namespaces,
            program,
            dir,
            node: None,
            url: String::new(),
            tried: BTreeMap::new(),
        };
        world.start_node()?;
        good(world.client("a", &["put", CHAIN, "begin", "0"]).output()?)?;
        let words = good(
            world
                .client("a", &["identity", "export", "--yes"])
                .output()?,
        )?;
        for other in ["b", "reader"] {
            let mut import = world.client(other, &["identity", "import", "-"]);
            let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
            let mut stdin = import.stdin.take().context("a pipe")?;
            std::io::Write::write_all(&mut stdin, words.as_bytes())?;
            drop(stdin);
            ensure!(import.wait()?.success(), "the identity was not imported");
        }
        Ok(world)
    }

    /// In a namespace; the process that is started becomes the program itself, and is ended by its number.
    fn ate(&self, namespace: &str, dir: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .arg(&self.program)
            .arg("--dir")
            .arg(self.dir.join(dir))
            .args(arguments)
            .env_remove("ATE_DIR")
            .env_remove("ATE_PASSPHRASE")
            .env_remove("ATE_URL")
            .stdin(Stdio::null());
        command
    }

    fn client(&self, dir: &str, arguments: &[&str]) -> Command {
        let mut command = self.ate(&self.namespaces.0.client, dir, arguments);
        command.env("ATE_URL", &self.url);
        command
    }

    fn start_node(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("node.log"))?;
        let mut node = self
            .ate(
                &self.namespaces.0.node,
                "node",
                &["serve", "--listen", LISTEN],
            )
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        let pipe = node.stdout.take().context("a pipe");
        self.node = Some(node);
        BufReader::new(pipe?).read_line(&mut line)?;
        ensure!(
            line.starts_with("ate://"),
            "the node says `{}`",
            line.trim()
        );
        self.url = line.trim().to_owned();
        Ok(())
    }

    fn kill_node(&mut self) -> Result<()> {
        if let Some(mut node) = self.node.take() {
            node.kill()?;
            node.wait()?;
        }
        Ok(())
    }

    fn run(&mut self, options: &Options) -> Result<Outcome> {
        let mut random = SplitMix(options.seed);
        self.cut_and_heal()?;
        let mut spoiled = 0;
        for round in 0..options.rounds {
            let writer = if random.below(2) == 0 { "a" } else { "b" };
            let name = format!("record-{round}");
            let put = ["put", CHAIN, &name, "1", "--json", "--wait", "5"];
            let child = self
                .client(writer, &put)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            std::thread::sleep(Duration::from_millis(random.below(300)));
            match round % 3 {
                0 => {
                    self.namespaces.link("down")?;
                    std::thread::sleep(Duration::from_millis(random.below(1500)));
                    self.namespaces.link("up")?;
                }
                1 => {
                    self.kill_node()?;
                    self.start_node()?;
                }
                _ => {
                    spoiled += u64::from(self.namespaces.spoil(random.below(15), random.below(40)))
                }
            }
            self.note(name, &child.wait_with_output()?)?;
        }
        self.namespaces.spoil(0, 0);
        let commits = self.judge()?;
        let acknowledged = self.tried.values().flatten().count();
        println!(
            "    {commits} commits, the same in the same order under the same roots at the node and three clients; {acknowledged} of {} acknowledged in time, none lost or doubled; {spoiled} rounds of loss and delay{}",
            self.tried.len(),
            if spoiled == 0 {
                " (no tc netem here)"
            } else {
                ""
            },
        );
        Ok(Outcome::Passed)
    }

    /// What the two sides see of a link that is down for long.
    fn cut_and_heal(&mut self) -> Result<()> {
        good(self.client("b", &["get", CHAIN, "begin"]).output()?)?;
        self.namespaces.link("down")?;
        let get = ["get", CHAIN, "begin", "--wait", "0.5"];
        let read = good(self.client("b", &get).output()?)?;
        ensure!(read == "0\n", "the copy says `{read}`");
        let put = ["put", CHAIN, "offline", "1", "--json", "--wait", "0.5"];
        let staged = self.client("b", &put).output()?;
        ensure!(
            staged.status.code() == Some(5),
            "without a link: {staged:?}"
        );
        self.note("offline".to_owned(), &staged)?;
        self.namespaces.link("up")?;
        good(self.client("b", &["replicate", CHAIN, "--once"]).output()?)?;
        let read = good(self.client("a", &["get", CHAIN, "offline"]).output()?)?;
        ensure!(read == "1\n", "after the link was up again: `{read}`");
        Ok(())
    }

    fn note(&mut self, name: String, output: &Output) -> Result<()> {
        let answer = match output.status.code() {
            Some(0) => {
                let written: Value = serde_json::from_slice(&output.stdout)?;
                let position = written["position"].as_u64().context("a position")?;
                let root = written["root"].as_str().context("a root")?;
                Some((position, root.to_owned()))
            }
            Some(5) => None,
            _ => bail!("{name}: {output:?}"),
        };
        self.tried.insert(name, answer);
        Ok(())
    }

    /// Everybody holds the same, and what was acknowledged is there once. Gives the number of commits.
    fn judge(&mut self) -> Result<usize> {
        for _ in 0..2 {
            for client in ["a", "b", "reader"] {
                good(
                    self.client(client, &["replicate", CHAIN, "--once"])
                        .output()?,
                )?;
            }
        }
        self.kill_node()?;
        let log = self.here("reader", &["log", CHAIN, "--json"])?;
        for client in ["a", "b"] {
            ensure!(
                log == self.here(client, &["log", CHAIN, "--json"])?,
                "{client} has another log"
            );
        }
        let commits = lines(&log)?;
        let root = |verified: &str| Ok::<_, anyhow::Error>(lines(verified)?[0]["root"].clone());
        let hosted = root(&self.here("node", &["verify", "--deep", "--json"])?)?;
        for client in ["a", "b", "reader"] {
            let verified = root(&self.here(client, &["verify", "--deep", "--json"])?)?;
            ensure!(
                verified == hosted,
                "{client} has root {verified}, the node {hosted}"
            );
        }
        for (name, answer) in &self.tried {
            let has = |commit: &&Value| {
                let changes = commit["changes"].as_array();
                changes.is_some_and(|changes| {
                    changes.iter().any(|change| change["name"] == name.as_str())
                })
            };
            let found: Vec<&Value> = commits.iter().filter(has).collect();
            ensure!(found.len() <= 1, "{name} is doubled");
            if let Some((position, root)) = answer {
                let commit = found.first().with_context(|| format!("{name} is lost"))?;
                let is_there = commit["position"] == *position && commit["root"] == root.as_str();
                ensure!(is_there, "{name} is not where it was acknowledged");
            }
        }
        Ok(commits.len())
    }

    fn here(&self, dir: &str, arguments: &[&str]) -> Result<String> {
        good(
            self.ate(&self.namespaces.0.client, dir, arguments)
                .output()?,
        )
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        // It is gone, or goes now.
        drop(self.kill_node());
    }
}

fn good(output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ended with {}: {said}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn lines(text: &str) -> Result<Vec<Value>> {
    let parse = |line| serde_json::from_str(line).context("a line of JSON");
    text.lines().map(parse).collect()
}
