//! The layering holds here, and every one of its rules finds a planted violation.

use serde_json::json;

use super::*;

/// A workspace with every crate of the table and no dependencies, as `cargo metadata` would tell it.
struct Synthetic {
    packages: BTreeMap<String, Vec<Value>>,
    links: BTreeMap<String, Vec<Value>>,
}

impl Synthetic {
    fn new() -> Self {
        let packages = ALLOWED
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Vec::new()))
            .collect();
        Self {
            packages,
            links: BTreeMap::new(),
        }
    }

    fn declare(mut self, from: &str, to: &str, kind: Value, optional: bool) -> Self {
        let dependency = json!({"name": to, "kind": kind, "optional": optional});
        self.packages
            .entry(from.to_owned())
            .or_default()
            .push(dependency);
        self
    }

    fn link(mut self, from: &str, to: &str, kind: Value) -> Self {
        let dependency =
            json!({"pkg": format!("id:{to}"), "dep_kinds": [{"kind": kind, "target": null}]});
        self.links
            .entry(from.to_owned())
            .or_default()
            .push(dependency);
        self
    }

    fn problems(&self) -> Vec<String> {
        let outside = ["tokio", "middle"].map(str::to_owned);
        let member_ids: Vec<String> = self
            .packages
            .keys()
            .map(|name| format!("id:{name}"))
            .collect();
        let mut packages: Vec<Value> = Vec::new();
        for (name, dependencies) in &self.packages {
            packages.push(
                json!({"id": format!("id:{name}"), "name": name, "dependencies": dependencies}),
            );
        }
        for name in &outside {
            packages.push(json!({"id": format!("id:{name}"), "name": name, "dependencies": []}));
        }
        let nodes: Vec<Value> = self
            .packages
            .keys()
            .chain(&outside)
            .map(|name| json!({"id": format!("id:{name}"), "deps": self.links.get(name).cloned().unwrap_or_default()}))
            .collect();
        let metadata = json!({"workspace_members": member_ids, "packages": packages, "resolve": {"nodes": nodes}});
        let graph = Graph::read(&metadata.to_string()).expect("well-formed");
        let mut problems = check_edges(&graph);
        problems.extend(check_runtime(&graph));
        problems
    }
}

fn check(synthetic: &Synthetic, expected: &[&str]) {
    assert_eq!(synthetic.problems(), expected);
}

#[test]
fn this_repository_obeys() {
    let problems = check_repository().expect("metadata and files can be read");
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn allowed_edges_pass() {
    let synthetic = Synthetic::new()
        .declare("ate-view", "ate-derive", Value::Null, true)
        .declare("ate-chain", "ate-log", Value::Null, false);
    check(&synthetic, &[]);
}

#[test]
fn forbidden_edge_is_found() {
    let synthetic = Synthetic::new().declare("ate-crypto", "ate-log", Value::Null, false);
    check(
        &synthetic,
        &["ate-crypto may not depend on ate-log: allowed are []"],
    );
    let synthetic = Synthetic::new().declare("ate-log", "ate-crypto", Value::Null, true);
    check(
        &synthetic,
        &["ate-log may not depend on ate-crypto: allowed are []"],
    );
    let synthetic = Synthetic::new().declare("xtask", "ate-crypto", json!("build"), false);
    check(
        &synthetic,
        &["xtask may not depend on ate-crypto: allowed are []"],
    );
}

#[test]
fn tests_may_use_what_they_like() {
    let synthetic = Synthetic::new()
        .declare("ate-log", "ate-crypto", json!("dev"), false)
        .declare("ate", "tokio", json!("dev"), false)
        .link("ate", "tokio", json!("dev"));
    check(&synthetic, &[]);
}

#[test]
fn unknown_and_missing_crates_are_found() {
    let mut synthetic = Synthetic::new();
    synthetic.packages.insert("ate-new".to_owned(), Vec::new());
    check(
        &synthetic,
        &["crate ate-new is not in the table of allowed edges (xtask/src/layers.rs)"],
    );
    let mut synthetic = Synthetic::new();
    synthetic.packages.remove("ate-log");
    check(
        &synthetic,
        &["the table of allowed edges lists ate-log, which is no crate of the workspace"],
    );
}

#[test]
fn runtime_is_found_directly_and_through_others() {
    let synthetic = Synthetic::new().declare("ate", "tokio", Value::Null, false);
    check(&synthetic, &["ate depends on tokio outside of its tests"]);
    let synthetic = Synthetic::new().declare("ate", "tokio", Value::Null, true);
    check(&synthetic, &[]);
    let synthetic =
        Synthetic::new()
            .link("ate", "middle", Value::Null)
            .link("middle", "tokio", Value::Null);
    check(
        &synthetic,
        &["a default build of ate contains tokio: ate -> middle -> tokio"],
    );
    let synthetic = Synthetic::new().link("ate-benches", "tokio", Value::Null);
    check(&synthetic, &[]);
}

#[test]
fn version_outside_the_root_manifest_is_found() {
    let text = "[dependencies]\na = { workspace = true }\nb = { version = \"1\" }\n";
    let problems = check_manifest("x/Cargo.toml", text);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("x/Cargo.toml:3: b needs"),
        "{problems:?}"
    );
}

#[test]
fn files_and_sockets_in_the_wrong_crate_are_found() {
    let found = |path: &str, text: &str| check_source(path, text).len();
    assert_eq!(found("ate-view/src/a.rs", "use std::fs::File;\n"), 1);
    assert_eq!(found("ate-view/src/a.rs", "use std::{fs, io};\n"), 1);
    assert_eq!(found("ate-log/src/a.rs", "let x = std::fs::read(p);\n"), 0);
    assert_eq!(found("ate-log/src/a.rs", "use std::net::TcpStream;\n"), 1);
    assert_eq!(found("ate-view/src/a.rs", "use std::net::IpAddr;\n"), 0);
    assert_eq!(found("ate-view/src/a.rs", "// std::fs\nuse std::fmt;\n"), 0);
    assert_eq!(
        found(
            "ate-view/src/a.rs",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"
        ),
        0
    );
}
