//! What the executable says about itself.

use crate::support::{Place, json_lines};

#[test]
fn a_bare_call_shows_the_next_step() {
    let place = Place::new();
    let first = place.good(&[]);
    assert!(
        first.contains("no store yet") && first.contains("ate demo"),
        "{first}"
    );
    place.good(&["put", "my chain", "a", "1"]);
    let then = place.good(&[]);
    assert!(
        then.contains("1 chain") && then.contains("ate log 'my chain'"),
        "{then}"
    );
    let json = json_lines(&place.good(&["--json"]));
    assert!(json[0]["next"].is_array());
}

#[test]
fn help_version_and_completions_go_to_standard_output() {
    let place = Place::new();
    let help = place.good(&["--help"]);
    for command in [
        "demo",
        "put",
        "get",
        "ls",
        "rm",
        "history",
        "import",
        "export",
        "log",
        "watch",
        "verify",
        "identity",
        "nodes",
        "call",
        "answer",
        "info",
        "completions",
    ] {
        assert!(help.contains(command), "`{command}` is not in the help");
        let own = place.good(&[command, "--help"]);
        assert!(own.contains("ate "), "{own}");
    }
    assert!(place.good(&["--version"]).starts_with("ate "));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.good(&["completions", shell]).contains("history"));
    }
    assert!(!place.store().exists());
}

#[test]
fn what_makes_no_sense_is_usage() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["get", "universe"],
        &["put"],
        &["log"],
        &["identity", "import", "file"],
    ] {
        let ended = place.ate(args);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{ended:?}");
        assert!(!ended.err.is_empty());
    }
}

#[test]
fn info_tells_paths_identity_and_limits() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1"]);
    let text = place.good(&["info"]);
    for part in [
        "directory",
        "identity",
        "on disk",
        "format",
        "limits",
        "16 MiB",
        "fork",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let info = json_lines(&place.good(&["info", "--json"]));
    assert_eq!(info[0]["chains"], 1);
    assert!(info[0]["disk_bytes"].as_u64() > Some(0));
}
