//! `import` and `export`: what goes in comes out, and what is bad is named.

use std::io::Read as _;

use crate::support::{Place, documents, json_lines};

#[test]
fn what_goes_in_comes_out_byte_for_byte() {
    let place = Place::new();
    let text = "{\"id\":\"b\", \"n\": 1.50}\n  {\"n\":-0e1,\"id\":\"a\"}  \n{\"id\":7,\"text\":\"\\u00e9 \\/ é\"}\r\n{\"id\":8}\n";
    let file = place.file("lines", text);
    let import = place.ate(&["import", "shop", &file, "--key", "id"]);
    assert_eq!((import.code, import.out.as_str()), (0, ""), "{import:?}");
    assert!(
        import
            .err
            .contains("4 records read, 4 written in 1 commit, 0 unchanged"),
        "{import:?}"
    );
    assert_eq!(place.good(&["export", "shop"]), text);
    assert_eq!(place.good(&["ls", "shop"]), "7\n8\na\nb\n");
    let shown = json_lines(&place.good(&["export", "shop", "--json"]));
    assert_eq!(shown[1]["name"], "a");
    assert_eq!(shown[1]["type"], "json");
}

#[test]
fn the_same_file_again_changes_nothing() {
    let place = Place::new();
    let file = place.file("lines", documents(2500));
    place.good(&["import", "shop", &file, "--key", "id"]);
    let log = place.good(&["log", "shop"]);
    let again = json_lines(&place.good(&["import", "shop", &file, "--key", "id", "--json"]));
    assert_eq!(again[0]["unchanged"], 2500);
    assert_eq!(again[0]["commits"], 0);
    assert_eq!(place.good(&["log", "shop"]), log);
    let changed = documents(2500).replace("document number 77\"", "another\"");
    let from_input = place.ate_with(&["import", "shop", "-", "--key", "id", "--json"], &changed);
    let summary = json_lines(&from_input.good());
    assert_eq!(
        (&summary[0]["written"], &summary[0]["unchanged"]),
        (&1.into(), &2499.into())
    );
    assert_eq!(
        place.good(&["get", "shop", "77"]),
        "{\"id\": 77, \"text\": \"another\"}\n"
    );
}

#[test]
fn commits_have_as_many_records_as_asked_and_acks_in_order() {
    let place = Place::new();
    let file = place.file("lines", documents(2350));
    let acks = place.good(&[
        "import",
        "shop",
        &file,
        "--key",
        "id",
        "--per-commit",
        "500",
        "--acks",
    ]);
    let acks: Vec<(u64, u64)> = acks
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words.len(), words[0]), (3, "ack"), "{line}");
            (
                words[1].parse().expect("a position"),
                words[2].parse().expect("a count"),
            )
        })
        .collect();
    assert_eq!(
        acks.iter().map(|(_, records)| *records).collect::<Vec<_>>(),
        [500, 1000, 1500, 2000, 2350]
    );
    assert!(
        acks.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1),
        "{acks:?}"
    );
    let log = json_lines(&place.good(&["log", "shop", "--json"]));
    assert_eq!(log.last().expect("a commit")["position"], acks[4].0);
    let acks = place.good(&["import", "other", &file, "--key", "id", "--acks", "--json"]);
    let acks = json_lines(&acks);
    assert_eq!(acks.len(), 4, "three acks and the summary");
    assert_eq!(acks[2]["records"], 2350);
    assert_eq!(acks[3]["written"], 2350);
}

#[test]
fn large_documents_split_commits_by_size() {
    let place = Place::new();
    let large: String = (0..7)
        .map(|id| format!("{{\"id\":{id},\"x\":\"{}\"}}\n", "x".repeat(5 << 20)))
        .collect();
    let file = place.file("lines", &large);
    let summary = json_lines(&place.good(&["import", "shop", &file, "--key", "id", "--json"]));
    assert_eq!(summary[0]["written"], 7);
    assert!(summary[0]["commits"].as_u64() >= Some(3), "{summary:?}");
    assert_eq!(place.good(&["export", "shop"]), large);
}

#[test]
fn the_largest_document_goes_in_and_one_byte_more_is_refused() {
    let place = Place::new();
    let head = "{\"id\":1,\"x\":\"";
    let largest = format!("{head}{}\"}}\n", "x".repeat((16 << 20) - head.len() - 2));
    let file = place.file("lines", &largest);
    place.good(&["import", "shop", &file, "--key", "id"]);
    assert_eq!(place.good(&["export", "shop"]), largest);
    let file = place.file("lines", largest.replacen("1", "23", 1));
    place
        .ate(&["import", "shop", &file, "--key", "id"])
        .failed(1, &["line 1", "16 MiB", "nothing was written"]);
}

#[test]
fn several_fields_make_one_key() {
    let place = Place::new();
    let file = place.file(
        "lines",
        "{\"country\":\"at\",\"id\":17}\n{\"country\":\"de\",\"id\":17}\n",
    );
    place.good(&["import", "shop", &file, "--key", "country,id"]);
    assert_eq!(
        place.good(&["ls", "shop"]),
        "[\"at\",\"17\"]\n[\"de\",\"17\"]\n"
    );
}

#[test]
fn a_file_is_checked_whole_before_the_first_commit() {
    let place = Place::new();
    let cases: [(&[u8], &[&str]); 9] = [
        (b"{\"id\":2,}\n", &["column 9"]),
        (b"{\"id\":2} {\"id\":3}\n", &["behind"]),
        (b"[1,2]\n", &["object"]),
        (b"{\"name\":2}\n", &["\"id\""]),
        (b"{\"id\":2.5}\n", &["\"id\"", "integer"]),
        (b"{\"id\":null}\n", &["\"id\"", "null"]),
        (b"{\"id\":\"\"}\n", &["empty"]),
        (b"{\"id\":\"a\\nb\"}\n", &["control"]),
        (b"{\"id\":\"\xff\"}\n", &["UTF-8"]),
    ];
    for (bad, says) in cases {
        let mut text = documents(1500).into_bytes();
        text.extend_from_slice(bad);
        let file = place.file("lines", text);
        let mut all = vec!["line 1501", "nothing was written"];
        all.extend_from_slice(says);
        place
            .ate(&["import", "shop", &file, "--key", "id", "--per-commit", "10"])
            .failed(1, &all);
        assert!(!place.store().exists(), "a bad file left a store behind");
    }
    place.good(&["put", "shop", "x", "1"]);
    let file = place.file("lines", "{\"id\":1}\n{\"id\":}\n");
    place
        .ate(&["import", "shop", &file, "--key", "id"])
        .failed(1, &["line 2"]);
    assert_eq!(place.good(&["ls", "shop"]), "x\n");
}

#[test]
fn a_repeated_key_is_fine_only_with_the_same_bytes() {
    let place = Place::new();
    let file = place.file("lines", "{\"id\":1}\n\n{\"id\":2}\n{\"id\":1}\n");
    let summary = json_lines(&place.good(&["import", "shop", &file, "--key", "id", "--json"]));
    assert_eq!(
        (&summary[0]["written"], &summary[0]["records"]),
        (&2.into(), &3.into())
    );
    let file = place.file("lines", "{\"id\":5}\n{\"id\":6}\n{\"id\": 5}\n");
    place
        .ate(&["import", "shop", &file, "--key", "id"])
        .failed(1, &["line 3", "line 1", "`5`", "nothing was written"]);
    assert_eq!(place.good(&["ls", "shop"]), "1\n2\n");
    place
        .ate_with(
            &["import", "shop", "-", "--key", "id"],
            "{\"id\":5}\n{\"id\":6}\n{\"id\": 5}\n",
        )
        .failed(1, &["line 3", "line 1", "the first 2 records"]);
    assert_eq!(place.good(&["ls", "shop"]), "1\n2\n5\n6\n");
}

#[test]
fn standard_input_stops_at_the_bad_line_and_says_what_is_in() {
    let place = Place::new();
    let text = documents(25) + "{\"id\":\n" + &documents(30);
    let args = [
        "import",
        "shop",
        "-",
        "--key",
        "id",
        "--per-commit",
        "10",
        "--acks",
    ];
    let ended = place.ate_with(&args, &text);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.out.lines().count(), 3, "{ended:?}");
    assert!(ended.out.ends_with(" 25\n"), "{ended:?}");
    for part in [
        "standard input: line 26",
        "the first 25 records of the input are in",
        "next: ",
    ] {
        assert!(ended.err.contains(part), "`{part}` is not in {ended:?}");
    }
    assert_eq!(place.good(&["export", "shop"]), documents(25));
}

#[test]
fn inputs_that_are_no_files_are_named() {
    let place = Place::new();
    place
        .ate(&["import", "shop", "nowhere", "--key", "id"])
        .failed(1, &["nowhere"]);
    place
        .ate(&["import", "shop", ".", "--key", "id"])
        .failed(1, &["directory"]);
    let file = place.file("lines", "{\"id\":1}\n");
    assert_eq!(
        place.ate(&["import", "shop", &file]).code,
        2,
        "--key is required"
    );
    assert_eq!(
        place
            .ate(&["import", "shop", &file, "--key", "id", "--per-commit", "0"])
            .code,
        2
    );
    assert!(!place.store().exists());
}

#[test]
fn documents_of_many_lines_are_exported_as_one_with_a_note() {
    let place = Place::new();
    place.good(&["put", "shop", "a", "{\n\"a\": 1\n}"]);
    let export = place.ate(&["export", "shop"]);
    assert_eq!((export.code, export.out.as_str()), (0, "{ \"a\": 1 }\n"));
    assert!(
        export.err.contains("1 document had line breaks"),
        "{export:?}"
    );
}

#[test]
fn a_broken_pipe_is_no_error() {
    let place = Place::new();
    let file = place.file("lines", documents(5000));
    place.good(&["import", "shop", &file, "--key", "id"]);
    for args in [
        &["export", "shop"][..],
        &["ls", "shop"],
        &["log", "shop", "--json"],
    ] {
        let mut child = place.start(args);
        let mut stdout = child.stdout.take().expect("it is piped");
        let mut first = [0; 16];
        stdout.read_exact(&mut first).expect("something is printed");
        drop(stdout);
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{args:?}");
        assert!(ended.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn an_import_goes_on_when_nobody_reads_its_acks() {
    let place = Place::new();
    let file = place.file("lines", documents(200));
    let args = [
        "import",
        "shop",
        &file,
        "--key",
        "id",
        "--per-commit",
        "10",
        "--acks",
    ];
    let mut child = place.start(&args);
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(place.good(&["export", "shop"]), documents(200));
}
