//! The little of TOML that the checks need: the dependency lines of a `Cargo.toml`, with their comments.
//!
//! Reads what this repository writes: one dependency a line, or one `[dependencies.NAME]` table.

/// One dependency as its manifest states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Line number, from 1.
    pub(crate) line: usize,
    /// The name before the equals sign, without `.workspace`.
    pub(crate) name: String,
    /// True if its version comes from the workspace.
    pub(crate) is_inherited: bool,
    /// True if a comment stands on its line or above it in its block.
    pub(crate) is_explained: bool,
}

/// The dependencies of the manifest `text`, of any kind and target, `[workspace.dependencies]` included.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut section = Section::Other;
    let mut is_block_explained = false;
    for (index, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() {
            is_block_explained = false;
        } else if line.starts_with('#') {
            is_block_explained = true;
        } else if line.starts_with('[') {
            section = Section::of(line);
            if let Section::One(name) = &section {
                found.push(Dependency {
                    line: index + 1,
                    name: name.clone(),
                    is_inherited: false,
                    is_explained: is_block_explained || line.contains('#'),
                });
            }
        } else if let Some((key, value)) = line.split_once('=') {
            match &section {
                Section::Other => {}
                Section::Many => found.push(Dependency {
                    line: index + 1,
                    name: key
                        .trim()
                        .trim_end_matches(".workspace")
                        .trim_matches('"')
                        .to_owned(),
                    is_inherited: key.trim().ends_with(".workspace") || inherits(value),
                    is_explained: is_block_explained || value.contains('#'),
                }),
                Section::One(_) => {
                    if let Some(last) = found.last_mut() {
                        last.is_inherited |=
                            key.trim() == "workspace" && value.trim().starts_with("true");
                    }
                }
            }
        }
    }
    found
}

enum Section {
    Many,
    One(String),
    Other,
}

impl Section {
    fn of(line: &str) -> Self {
        let name = line
            .trim_start_matches('[')
            .split(']')
            .next()
            .unwrap_or_default();
        // A target such as `target.'cfg(unix)'.dependencies` holds no `]`, and its last part decides like any other.
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if name == kind || name.ends_with(&format!(".{kind}")) {
                return Self::Many;
            }
            let one = name
                .rsplit_once('.')
                .filter(|(before, _)| *before == kind || before.ends_with(&format!(".{kind}")));
            if let Some((_, dependency)) = one {
                return Self::One(dependency.to_owned());
            }
        }
        Self::Other
    }
}

fn inherits(value: &str) -> bool {
    let compact: String = value
        .split('#')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    compact.contains("workspace=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_state_a_dependency_is_read() {
        let text = "\
[package]
name = \"x\"
version = \"1\"

[dependencies]
# Public.
a = { workspace = true, optional = true }
b = \"1.2\"

c.workspace = true # why

[target.'cfg(unix)'.dev-dependencies]
d = { version = \"1\" }

[build-dependencies.e]
workspace = true

[dependencies.f]
version = \"1\"
";
        let found: Vec<(usize, String, bool, bool)> = dependencies(text)
            .into_iter()
            .map(|found| {
                (
                    found.line,
                    found.name,
                    found.is_inherited,
                    found.is_explained,
                )
            })
            .collect();
        let expected = [
            (7, "a", true, true),
            (8, "b", false, true),
            (10, "c", true, false),
            (13, "d", false, false),
            (15, "e", true, false),
            (18, "f", false, false),
        ];
        // `c.workspace = true # why` is explained: its comment stands in the value.
        let expected = expected.map(|(line, name, inherited, explained)| {
            (line, name.to_owned(), inherited, explained || name == "c")
        });
        assert_eq!(found, expected);
    }
}
