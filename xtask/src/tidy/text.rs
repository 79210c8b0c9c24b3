//! Rules for every text file: leftovers, paths of a workplace, blanks.

use crate::source::is_word;
use crate::tidy::is_test_path;

/// Words that stand for work not done. Written in halves, so that this file does not find itself.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
];

/// Folders that exist on one machine only. The last is fine in tests and documents, which show such paths to a reader.
const WORKPLACES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    TEMPORARY,
];
const TEMPORARY: &str = concat!("/t", "mp/");

/// Files that people write by hand, where blanks are slips. Others are data, whose blanks may mean something.
const WRITTEN: &[&str] = &[".rs", ".md", ".toml", ".py", ".sh", ".yml", ".ci/run"];

pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    // Written by cargo.
    if path.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let is_written = WRITTEN.iter().any(|end| path.ends_with(end));
    let may_name_temporary = is_test_path(path) || path.ends_with(".md");
    for (index, line) in text.split('\n').enumerate() {
        let mut found = |what: String| problems.push(format!("{path}:{}: {what}", index + 1));
        for word in LEFTOVERS.iter().filter(|word| contains_word(line, word)) {
            found(format!(
                "`{word}`: finish it, or file an issue and say nothing here"
            ));
        }
        for place in WORKPLACES.iter().filter(|place| contains_path(line, place)) {
            if *place != TEMPORARY || !may_name_temporary {
                found(format!("`{place}`: a path of one machine"));
            }
        }
        if is_written && line.contains('\t') {
            found("a tab".to_owned());
        }
        if is_written && line.ends_with([' ', '\t', '\r']) {
            found("a blank at the end of the line".to_owned());
        }
    }
    if is_written && !text.is_empty() && !text.ends_with('\n') {
        problems.push(format!("{path}: the last line does not end"));
    }
    problems
}

/// True if `word` stands in `line` and is not the part of a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_inside = line[..at].ends_with(is_word);
        let goes_on = word.ends_with(is_word) && line[at + word.len()..].starts_with(is_word);
        !is_inside && !goes_on
    })
}

/// True if `place` starts a path in `line`: behind a letter, dot or tilde it is the middle of a relative path or of an address.
fn contains_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        !line[..at].ends_with(|c: char| is_word(c) || matches!(c, '.' | '-' | '~' | '}' | ')'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_count(path: &str, text: &str, expected: usize) {
        let problems = check(path, text);
        assert_eq!(problems.len(), expected, "{path} {text:?}: {problems:?}");
    }

    #[test]
    fn leftovers_are_found() {
        for word in LEFTOVERS {
            check_count("a.rs", &format!("a {word} b\n"), 1);
            check_count("a.md", &format!("{word}\n"), 1);
            check_count("a.rs", &format!("a_{word}\n"), 0);
        }
        check_count("a.rs", concat!("#[ig", "nored_by]\n"), 0);
        check_count("a.rs", concat!("XX", "XL todo mastodons\n"), 0);
    }

    #[test]
    fn paths_of_a_workplace_are_found() {
        for place in WORKPLACES {
            check_count("a.rs", &format!("\"{place}x\"\n"), 1);
            check_count("a.rs", &format!("\"benches{place}x\"\n"), 0);
        }
        check_count("a.md", &format!("{TEMPORARY}x\n"), 0);
        check_count("ate/tests/a.rs", &format!("{TEMPORARY}x\n"), 0);
        check_count("ate/tests/a.rs", &format!("{}x\n", WORKPLACES[0]), 1);
    }

    #[test]
    fn blanks_are_found_in_written_files_only() {
        for text in ["a\tb\n", "a \n", "a\r\n", "a"] {
            check_count("a.rs", text, 1);
            check_count(".ci/run", text, 1);
            check_count("a.ndjson", text, 0);
        }
        check_count("a.rs", "a\n\nb\n", 0);
        check_count("Cargo.lock", "a \n", 0);
    }
}
