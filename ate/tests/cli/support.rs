//! Runs the built executable over a temporary directory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A directory for one test, with a store in it as soon as a command makes one.
pub(crate) struct Place {
    root: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().expect("a temporary directory can be made");
        Self { root }
    }

    /// The store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file beside the store.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }

    /// The command, with nothing of the test's environment that it would heed.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_in(&self.store(), args)
    }

    pub(crate) fn command_in(&self, store: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ate"));
        command
            .args(args)
            .env("ATE_DIR", store)
            .env("TMPDIR", self.root.path())
            .env_remove("ATE_PASSPHRASE")
            .env_remove("ATE_URL")
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn ate(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().expect("the command runs"))
    }

    /// With bytes on standard input.
    pub(crate) fn ate_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ended {
        let mut child = self.start(args);
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.as_ref().to_vec();
        // A command that refuses early does not read everything.
        let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the command ends");
        feed.join().expect("the feeder does not panic");
        Ended::of(output)
    }

    /// Running, with all three streams piped.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the command runs")
    }

    /// Must succeed; gives standard output.
    pub(crate) fn good(&self, args: &[&str]) -> String {
        self.ate(args).good()
    }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            err: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }

    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Failed with this code, said all of this on standard error, nothing on standard output, and what to do next.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        for part in says {
            assert!(self.err.contains(part), "`{part}` is not in {self:?}");
        }
        assert!(self.err.contains("next: "), "no next step in {self:?}");
    }
}

/// Sends the signal that Ctrl-C sends.
#[cfg(unix)]
pub(crate) fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

/// Every line as JSON.
#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// `count` documents with the key `id`.
pub(crate) fn documents(count: usize) -> String {
    (0..count)
        .map(|id| format!("{{\"id\": {id}, \"text\": \"document number {id}\"}}\n"))
        .collect()
}
