//! Newline-delimited JSON, read line by line with a bound on each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ate::Json;

use crate::failure::Failure;

/// Longest line: a document may have 16 MiB.
pub(crate) const LINE_BYTES_MAX: u64 = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// A file or standard input, read on any thread.
pub(crate) type Input = Box<dyn Read + Send>;

/// Where lines come from.
pub(crate) enum Source {
    File(PathBuf),
    Standard,
}

impl Source {
    pub(crate) fn new(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Standard
        } else {
            Self::File(path.to_path_buf())
        }
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Standard => "standard input".into(),
        }
    }

    /// Opens it at its beginning, with its length if that is known.
    pub(crate) fn open(&self) -> Result<(Lines<Input>, Option<u64>), Failure> {
        match self {
            Self::Standard => Ok((Lines::new(Box::new(io::stdin()), self.name()), None)),
            Self::File(path) => {
                let failed = |error: io::Error| {
                    Failure::failed(format!("cannot read {}", path.display()))
                        .because(&error)
                        .next("name a file of newline-delimited JSON, or `-` for standard input")
                };
                let file = File::open(path).map_err(failed)?;
                let metadata = file.metadata().map_err(failed)?;
                // A directory opens, but its first read would name neither it nor the mistake.
                if metadata.is_dir() {
                    return Err(failed(io::ErrorKind::IsADirectory.into()));
                }
                // What is no regular file (a pipe by name) could not be read a second time.
                if !metadata.is_file() {
                    return Err(
                        Failure::usage(format!("{} is no regular file", path.display()))
                            .why("a file is read twice, once to check it whole")
                            .next("give it as standard input: `ate import CHAIN - --key … < FILE`"),
                    );
                }
                Ok((
                    Lines::new(Box::new(file), self.name()),
                    Some(metadata.len()),
                ))
            }
        }
    }
}

/// One line that holds something.
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// Bytes of the input up to and with this line.
    pub(crate) end: u64,
    /// Without the line break.
    pub(crate) bytes: Vec<u8>,
}

/// A document and what names it.
pub(crate) struct Parsed {
    pub(crate) number: u64,
    pub(crate) end: u64,
    pub(crate) name: String,
    pub(crate) json: Json,
}

/// The lines of an input.
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    source: String,
    number: u64,
    end: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, source: String) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            source,
            number: 0,
            end: 0,
        }
    }

    /// The next line that is not empty.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let mut bytes = Vec::new();
            let read = (&mut self.input)
                .take(LINE_BYTES_MAX + 2)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| {
                    Failure::failed(format!("cannot read {}", self.source))
                        .because(&error)
                        .next("check the file and its disk, then import again")
                })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.end += read as u64;
            bytes.pop_if(|byte| *byte == b'\n');
            if bytes.len() as u64 > LINE_BYTES_MAX {
                return Err(self.bad(self.number, "longer than 16 MiB, the limit of a document"));
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Line {
                    number: self.number,
                    end: self.end,
                    bytes,
                }));
            }
        }
    }

    /// Checks a line as a document and names it.
    pub(crate) fn parse(&self, line: Line, key: &[String]) -> Result<Parsed, Failure> {
        let json = Json::from_bytes(&line.bytes).map_err(|error| {
            self.bad(
                line.number,
                format_args!("column {}: {}", error.column, error.fault),
            )
        })?;
        let name = name_of(&json, key).map_err(|why| self.bad(line.number, why))?;
        Ok(Parsed {
            number: line.number,
            end: line.end,
            name,
            json,
        })
    }

    /// A line that cannot be taken.
    pub(crate) fn bad(&self, number: u64, why: impl std::fmt::Display) -> Failure {
        Failure::failed(format!("{}: line {number}", self.source)).why(why)
    }
}

/// The name of a document: the text of its key member, or of several as a JSON array.
fn name_of(json: &Json, key: &[String]) -> Result<String, String> {
    let text = |field: &String| json.field_text(field).map_err(|error| error.to_string());
    let name = match key {
        [field] => text(field)?,
        fields => {
            let texts = fields.iter().map(text).collect::<Result<Vec<_>, _>>()?;
            serde_json::to_string(&texts).expect("strings are JSON")
        }
    };
    check_name(&name)?;
    Ok(name)
}

/// Names have 1 to 1024 bytes without control characters.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("the name is empty".into())
    } else if name.len() > 1024 {
        Err(format!(
            "the name has {} bytes, at most 1024 are allowed",
            name.len()
        ))
    } else if name.contains(char::is_control) {
        Err(format!("the name {name:?} holds a control character"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Lines<&[u8]> {
        Lines::new(text.as_bytes(), "input".into())
    }

    #[test]
    fn lines_keep_their_bytes_and_numbers() {
        let mut lines = lines("{\"a\":1} \r\n\n  \n{\"a\":2}");
        let first = lines.next().expect("readable").expect("a line");
        assert_eq!((first.number, first.end), (1, 10));
        assert_eq!(first.bytes, b"{\"a\":1} \r");
        let second = lines.next().expect("readable").expect("a line");
        assert_eq!((second.number, second.end), (4, 21));
        assert!(lines.next().expect("readable").is_none());
    }

    #[test]
    fn names_come_from_strings_and_integers() {
        let json = Json::new(r#"{"id": 17, "at": "x y", "price": 1.5, "ok": true}"#).expect("JSON");
        let name = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            name_of(&json, &fields)
        };
        assert_eq!(name(&["id"]).as_deref(), Ok("17"));
        assert_eq!(name(&["at", "id"]).as_deref(), Ok(r#"["x y","17"]"#));
        assert!(name(&["price"]).is_err_and(|why| why.contains("price")));
        assert!(name(&["ok"]).is_err());
        assert!(name(&["none"]).is_err_and(|why| why.contains("none")));
    }

    #[test]
    fn bad_lines_are_numbered() {
        let mut lines = lines("{\"id\":1}\n{\"id\":}\n");
        let key = ["id".to_owned()];
        let first = lines.next().expect("readable").expect("a line");
        assert_eq!(
            lines
                .parse(first, &key)
                .map(|line| line.name)
                .ok()
                .as_deref(),
            Some("1")
        );
        let second = lines.next().expect("readable").expect("a line");
        let failure = lines
            .parse(second, &key)
            .err()
            .map(|failure| failure.text());
        assert!(failure.is_some_and(|text| text.starts_with("ate: input: line 2: column 7: ")));
    }

    #[test]
    fn names_have_limits() {
        assert!(check_name("a/b c").is_ok());
        assert!(check_name(&"x".repeat(1024)).is_ok());
        assert!(check_name(&"x".repeat(1025)).is_err());
        assert!(check_name("").is_err());
        assert!(check_name("a\tb").is_err());
    }
}
