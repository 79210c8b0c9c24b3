//! Bugs on purpose: each is switched on in turn, and the tests that claim to find it must fail. A harness that cannot fail shows nothing.
//!
//! The bugs stand in the code under `--cfg ate_planted`, each behind a name that the environment variable `ATE_PLANTED` switches on,
//! so one build holds all of them. This program stands in for the compiler to set that flag for the crates of the workspace alone:
//! dependencies are not built again, and normal builds never see the switch.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{cargo, ended_at_most, output};
use crate::scratch::Scratch;
use crate::steps::Outcome;

/// Set for the compiler calls of the one build with planted bugs.
const AS_COMPILER: &str = "ATE_XTASK_AS_COMPILER";
/// Which bug is switched on; read by `ate_crypto::planted`.
const SWITCH: &str = "ATE_PLANTED";
/// Far above what one test takes: it only ends one that hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A bug, and the tests that must find it: each alone has to fail.
struct Bug {
    name: &'static str,
    found_by: &'static [(&'static str, &'static str)],
}

/// Test programs and the directories they run in, by name.
type Programs = BTreeMap<String, (PathBuf, PathBuf)>;

/// One test, with one bug or none.
struct Run {
    binary: &'static str,
    test: &'static str,
    bug: Option<&'static str>,
}

/// Every planted bug. To add one: a line here, and `#[cfg(ate_planted)]` with its name in the code.
const BUGS: &[Bug] = &[
    Bug {
        name: "acknowledge-before-sync",
        found_by: &[
            (
                "committer",
                "a_power_cut_at_any_call_loses_nothing_that_was_acknowledged",
            ),
            ("lost_syncs", "no_cut_loses_what_was_acknowledged"),
        ],
    },
    Bug {
        name: "skip-signature-half",
        found_by: &[("hostile_log", "each_half_of_each_signature_counts")],
    },
    Bug {
        name: "skip-body-hash",
        found_by: &[("hostile_log", "bodies_are_those_that_were_signed")],
    },
    Bug {
        name: "ignore-policy",
        found_by: &[(
            "hostile_log",
            "a_revoked_writer_is_refused_at_the_position_of_the_revocation",
        )],
    },
    Bug {
        name: "reuse-salt",
        found_by: &[("salts", "no_two_commits_share_a_salt")],
    },
    Bug {
        name: "skip-root-check",
        found_by: &[
            ("hostile_log", "no_byte_of_a_signed_head_can_change"),
            (
                "hostile_log",
                "order_time_is_bound_as_soon_as_somebody_has_seen_it",
            ),
        ],
    },
    // From here on: the disk and what is made of it.
    Bug {
        name: "confirm-before-durable",
        found_by: &[(
            "errors",
            "a_call_that_fails_never_makes_a_false_acknowledgement",
        )],
    },
    Bug {
        name: "skip-part-checksum",
        found_by: &[("verdicts", "every_flipped_bit_of_a_closed_log_is_found")],
    },
    Bug {
        name: "take-damage-for-torn",
        found_by: &[(
            "verdicts",
            "every_flipped_bit_of_an_unclosed_log_is_found_or_lies_behind_its_end",
        )],
    },
    Bug {
        name: "believe-a-watermark-of-the-same-group",
        found_by: &[("crashes", "no_cut_loses_what_was_synced")],
    },
    Bug {
        name: "forget-directory-sync",
        found_by: &[("crashes", "no_cut_loses_what_was_synced")],
    },
    Bug {
        name: "name-a-segment-before-its-header",
        found_by: &[("crashes", "no_cut_loses_what_was_synced")],
    },
    Bug {
        name: "begin-a-segment-before-the-last-is-durable",
        found_by: &[("crashes", "no_cut_loses_what_was_synced")],
    },
    Bug {
        name: "mark-the-close-before-the-sync",
        found_by: &[("crashes", "no_cut_loses_what_was_synced")],
    },
    Bug {
        name: "write-over-the-old-snapshot",
        found_by: &[("crashes", "no_cut_loses_what_was_synced")],
    },
    Bug {
        name: "trust-the-unproven-tail",
        found_by: &[(
            "crashes",
            "what_is_found_after_a_failed_sync_is_made_durable_again",
        )],
    },
    Bug {
        name: "retry-a-failed-sync",
        found_by: &[
            (
                "crashes",
                "what_is_found_after_a_failed_sync_is_made_durable_again",
            ),
            ("lost_syncs", "a_sync_that_fails_acknowledges_nothing"),
        ],
    },
    Bug {
        name: "write-on-after-a-failed-sync",
        found_by: &[("faults", "a_failed_sync_poisons_and_reopening_heals")],
    },
    Bug {
        name: "acknowledge-on-a-full-disk",
        found_by: &[(
            "faults",
            "one_failing_call_never_makes_a_false_acknowledgement",
        )],
    },
    Bug {
        name: "write-on-in-a-torn-segment",
        found_by: &[(
            "verdicts",
            "a_lost_sector_is_torn_only_above_every_watermark",
        )],
    },
    Bug {
        name: "rewrite-without-looking",
        found_by: &[(
            "bad_reads",
            "a_bit_that_turns_while_opening_never_reaches_the_disk",
        )],
    },
    Bug {
        name: "believe-the-lock-file",
        found_by: &[(
            "readers",
            "what_the_lock_file_says_counts_only_while_it_is_held",
        )],
    },
    // Two tiers, erasure, copies.
    Bug {
        name: "name-large-body-before-sync",
        found_by: &[("lost_syncs", "no_cut_loses_what_was_acknowledged")],
    },
    Bug {
        name: "manifest-without-sync",
        found_by: &[("lost_syncs", "no_cut_loses_what_was_acknowledged")],
    },
    Bug {
        name: "remove-a-segment-before-the-manifest",
        found_by: &[("lost_syncs", "no_cut_loses_what_was_acknowledged")],
    },
    Bug {
        name: "name-sealed-files-before-their-sync",
        found_by: &[("lost_syncs", "no_cut_loses_what_was_acknowledged")],
    },
    Bug {
        name: "forget-the-name-of-the-manifest",
        found_by: &[("lost_syncs", "no_cut_loses_what_was_acknowledged")],
    },
    Bug {
        name: "replace-the-only-copy-unread",
        found_by: &[(
            "bad_reads",
            "a_bit_that_turns_while_erasing_never_reaches_the_disk",
        )],
    },
    Bug {
        name: "destroy-before-the-erasure-is-durable",
        found_by: &[("lost_syncs", "no_cut_loses_what_was_acknowledged")],
    },
    Bug {
        name: "show-what-was-erased",
        found_by: &[(
            "erasure",
            "erased_bodies_are_refused_though_the_bytes_are_still_there",
        )],
    },
    Bug {
        name: "keep-what-was-erased",
        found_by: &[(
            "destroyed",
            "erased_bytes_are_in_no_file_and_their_absence_is_no_damage",
        )],
    },
    Bug {
        name: "reuse-lanes-after-restore",
        found_by: &[(
            "restoring",
            "a_restored_store_and_its_original_never_use_the_same_place_in_a_lane",
        )],
    },
    // From here on: what crosses a network, and who says it.
    Bug {
        name: "settle-on-the-answer",
        found_by: &[("net_seeds", "no_seed_of_a_network_breaks_a_promise")],
    },
    Bug {
        name: "forget-what-was-staged",
        found_by: &[("net_seeds", "no_seed_of_a_network_breaks_a_promise")],
    },
    Bug {
        name: "send-the-newest-first",
        found_by: &[("net_seeds", "no_seed_of_a_network_breaks_a_promise")],
    },
    Bug {
        name: "take-a-number-twice",
        found_by: &[(
            "replicas",
            "a_commit_whose_number_another_one_has_used_is_refused_and_not_answered_with_its_place",
        )],
    },
    Bug {
        name: "tell-a-refusal-before-it-is-kept",
        found_by: &[(
            "replicas",
            "a_refusal_that_was_told_outlives_a_loss_of_power",
        )],
    },
    Bug {
        name: "trust-an-answer-that-was-asked-again",
        found_by: &[("net_seeds", "no_seed_of_a_network_breaks_a_promise")],
    },
    Bug {
        name: "take-in-without-signatures",
        found_by: &[(
            "net_lies",
            "no_lie_is_taken_in_and_what_can_be_found_out_is",
        )],
    },
    Bug {
        name: "take-any-note",
        found_by: &[(
            "net_lies",
            "no_lie_is_taken_in_and_what_can_be_found_out_is",
        )],
    },
    Bug {
        name: "believe-a-shorter-chain",
        found_by: &[(
            "net_lies",
            "no_lie_is_taken_in_and_what_can_be_found_out_is",
        )],
    },
    Bug {
        name: "skip-the-root-of-a-standing",
        found_by: &[(
            "net_lies",
            "no_lie_is_taken_in_and_what_can_be_found_out_is",
        )],
    },
    Bug {
        name: "keep-any-content",
        found_by: &[(
            "net_lies",
            "no_lie_is_taken_in_and_what_can_be_found_out_is",
        )],
    },
    Bug {
        name: "find-commits-by-number-alone",
        found_by: &[(
            "replicas",
            "a_commit_whose_number_another_one_has_used_is_refused_and_not_answered_with_its_place",
        )],
    },
    Bug {
        name: "greet-without-binding",
        found_by: &[(
            "greeting",
            "a_greeting_from_another_connection_opens_nothing",
        )],
    },
    Bug {
        name: "believe-any-witness",
        found_by: &[("witnesses", "a_witness_of_another_history_is_heard")],
    },
];

/// The compiler's stand-in: `Some` if cargo has started this program in the compiler's place.
pub(crate) fn as_compiler() -> Option<ExitCode> {
    std::env::var_os(AS_COMPILER)?;
    let mut words = std::env::args_os().skip(1);
    let compiler = words.next()?;
    let status = Command::new(compiler)
        .args(words)
        .args(["--cfg", "ate_planted"])
        .status();
    let is_built = status.is_ok_and(|status| status.success());
    Some(if is_built {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All bugs, or those that are named.
pub(crate) fn command(names: &[String]) -> Result<Outcome> {
    let bugs = chosen(names)?;
    let begun = Instant::now();
    let tests = build(&bugs)?;
    println!("    built in {:.1} s", begun.elapsed().as_secs_f64());
    let without = check_without_bugs(&tests, &bugs)?;
    println!("    {without} tests pass without a bug");
    let runs: Vec<Run> = bugs
        .iter()
        .flat_map(|bug| {
            let by = |&(binary, test)| Run {
                binary,
                test,
                bug: Some(bug.name),
            };
            bug.found_by.iter().map(by)
        })
        .collect();
    let ended = run_all(&tests, &runs)?;
    let mut found = 0;
    for bug in &bugs {
        let of_it = runs.iter().zip(&ended);
        let of_it = of_it.filter(|(run, _)| run.bug == Some(bug.name));
        let mut missed = Vec::new();
        for (Run { binary, test, .. }, (ending, seconds)) in of_it {
            match ending {
                Ending::Failed(_) => {
                    println!(
                        "    {}: found by {binary} {test} ({seconds:.1} s)",
                        bug.name
                    );
                }
                Ending::Passed => missed.push(format!("{binary} {test}")),
            }
        }
        if missed.is_empty() {
            found += 1;
        } else {
            println!("    {}: NOT FOUND by {}", bug.name, missed.join(", "));
        }
    }
    println!("    {found} of {} found", bugs.len());
    if found < bugs.len() {
        bail!("{} planted bugs were not found", bugs.len() - found);
    }
    Ok(Outcome::Passed)
}

/// Every test that is to find a bug has to pass without one; how many they are.
fn check_without_bugs(tests: &Programs, bugs: &[&Bug]) -> Result<usize> {
    let mut checked: Vec<(&str, &str)> =
        bugs.iter().flat_map(|bug| bug.found_by).copied().collect();
    checked.sort_unstable();
    checked.dedup();
    let run = |(binary, test)| Run {
        binary,
        test,
        bug: None,
    };
    let runs: Vec<Run> = checked.into_iter().map(run).collect();
    for (Run { binary, test, .. }, (ending, _)) in runs.iter().zip(run_all(tests, &runs)?) {
        if let Ending::Failed(text) = ending {
            bail!("{binary} {test} fails without any bug:\n{text}");
        }
    }
    Ok(runs.len())
}

/// The bugs of these names, or found by tests of these programs; all of them if nothing is named.
fn chosen(names: &[String]) -> Result<Vec<&'static Bug>> {
    let is_named = |bug: &Bug, name: &str| {
        bug.name == name || bug.found_by.iter().any(|(binary, _)| *binary == name)
    };
    for name in names {
        if !BUGS.iter().any(|bug| is_named(bug, name)) {
            bail!("no planted bug has the name `{name}`, and no test program that finds one");
        }
    }
    let is_chosen = |bug: &&Bug| names.is_empty() || names.iter().any(|name| is_named(bug, name));
    Ok(BUGS.iter().filter(is_chosen).collect())
}

/// Builds the test programs with the bugs in them; program and the directory it runs in, by name.
fn build(bugs: &[&Bug]) -> Result<Programs> {
    let mut names: Vec<&str> = bugs
        .iter()
        .flat_map(|bug| bug.found_by)
        .map(|(binary, _)| *binary)
        .collect();
    names.sort_unstable();
    names.dedup();
    let stand_in = std::env::current_exe().context("where this program lies")?;
    let mut command = cargo();
    // The same selection of features as `test`, so that dependencies are those that it has built.
    command
        .args([
            "test",
            "--no-run",
            "--locked",
            "--quiet",
            "--workspace",
            "--all-features",
        ])
        .arg("--message-format=json-render-diagnostics")
        .env("RUSTC_WORKSPACE_WRAPPER", stand_in)
        .env(AS_COMPILER, "1");
    for name in &names {
        command.args(["--test", name]);
    }
    let tests = executables(&output(&mut command)?)?;
    if let Some(name) = names.iter().find(|name| !tests.contains_key(**name)) {
        bail!("there is no test program `{name}`");
    }
    Ok(tests)
}

fn executables(messages: &str) -> Result<Programs> {
    let mut found = BTreeMap::new();
    for line in messages.lines() {
        let message: Value =
            serde_json::from_str(line).context("a line of cargo that is no JSON")?;
        let is_test = message["profile"]["test"] == true;
        let (Some(name), Some(path), Some(manifest)) = (
            message["target"]["name"].as_str(),
            message["executable"].as_str(),
            message["manifest_path"].as_str(),
        ) else {
            continue;
        };
        if is_test {
            let package = Path::new(manifest)
                .parent()
                .context("a manifest lies in a folder")?;
            found.insert(
                name.to_owned(),
                (PathBuf::from(path), package.to_path_buf()),
            );
        }
    }
    Ok(found)
}

/// How one test ended.
enum Ending {
    Passed,
    /// With what it printed.
    Failed(String),
}

/// Runs each once, as many at a time as there are processors; how they ended, in their order, with the seconds that they took.
fn run_all(tests: &Programs, runs: &[Run]) -> Result<Vec<(Ending, f64)>> {
    let scratch = Scratch::new("planted")?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut ended = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(run) = runs.get(number) else {
                return ended;
            };
            let begun = Instant::now();
            let output = scratch.path().join(number.to_string());
            let ending = run_one(tests, run, &output);
            ended.push((number, ending, begun.elapsed().as_secs_f64()));
        }
    };
    let mut ended: Vec<_> = std::thread::scope(|scope| {
        let working: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = working.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|ended| ended.expect("a worker does not panic"))
            .collect()
    });
    ended.sort_unstable_by_key(|(number, ..)| *number);
    let ended = ended.into_iter();
    ended
        .map(|(_, ending, seconds)| Ok((ending?, seconds)))
        .collect()
}

/// Runs one test alone. Only a test that itself failed counts as failed: one that does not exist, or a program that dies, is an error.
fn run_one(tests: &Programs, run: &Run, output: &Path) -> Result<Ending> {
    let Run { binary, test, bug } = *run;
    let (program, package) = &tests[binary];
    let file = File::create(output)?;
    let mut command = Command::new(program);
    command
        .args(["--exact", test, "--test-threads=1"])
        .current_dir(package)
        .env_remove(SWITCH)
        .env_remove("ATE_FAULT_ALL")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    if let Some(bug) = bug {
        command.env(SWITCH, bug);
    }
    let context = || format!("{binary} {test} with {}", bug.unwrap_or("no bug"));
    let status =
        ended_at_most(command.spawn().with_context(context)?, LIMIT).with_context(context)?;
    let text = std::fs::read_to_string(output)?;
    if status.success() && text.contains("test result: ok. 1 passed") {
        Ok(Ending::Passed)
    } else if status.code() == Some(101) && text.contains(&format!("test {test} ... FAILED")) {
        Ok(Ending::Failed(text))
    } else {
        bail!(
            "{}: neither passed nor failed, but ended with {status}:\n{text}",
            context()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_stands_in_the_code_and_no_other() {
        let mut planted = Vec::new();
        for krate in [
            "ate-crypto",
            "ate-log",
            "ate-chain",
            "ate-view",
            "ate-net",
            "ate",
        ] {
            collect(
                &crate::process::root().join(krate).join("src"),
                &mut planted,
            );
        }
        planted.sort_unstable();
        planted.dedup();
        let mut known: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
        known.sort_unstable();
        assert_eq!(planted, known);
        assert!(BUGS.iter().all(|bug| !bug.found_by.is_empty()));
    }

    fn collect(folder: &Path, planted: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, planted);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                let calls = text.split("planted(\"").skip(1);
                planted.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn bugs_are_chosen_by_their_names_and_by_the_programs_that_find_them() {
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            chosen(&names).map(|bugs| bugs.len())
        };
        assert_eq!(chosen(&[]).expect("all"), BUGS.len());
        assert_eq!(chosen(&["reuse-salt"]).expect("a bug"), 1);
        assert!(chosen(&["reuse-salt", "net_seeds"]).expect("a program") > 2);
        assert!(chosen(&["no-such-bug"]).is_err());
    }

    #[test]
    fn test_programs_are_found_in_the_messages_of_cargo() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"a/Cargo.toml","target":{"name":"lib"},"profile":{"test":false},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"a/Cargo.toml","target":{"name":"ate"},"profile":{"test":false},"executable":"x/ate"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"a/Cargo.toml","target":{"name":"committer"},"profile":{"test":true},"executable":"x/committer"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let found = executables(messages).expect("JSON");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["committer"]);
        assert_eq!(found["committer"], ("x/committer".into(), "a".into()));
    }
}
