//! `ate serve` as a process, and clients of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Ended, Place};

/// A node that runs until it is dropped.
pub(crate) struct Node {
    child: Option<Child>,
    dir: PathBuf,
    pub(crate) url: String,
    pub(crate) place: SocketAddr,
}

impl Node {
    /// On a port of the system's choice.
    pub(crate) fn start(place: &Place, extra: &[&str]) -> Self {
        Self::listen(place, "127.0.0.1:0", extra)
    }

    /// On the port that an earlier one had.
    pub(crate) fn again(place: &Place, at: SocketAddr) -> Self {
        Self::listen(place, &at.to_string(), &[])
    }

    fn listen(place: &Place, listen: &str, extra: &[&str]) -> Self {
        let dir = place.path("node");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.path("node.log"))
            .expect("a log");
        let mut child = place
            .command_in(&dir, &["serve", "--listen", listen])
            .args(extra)
            .stderr(log)
            .spawn()
            .expect("the node runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("a first line");
        let url = line.trim().to_owned();
        let log = || std::fs::read_to_string(place.path("node.log")).unwrap_or_default();
        let (_, at) = url
            .split_once('@')
            .unwrap_or_else(|| panic!("no address: {line:?}, {}", log()));
        Self {
            place: at.parse().expect("an IP address and a port"),
            child: Some(child),
            dir,
            url,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The same node as it is reached through another port.
    pub(crate) fn url_through(&self, at: SocketAddr) -> String {
        let (key, _) = self.url.split_once('@').expect("an address with a key");
        format!("{key}@{at}")
    }

    /// Without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// The node's directory is what it was when the copy was made.
    pub(crate) fn put_back(&self, copy: &Path) {
        std::fs::remove_dir_all(&self.dir).expect("it goes");
        copy_dir(copy, &self.dir);
    }

    /// As a service manager does.
    #[cfg(unix)]
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let killed = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(killed.expect("kill runs").success());
        child.wait().expect("it ends").code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies the files of a directory, and those below.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("it is made");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("it is copied");
        }
    }
}

/// A directory of one client.
pub(crate) struct Client<'a> {
    place: &'a Place,
    pub(crate) dir: PathBuf,
    url: String,
}

impl<'a> Client<'a> {
    pub(crate) fn new(place: &'a Place, name: &str, url: &str) -> Self {
        Self {
            place,
            dir: place.path(name),
            url: url.to_owned(),
        }
    }

    /// Another directory with the same identity.
    pub(crate) fn twin(&self, name: &str) -> Self {
        let twin = Self::new(self.place, name, &self.url);
        let words = self.good(&["identity", "export", "--yes"]);
        let mut command = twin.command(&["identity", "import", "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        std::io::Write::write_all(&mut stdin, words.as_bytes()).expect("it reads");
        drop(stdin);
        Ended::of(child.wait_with_output().expect("it ends")).good();
        twin
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command_in(&self.dir, args);
        command.env("ATE_URL", &self.url);
        command
    }

    pub(crate) fn ate(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().expect("the command runs"))
    }

    /// Must succeed; gives standard output.
    #[track_caller]
    pub(crate) fn good(&self, args: &[&str]) -> String {
        self.ate(args).good()
    }

    /// On what is here, without a node.
    pub(crate) fn here(&self, args: &[&str]) -> Ended {
        let output = self.place.command_in(&self.dir, args).output();
        Ended::of(output.expect("the command runs"))
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running(Some(self.command(args).spawn().expect("the command runs")))
    }
}

/// A command that runs, and is ended if nobody waits for it.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not waited for")
    }

    pub(crate) fn ended(mut self) -> Ended {
        let child = self.0.take().expect("it was not waited for");
        Ended::of(child.wait_with_output().expect("it ends"))
    }

    pub(crate) fn kill(mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            drop(child.kill());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
