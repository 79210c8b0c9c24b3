//! Rules for Markdown: links lead somewhere, commands exist, and the two documents that everybody reads stay short.

use std::path::{Component, Path, PathBuf};

use crate::COMMANDS;

/// Lines that a document may have at most.
const LENGTHS: &[(&str, usize)] = &[("README.md", 150), ("ARCHITECTURE.md", 400)];

/// The commands of the executable, which this program does not link.
const ATE_COMMANDS: &[&str] = &[
    "demo",
    "put",
    "get",
    "ls",
    "rm",
    "history",
    "serve",
    "replicate",
    "status",
    "import",
    "export",
    "log",
    "verify",
    "identity",
    "info",
    "completions",
];

/// Options of the executable that stand before its command and take a value.
const ATE_OPTIONS_WITH_VALUE: &[&str] = &["--dir"];

/// `exists` is asked for paths from the root of the repository.
pub(crate) fn check(path: &str, text: &str, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if let Some((_, max)) = LENGTHS
        .iter()
        .find(|(name, max)| path == *name && lines > *max)
    {
        problems.push(format!("{path}: {lines} lines, at most {max}"));
    }
    let mut is_fenced = false;
    for (index, line) in text.lines().enumerate() {
        let mut found = |what: String| problems.push(format!("{path}:{}: {what}", index + 1));
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        // Odd parts between backticks are code.
        let (mut prose, mut code) = (String::new(), Vec::new());
        if is_fenced {
            code.push(line);
        } else {
            for (position, part) in line.split('`').enumerate() {
                if position % 2 == 0 {
                    prose.push_str(part);
                } else {
                    code.push(part);
                }
            }
        }
        for target in links(&prose) {
            if !resolves(path, target, exists) {
                found(format!("the link to `{target}` leads nowhere"));
            }
        }
        for part in code {
            for name in unknown_commands(part) {
                found(format!("`{name}` is no command"));
            }
        }
    }
    if is_fenced {
        problems.push(format!("{path}: a code block is not closed"));
    }
    problems
}

/// The targets of `[text](target)` and `[name]: target`.
fn links(prose: &str) -> Vec<&str> {
    let mut targets: Vec<&str> = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .collect();
    if let Some((name, target)) = prose.split_once("]: ")
        && name.starts_with('[')
    {
        targets.extend(target.split_whitespace().next());
    }
    targets
}

fn resolves(path: &str, target: &str, exists: &dyn Fn(&Path) -> bool) -> bool {
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
    normal(&folder.join(target)).is_some_and(|path| exists(&path))
}

/// The path without `.` and `..`, or `None` if it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// Every `cargo xtask NAME` and `cargo ate NAME` in a piece of code whose NAME does not exist.
fn unknown_commands(code: &str) -> Vec<String> {
    let words: Vec<&str> = code.split_whitespace().collect();
    let mut unknown = Vec::new();
    for (index, pair) in words.windows(2).enumerate() {
        let rest = &words[index + 2..];
        let (name, is_known) = match pair {
            ["cargo", "xtask"] => {
                let name = rest.first().copied().unwrap_or_default();
                (name, COMMANDS.iter().any(|command| command.name == name))
            }
            ["cargo", "ate"] => {
                let name = ate_command(rest);
                (name, ATE_COMMANDS.contains(&name))
            }
            _ => continue,
        };
        // `COMMAND`, `...` and options stand for something else than a name.
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase());
        if is_name && !is_known {
            unknown.push(format!("{} {name}", pair.join(" ")));
        }
    }
    unknown
}

/// The first word that is neither an option nor the value of one.
fn ate_command<'a>(words: &[&'a str]) -> &'a str {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if ATE_OPTIONS_WITH_VALUE.contains(word) {
            words.next();
        } else if !word.starts_with('-') {
            return word;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_count(path: &str, text: &str, expected: usize) {
        let exists =
            |path: &Path| path == Path::new("docs/format.md") || path == Path::new("README.md");
        let problems = check(path, text, &exists);
        assert_eq!(problems.len(), expected, "{path} {text:?}: {problems:?}");
    }

    #[test]
    fn dead_links_are_found() {
        check_count(
            "README.md",
            "[a](docs/format.md) [b](docs/format.md#c) [d](#e) [f](https://example.org/x)\n",
            0,
        );
        check_count("docs/format.md", "[a](../README.md) [b](./format.md)\n", 0);
        check_count("README.md", "[a](docs/no.md) [b](docs/format.md)\n", 1);
        check_count("README.md", "[a](../README.md)\n", 1);
        check_count("README.md", "[a]: docs/no.md\n", 1);
        check_count(
            "README.md",
            "`[a](docs/no.md)`\n```\n[a](docs/no.md)\n```\n",
            0,
        );
        check_count("README.md", "```\n", 1);
    }

    #[test]
    fn unknown_commands_are_found() {
        check_count(
            "a.md",
            "`cargo xtask ci` and `cargo ate --dir x put --json`, `cargo xtask COMMAND`\n",
            0,
        );
        check_count(
            "a.md",
            "cargo xtask alone, `cargo xtask` and `cargo ate --json` too\n",
            0,
        );
        check_count("a.md", "`cargo xtask nothing`\n", 1);
        check_count(
            "a.md",
            "```sh\ncargo ate --dir demo frobnicate # why\n```\n",
            1,
        );
        check_count("a.md", "`cargo build && cargo xtask x && cargo ate y`\n", 2);
    }

    #[test]
    fn long_documents_are_found() {
        for (name, max) in LENGTHS {
            check_count(name, &"a\n".repeat(*max), 0);
            check_count(name, &"a\n".repeat(*max + 1), 1);
            check_count(&format!("ate/{name}"), &"a\n".repeat(*max + 1), 0);
        }
    }
}
