//! Just enough of Rust's syntax for the checks: which text is code, which lines are tests, how long a function is.
//!
//! Not a parser. It knows comments, strings and characters, and counts brackets; code that compiles is read rightly.

/// Rust source with the inside of comments, strings and characters blanked out, line for line as it was.
pub(crate) struct Source {
    lines: Vec<String>,
    is_test: Vec<bool>,
}

/// A function outside of tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Line of its `fn`, from 1.
    pub(crate) line: usize,
    pub(crate) name: String,
    /// Lines that hold code, from its `fn` to its closing brace.
    pub(crate) code_lines: usize,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let lines: Vec<String> = mask(text).lines().map(str::to_owned).collect();
        let is_test = test_lines(&lines);
        Self { lines, is_test }
    }

    /// The lines outside of `#[cfg(test)]` items that hold code, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().zip(&self.is_test).enumerate();
        lines.filter_map(|(index, (line, is_test))| {
            (!is_test && !line.trim().is_empty()).then_some((index + 1, line.as_str()))
        })
    }

    /// Every function with a body outside of `#[cfg(test)]` items, a nested one also as part of its outer one.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (number, line) in self.code() {
            let Some(name) = function_name(line) else {
                continue;
            };
            let Some(last) = item_end(&self.lines, number - 1) else {
                continue;
            };
            let body = &self.lines[number - 1..=last];
            if !body.iter().any(|line| line.contains('{')) {
                continue;
            }
            found.push(Function {
                line: number,
                name,
                code_lines: body.iter().filter(|line| !line.trim().is_empty()).count(),
            });
        }
        found
    }
}

/// The name after the keyword `fn`, unless it is a macro's placeholder or a function type.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    if before.ends_with(is_word) {
        return None;
    }
    let name: String = after
        .trim_start()
        .chars()
        .take_while(|c| is_word(*c))
        .collect();
    (!name.is_empty()).then_some(name)
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn test_lines(lines: &[String]) -> Vec<bool> {
    let mut is_test = vec![false; lines.len()];
    for index in 0..lines.len() {
        let line = lines[index].trim();
        let opens = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        if !opens || is_test[index] {
            continue;
        }
        // The attribute itself holds no brace and no semicolon, so the item after it decides where it ends.
        let last = item_end(lines, index).unwrap_or(lines.len() - 1);
        is_test[index..=last].fill(true);
    }
    is_test
}

/// The line where the item that starts in line `first` ends: at its closing brace, or at a semicolon before any brace.
fn item_end(lines: &[String], first: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (index, line) in lines.iter().enumerate().skip(first) {
        for c in line.chars() {
            match c {
                '{' => braces += 1,
                '}' => {
                    braces = braces.checked_sub(1)?;
                    if braces == 0 && others == 0 {
                        return Some(index);
                    }
                }
                '(' | '[' => others += 1,
                ')' | ']' => others = others.checked_sub(1)?,
                // Inside brackets it belongs to an array type.
                ';' if braces == 0 && others == 0 => return Some(index),
                _ => {}
            }
        }
    }
    None
}

/// Blanks comments, and the inside of strings and characters; quotes and line breaks stay.
fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let Some((end, quotes)) = quoted_end(&chars, at) else {
            masked.push(c);
            at += 1;
            continue;
        };
        let end = end.min(chars.len());
        for (index, c) in chars.iter().enumerate().take(end).skip(at) {
            let is_quote = quotes && (index == at || index + 1 == end);
            masked.push(if *c == '\n' || is_quote { *c } else { ' ' });
        }
        at = end;
    }
    masked
}

/// If a comment, string or character starts at `at`: where it ends, and whether its first and last sign are kept.
fn quoted_end(chars: &[char], at: usize) -> Option<(usize, bool)> {
    let sign = |index: usize| chars.get(index).copied().unwrap_or('\0');
    match (sign(at), sign(at + 1)) {
        ('/', '/') => Some((
            at + chars[at..].iter().take_while(|c| **c != '\n').count(),
            false,
        )),
        ('/', '*') => Some((block_comment_end(chars, at), false)),
        ('"', _) => Some((escaped_end(chars, at + 1, '"'), true)),
        // A backslash, or a quote after one sign: a character. Anything else: a lifetime.
        ('\'', '\\') => Some((escaped_end(chars, at + 1, '\''), true)),
        ('\'', _) if sign(at + 2) == '\'' => Some((at + 3, true)),
        ('r', '#' | '"') if at == 0 || !is_word(sign(at - 1)) || is_raw_prefix(chars, at) => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            (sign(at + 1 + hashes) == '"').then(|| (raw_end(chars, at + 2 + hashes, hashes), true))
        }
        _ => None,
    }
}

/// True if the `r` at `at` follows the `b` or `c` of `br""` or `cr""`.
fn is_raw_prefix(chars: &[char], at: usize) -> bool {
    at > 0 && matches!(chars[at - 1], 'b' | 'c') && (at == 1 || !is_word(chars[at - 2]))
}

fn escaped_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn raw_end(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let after = at + 1;
        if chars[at] == '"'
            && chars[after..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
        {
            return after + hashes;
        }
        at = after;
    }
    at
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_mask(text: &str, expected: &str) {
        assert_eq!(mask(text), expected, "masking {text:?}");
    }

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        check_mask("a // b {\nc", "a       \nc");
        check_mask("a /* { /* } */ \n */ b", "a              \n    b");
        check_mask(r#"f("{\"}", '{', '\'', x)"#, r#"f("    ", ' ', '  ', x)"#);
        check_mask("r#\"a\"{\"# b", "r      # b");
        check_mask("br\"{\" b", "br  \" b");
        check_mask("r#fn <'a> {", "r#fn <'a> {");
    }

    #[test]
    fn test_items_are_no_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {\n }\n}\n\n// c\nfn d();\n#[cfg(test)]\nmod e;\nfn f() {}\n";
        let source = Source::new(text);
        let code: Vec<usize> = source.code().map(|(number, _)| number).collect();
        assert_eq!(code, [1, 9, 12]);
        let names: Vec<String> = source
            .functions()
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(names, ["a", "f"]);
    }

    #[test]
    fn length_counts_code_from_signature_to_brace() {
        let text = "impl X {\n    pub fn long(\n        a: [u8; 4],\n    ) -> T\n    {\n        // why\n\n        \"}\";\n    }\n}\n";
        let functions = Source::new(text).functions();
        assert_eq!(
            functions,
            [Function {
                line: 2,
                name: "long".to_owned(),
                code_lines: 6
            }]
        );
    }
}
