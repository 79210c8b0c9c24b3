//! The layering as a check: which crate may use which, and what none of them may use.
//!
//! Three sources: `cargo metadata` for edges and for what a user's build contains, the manifests for versions, and the code
//! for files and sockets. ARCHITECTURE.md explains the layers; [`ALLOWED`] is the only place that lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::manifest;
use crate::process::{cargo, git, output, root};
use crate::source::{Source, is_word};
use crate::steps::Outcome;
use crate::tidy;

#[cfg(test)]
mod tests;

/// Crate, then the crates of the workspace that it may use outside of its tests. A crate that is not listed is an error.
const ALLOWED: &[(&str, &[&str])] = &[
    ("ate-crypto", &[]),
    ("ate-log", &[]),
    ("ate-derive", &[]),
    ("ate-chain", &["ate-crypto", "ate-log"]),
    ("ate-view", &["ate-crypto", "ate-chain", "ate-derive"]),
    ("ate-net", &["ate-crypto", "ate-log", "ate-chain"]),
    (
        "ate",
        &[
            "ate-crypto",
            "ate-log",
            "ate-chain",
            "ate-derive",
            "ate-view",
            "ate-net",
        ],
    ),
    (
        "ate-benches",
        &[
            "ate-crypto",
            "ate-log",
            "ate-chain",
            "ate-derive",
            "ate-view",
            "ate",
        ],
    ),
    // Nothing is built on it: a harness above everything.
    (
        "ate-sim",
        &[
            "ate-crypto",
            "ate-log",
            "ate-chain",
            "ate-derive",
            "ate-view",
            "ate-net",
            "ate",
        ],
    ),
    ("xtask", &[]),
];

/// The library runs without an async runtime, so a default build may not even contain one.
const RUNTIME: &str = "tokio";

/// Crates whose default build may contain [`RUNTIME`].
const WITH_RUNTIME: &[&str] = &["ate-benches", "ate-net", "ate-sim"];

/// Folders of the only crates whose code outside of tests may use `std::fs`.
const WITH_FILES: &[&str] = &["ate-log", "ate", "benches", "xtask"];

/// What reaches a network. Addresses alone are plain values that anybody may hold.
const SOCKETS: &[&str] = &[
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
];

/// Folders of the only crates whose code outside of tests may use [`SOCKETS`].
const WITH_SOCKETS: &[&str] = &["ate-net", "benches"];

pub(crate) fn command() -> Result<Outcome> {
    let problems = check_repository()?;
    for problem in &problems {
        println!("    {problem}");
    }
    if !problems.is_empty() {
        bail!("{} violations of the layering", problems.len());
    }
    println!(
        "    {} crates obey the table of allowed edges",
        ALLOWED.len()
    );
    Ok(Outcome::Passed)
}

fn check_repository() -> Result<Vec<String>> {
    // Only this platform's packages: the others need not have been downloaded.
    let host = output(cargo().args(["-vV"]))?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("cargo tells no host")?;
    let text = output(cargo().args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        host,
    ]))?;
    let graph = Graph::read(&text)?;
    let mut problems = check_edges(&graph);
    problems.extend(check_runtime(&graph));
    let files = output(git().args(["ls-files"]))?;
    for path in files.lines().filter(|path| root().join(path).is_file()) {
        let text = || {
            std::fs::read_to_string(root().join(path))
                .with_context(|| format!("cannot read {path}"))
        };
        if path.ends_with("/Cargo.toml") && path.matches('/').count() == 1 {
            problems.extend(check_manifest(path, &text()?));
        } else if path.contains("/src/") && path.ends_with(".rs") && !tidy::is_test_path(path) {
            problems.extend(check_source(path, &text()?));
        }
    }
    Ok(problems)
}

/// What `cargo metadata` says, as far as the checks need it.
struct Graph {
    /// Name of each crate of the workspace, with its dependencies.
    members: BTreeMap<String, Vec<Declared>>,
    /// Package id of each crate of the workspace.
    member_ids: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    /// Package id, then the ids that its default build links.
    links: BTreeMap<String, Vec<String>>,
}

/// A dependency outside of tests, as a manifest states it, for any platform.
struct Declared {
    name: String,
    is_optional: bool,
}

impl Graph {
    fn read(text: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(text).context("the output of cargo metadata")?;
        let ids: BTreeSet<&str> = array(&metadata, "workspace_members")?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut graph = Self {
            members: BTreeMap::new(),
            member_ids: BTreeMap::new(),
            names: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        for package in array(&metadata, "packages")? {
            let (id, name) = (string(package, "id")?, string(package, "name")?);
            graph.names.insert(id.clone(), name.clone());
            if ids.contains(id.as_str()) {
                graph.member_ids.insert(name.clone(), id);
                graph.members.insert(name, declared(package)?);
            }
        }
        for node in array(&metadata["resolve"], "nodes")? {
            let mut linked = Vec::new();
            for dependency in array(node, "deps")? {
                if array(dependency, "dep_kinds")?
                    .iter()
                    .any(|kind| kind["kind"].is_null())
                {
                    linked.push(string(dependency, "pkg")?);
                }
            }
            graph.links.insert(string(node, "id")?, linked);
        }
        Ok(graph)
    }

    /// The shortest way from a crate to `target` in what its default build links, by name.
    fn way(&self, member: &str, target: &str) -> Option<Vec<String>> {
        let start = self.member_ids.get(member)?;
        let mut ways = vec![vec![start]];
        let mut seen = BTreeSet::from([start]);
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                for next in way
                    .last()
                    .and_then(|last| self.links.get(*last))
                    .into_iter()
                    .flatten()
                {
                    if !seen.insert(next) {
                        continue;
                    }
                    let mut extended = way.clone();
                    extended.push(next);
                    if self.names.get(next).is_some_and(|name| name == target) {
                        let names = extended
                            .iter()
                            .filter_map(|id| self.names.get(*id).cloned());
                        return Some(names.collect());
                    }
                    longer.push(extended);
                }
            }
            ways = longer;
        }
        None
    }
}

fn declared(package: &Value) -> Result<Vec<Declared>> {
    let mut found = Vec::new();
    for dependency in array(package, "dependencies")? {
        if dependency["kind"] != "dev" {
            let is_optional = dependency["optional"] == true;
            found.push(Declared {
                name: string(dependency, "name")?,
                is_optional,
            });
        }
    }
    Ok(found)
}

fn array<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field]
        .as_array()
        .with_context(|| format!("cargo metadata without the list `{field}`"))
}

fn string(value: &Value, field: &str) -> Result<String> {
    let text = value[field]
        .as_str()
        .with_context(|| format!("cargo metadata without the text `{field}`"))?;
    Ok(text.to_owned())
}

/// Optional edges count: a feature may not open a way that the table closes.
fn check_edges(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (member, dependencies) in &graph.members {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == member) else {
            problems.push(format!(
                "crate {member} is not in the table of allowed edges (xtask/src/layers.rs)"
            ));
            continue;
        };
        for Declared { name, .. } in dependencies {
            if graph.members.contains_key(name) && !allowed.contains(&name.as_str()) {
                problems.push(format!(
                    "{member} may not depend on {name}: allowed are {allowed:?}"
                ));
            }
        }
    }
    for (name, _) in ALLOWED {
        if !graph.members.contains_key(*name) {
            problems.push(format!(
                "the table of allowed edges lists {name}, which is no crate of the workspace"
            ));
        }
    }
    problems
}

fn check_runtime(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (member, dependencies) in &graph.members {
        if WITH_RUNTIME.contains(&member.as_str()) {
            continue;
        }
        // The resolved graph knows this platform only, the manifest all of them.
        if dependencies
            .iter()
            .any(|declared| declared.name == RUNTIME && !declared.is_optional)
        {
            problems.push(format!(
                "{member} depends on {RUNTIME} outside of its tests"
            ));
        } else if let Some(way) = graph.way(member, RUNTIME) {
            problems.push(format!(
                "a default build of {member} contains {RUNTIME}: {}",
                way.join(" -> ")
            ));
        }
    }
    problems
}

fn check_manifest(path: &str, text: &str) -> Vec<String> {
    manifest::dependencies(text)
        .into_iter()
        .filter(|dependency| !dependency.is_inherited)
        .map(|dependency| {
            let (line, name) = (dependency.line, dependency.name);
            format!("{path}:{line}: {name} needs `workspace = true`: versions stand in the root manifest only")
        })
        .collect()
}

fn check_source(path: &str, text: &str) -> Vec<String> {
    let Some(folder) = Path::new(path).iter().next().and_then(|part| part.to_str()) else {
        return Vec::new();
    };
    let source = Source::new(text);
    let mut problems = Vec::new();
    for (number, line) in source.code() {
        if !WITH_FILES.contains(&folder) && names_std_module(line, "fs") {
            problems.push(format!(
                "{path}:{number}: `{}`: only {WITH_FILES:?} touch files",
                line.trim()
            ));
        }
        let has_socket = line
            .split(|c| !is_word(c))
            .any(|word| SOCKETS.contains(&word));
        if !WITH_SOCKETS.contains(&folder) && has_socket {
            problems.push(format!(
                "{path}:{number}: `{}`: only {WITH_SOCKETS:?} open sockets",
                line.trim()
            ));
        }
    }
    problems
}

/// True for `std::fs` as a path, and for `use std::{.., fs, ..}` on one line.
fn names_std_module(line: &str, module: &str) -> bool {
    let Some((_, after)) = line.split_once("std::") else {
        return false;
    };
    let words: Vec<&str> = after
        .split(|c| !is_word(c))
        .filter(|word| !word.is_empty())
        .collect();
    words.first() == Some(&module) || (after.starts_with('{') && words.contains(&module))
}
