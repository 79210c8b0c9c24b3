//! Structured logs on standard error.
//!
//! Logs name chains, positions, counts, keys by their id, addresses and durations. They never hold secrets, contents, or names and keys of records: whoever adds a line
//! gives each value a field of its own, and gives no field a value that is sealed on the wire.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::Failure;

/// Longest filter.
const FILTER_BYTES_MAX: usize = 1024;

/// What is logged, and how.
#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// Form of the log lines on standard error
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t = LogFormat::Text,
        global = true,
        hide_short_help = true
    )]
    log_format: LogFormat,
    /// off, error, warn, info, debug or trace; or a filter such as `info,ate_net=debug`
    #[arg(
        long,
        value_name = "LEVEL",
        env = "ATE_LOG",
        global = true,
        hide_short_help = true
    )]
    log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}

/// Sends the log lines of this process to standard error, from `level` on if nothing else was asked for. Called once.
pub(crate) fn start(options: &LogOptions, level: LevelFilter) -> Result<(), Failure> {
    let filter = filter(options.log_level.as_deref(), level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match options.log_format {
        LogFormat::Text => lines
            .with_ansi(false)
            .with_writer(Plain(io::stderr))
            .try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_writer(io::stderr)
            .try_init(),
    };
    started.map_err(|error| Failure::failed("cannot start the log").why(error))
}

fn filter(asked: Option<&str>, level: LevelFilter) -> Result<EnvFilter, Failure> {
    let asked = asked.map(str::trim).filter(|asked| !asked.is_empty());
    let refused = |why: String| {
        Failure::usage("the log level cannot be used").why(why).next(
            "give --log-level or ATE_LOG one of off, error, warn, info, debug, trace, or a filter such as `info,ate_net=debug`",
        )
    };
    let text = match asked {
        None => of_own(level),
        Some(asked) if asked.len() > FILTER_BYTES_MAX => {
            return Err(refused("it is too long".to_owned()));
        }
        Some(asked) => match asked.parse::<LevelFilter>() {
            // A word means this program: what its dependencies have to say drowns it.
            Ok(level) => of_own(level),
            // A mistyped level would be taken for the name of a crate.
            Err(_) if !asked.contains('=') => {
                return Err(refused(format!("`{asked}` is no level")));
            }
            Err(_) => asked.to_owned(),
        },
    };
    // Without regular expressions: the cost of a filter is known.
    EnvFilter::builder()
        .with_regex(false)
        .parse(text)
        .map_err(|error| refused(error.to_string()))
}

/// A level for all crates of this program, and never more than warnings of others.
fn of_own(level: LevelFilter) -> String {
    format!("{},ate={level}", level.min(LevelFilter::WARN))
}

/// Writes each line without control characters, which a peer could use to forge lines or to drive a terminal. A line comes in one piece.
struct Plain<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Plain<W> {
    type Writer = PlainLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        PlainLine(self.0.make_writer())
    }
}

struct PlainLine<W>(W);

impl<W: Write> Write for PlainLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.contains(char::is_control) {
            let mut plain = String::with_capacity(line.len() + 16);
            for character in line.chars() {
                if character.is_control() {
                    plain.extend(character.escape_default());
                } else {
                    plain.push(character);
                }
            }
            plain.push('\n');
            self.0.write_all(plain.as_bytes())?;
        } else {
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// What is written of some events under a filter.
    fn logged(asked: Option<&str>, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(asked, LevelFilter::INFO).unwrap())
            .with_ansi(false)
            .with_writer(Plain(move || writer.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        memory.text()
    }

    #[test]
    fn a_level_is_for_this_program_alone() {
        let log = || {
            tracing::debug!(target: "ate_net::node", "own detail");
            tracing::info!(target: "ate", "own news");
            tracing::info!(target: "quinn", "foreign news");
            tracing::warn!(target: "quinn", "foreign warning");
        };
        let text = logged(None, log);
        assert!(
            text.contains("own news") && text.contains("foreign warning"),
            "{text}"
        );
        assert!(
            !text.contains("own detail") && !text.contains("foreign news"),
            "{text}"
        );
        let text = logged(Some("debug"), log);
        assert!(
            text.contains("own detail") && !text.contains("foreign news"),
            "{text}"
        );
        let text = logged(Some("error"), log);
        assert!(text.is_empty(), "{text}");
        assert!(logged(Some("OFF"), log).is_empty());
        let text = logged(Some("quinn=info"), log);
        assert!(
            text.contains("foreign news") && !text.contains("own news"),
            "{text}"
        );
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_usage() {
        for asked in ["loud", "ate=loud", "inf", &"a".repeat(FILTER_BYTES_MAX + 1)] {
            let failure = filter(Some(asked), LevelFilter::WARN).expect_err(asked);
            assert!(failure.text().contains("--log-level"), "{failure:?}");
        }
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let text = logged(None, || {
            tracing::info!(peer = %"a\n2026 ERROR ate: forged\u{1b}[31m", why = ?"b\nc", "news\r\nmore");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(text.ends_with('\n'));
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    }
}
