//! Rules for Rust files: heads, `mod.rs`, and lengths of files and functions.

use crate::source::Source;
use crate::tidy::{Findings, is_test_path};

const FILE_LINES_WARN: usize = 600;
const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 70;

/// A function over [`FUNCTION_LINES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LongFunction {
    /// `path::name`, which outlives lines moving.
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) code_lines: usize,
}

/// Lengths count lines that hold code, so that comments cost nothing, and no tests.
pub(crate) fn check(path: &str, text: &str, findings: &mut Findings) {
    if !text.starts_with("//!") {
        findings.problems.push(format!(
            "{path}: does not begin with a `//!` head that says what it is for"
        ));
    }
    let is_test = is_test_path(path);
    if path.ends_with("/mod.rs") && !is_test {
        findings.problems.push(format!(
            "{path}: a `mod.rs`; write `NAME.rs` beside the folder `NAME`"
        ));
    }
    if is_test {
        return;
    }
    let source = Source::new(text);
    let lines = source.code().count();
    if lines > FILE_LINES_MAX {
        findings.problems.push(format!(
            "{path}: {lines} lines of code, at most {FILE_LINES_MAX}"
        ));
    } else if lines > FILE_LINES_WARN {
        findings.warnings.push(format!(
            "{path}: {lines} lines of code, better below {FILE_LINES_WARN}"
        ));
    }
    for function in source.functions() {
        if function.code_lines > FUNCTION_LINES_MAX {
            findings.long_functions.push(LongFunction {
                key: format!("{path}::{}", function.name),
                line: function.line,
                code_lines: function.code_lines,
            });
        }
    }
}

/// The ratchet holds one `path::name lines` a line. A function may not be longer than its entry, and an entry may not be larger
/// than its function: so the table only ever shrinks.
pub(crate) fn check_ratchet(path: &str, ratchet: &str, found: &[LongFunction]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut entries: Vec<(&str, usize)> = Vec::new();
    for (index, line) in ratchet.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line
            .rsplit_once(' ')
            .and_then(|(key, lines)| Some((key, lines.parse().ok()?)))
        {
            Some(entry) => entries.push(entry),
            None => problems.push(format!(
                "{path}:{}: not `path::name lines`: {line}",
                index + 1
            )),
        }
    }
    for LongFunction {
        key,
        line,
        code_lines,
    } in found
    {
        let allowed = entries
            .iter()
            .find(|(name, _)| name == key)
            .map_or(FUNCTION_LINES_MAX, |(_, lines)| *lines);
        if *code_lines > allowed {
            problems.push(format!(
                "{key} (line {line}): {code_lines} lines of code, at most {allowed}"
            ));
        }
    }
    for (key, lines) in entries {
        let now = found
            .iter()
            .filter(|function| function.key == key)
            .map(|function| function.code_lines)
            .max();
        match now {
            None => problems.push(format!(
                "{path}: {key} is gone or short enough: remove its entry"
            )),
            Some(now) if now < lines => {
                problems.push(format!("{path}: {key} shrank to {now}: lower its entry"))
            }
            Some(_) => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Findings {
        let mut findings = Findings::default();
        check(path, text, &mut findings);
        findings
    }

    #[test]
    fn missing_head_and_mod_file_are_found() {
        assert_eq!(findings("a.rs", "fn a() {}\n").problems.len(), 1);
        assert_eq!(findings("a/src/b/mod.rs", "//! b\n").problems.len(), 1);
        assert_eq!(findings("a/tests/b/mod.rs", "//! b\n"), Findings::default());
        assert_eq!(findings("a.rs", "//! a\nfn a() {}\n"), Findings::default());
    }

    #[test]
    fn long_files_warn_then_fail() {
        let text = |lines: usize| format!("//! a\n{}", "const A: u8 = 1; // why\n\n".repeat(lines));
        assert_eq!(
            findings("a.rs", &text(FILE_LINES_WARN)),
            Findings::default()
        );
        let warned = findings("a.rs", &text(FILE_LINES_WARN + 1));
        assert_eq!((warned.problems.len(), warned.warnings.len()), (0, 1));
        let failed = findings("a.rs", &text(FILE_LINES_MAX + 1));
        assert_eq!((failed.problems.len(), failed.warnings.len()), (1, 0));
        let tests = format!(
            "//! a\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "const A: u8 = 1;\n".repeat(2000)
        );
        assert_eq!(findings("a.rs", &tests), Findings::default());
    }

    #[test]
    fn ratchet_only_shrinks() {
        let text = |lines: usize| {
            format!(
                "//! a\nfn long() {{\n{}}}\n",
                "    a();\n".repeat(lines - 2)
            )
        };
        assert_eq!(
            findings("a.rs", &text(FUNCTION_LINES_MAX)).long_functions,
            []
        );
        let long = findings("a.rs", &text(80)).long_functions;
        let check =
            |ratchet: &str, found: &[LongFunction]| check_ratchet("r.txt", ratchet, found).len();
        assert_eq!(check("# head\n\n", &long), 1, "no entry");
        assert_eq!(check("a.rs::long 80\n", &long), 0, "as long as its entry");
        assert_eq!(check("a.rs::long 79\n", &long), 1, "grown");
        assert_eq!(check("a.rs::long 81\n", &long), 1, "shrank");
        assert_eq!(check("a.rs::long 80\n", &[]), 1, "gone");
        assert_eq!(check("a.rs::long\n", &[]), 1, "no number");
    }
}
