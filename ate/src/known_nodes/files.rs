//! Small text files that several processes share: read whole, replaced whole, or in memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, MutexGuard};

use super::error::KnownNodesError;

/// The folder of all files but the first.
pub(super) const FOLDER: &str = "known-nodes.d";
const LOCK: &str = "known-nodes.d/lock";

/// Last line of every file: a file that was cut is not taken for a shorter list.
const END: &str = "# end";

/// What a file looks like.
pub(super) struct Form {
    /// Its first line.
    pub(super) head: &'static str,
    /// How the first line of every version of it begins.
    pub(super) kind: &'static str,
    /// Longest file that is read or written.
    pub(super) bytes_max: usize,
}

/// The files of a directory, or texts in memory under the same names.
#[derive(Debug)]
pub(super) struct Files {
    dir: Option<PathBuf>,
    memory: Mutex<BTreeMap<String, String>>,
    /// Among the threads of this process; the lock file is for processes.
    writing: Mutex<()>,
}

/// The lines between the first and the last one.
pub(super) struct Lines(String);

impl Lines {
    /// Each with its number in the file, from 2.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 2, line))
    }

    /// All of them.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl Files {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self {
            dir: Some(dir.to_owned()),
            ..Self::in_memory()
        }
    }

    pub(super) fn in_memory() -> Self {
        Self {
            dir: None,
            memory: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// Where a file is; `None` in memory.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(name))
    }

    pub(super) fn damaged(&self, name: &str, line: usize, why: &'static str) -> KnownNodesError {
        KnownNodesError::Damaged {
            file: self.shown(name),
            line,
            why,
        }
    }

    /// What stands in a file; `None` if there is none.
    pub(super) fn read(&self, name: &str, form: &Form) -> Result<Option<Lines>, KnownNodesError> {
        let Some(text) = self.text(name, form)? else {
            return Ok(None);
        };
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        if head != form.head {
            // A cut first line of this version is damage.
            let version = head
                .strip_prefix(form.kind)
                .and_then(|rest| rest.split_once(':'))
                .and_then(|(version, _)| version.parse::<u32>().ok());
            return Err(if version.is_some_and(|version| version > 1) {
                KnownNodesError::Newer {
                    file: self.shown(name),
                }
            } else {
                self.damaged(name, 1, "the first line does not say what the file is")
            });
        }
        let body = rest
            .strip_suffix('\n')
            .and_then(|rest| rest.strip_suffix(END))
            .filter(|body| body.is_empty() || body.ends_with('\n'));
        match body {
            Some(body) => Ok(Some(Lines(body.to_owned()))),
            None => {
                let line = text.lines().count().max(1);
                Err(self.damaged(
                    name,
                    line,
                    "the last line is not `# end`: something was cut off",
                ))
            }
        }
    }

    fn text(&self, name: &str, form: &Form) -> Result<Option<String>, KnownNodesError> {
        let Some(path) = self.path(name) else {
            return Ok(self.memory.lock().get(name).cloned());
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        };
        let mut bytes = Vec::new();
        let most = form.bytes_max as u64 + 1;
        let read = file.take(most).read_to_end(&mut bytes);
        read.map_err(|source| failed("read", &path, source))?;
        if bytes.len() > form.bytes_max {
            return Err(self.damaged(name, 1, "the file is longer than it can be"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                Err(self.damaged(name, line, "it is not text"))
            }
        }
    }

    /// Names in the folder that begin with `prefix`, in order.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, KnownNodesError> {
        let Some(dir) = self.path(FOLDER) else {
            let names = self.memory.lock().keys().cloned().collect::<Vec<_>>();
            let names = names
                .iter()
                .filter_map(|name| name.strip_prefix("known-nodes.d/"));
            return Ok(names
                .filter(|name| name.starts_with(prefix))
                .map(str::to_owned)
                .collect());
        };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", &dir, source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| failed("list", &dir, source))?;
            // What was being written when a process ended is nobody's file.
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with(prefix) && !name.ends_with(".new") => names.push(name),
                _ => {}
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The right to write, alone among all threads and processes. Waits for the others, who hold it for one small file each.
    pub(super) fn lock(&self) -> Result<Held<'_>, KnownNodesError> {
        let writing = self.writing.lock();
        let Some(path) = self.path(LOCK) else {
            return Ok(Held {
                files: self,
                _lock: None,
                _writing: writing,
            });
        };
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(|source| failed("make", folder, source))?;
            let above = folder.parent().unwrap_or_else(|| Path::new("."));
            ate_log::sync_directory(above).map_err(|source| failed("sync", above, source))?;
        }
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        ate_log::private_file(&mut options);
        let lock = options
            .open(&path)
            .map_err(|source| failed("make", &path, source))?;
        lock.lock()
            .map_err(|source| failed("lock", &path, source))?;
        Ok(Held {
            files: self,
            _lock: Some(lock),
            _writing: writing,
        })
    }

    fn shown(&self, name: &str) -> PathBuf {
        self.path(name)
            .unwrap_or_else(|| PathBuf::from(format!("memory:{name}")))
    }
}

/// The right to write, until it is dropped.
pub(super) struct Held<'a> {
    files: &'a Files,
    _lock: Option<File>,
    _writing: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// Replaces a file. Durable on return; after a failure or a crash the old one or the new one is there, whole.
    pub(super) fn write(&self, name: &str, form: &Form, body: &str) -> Result<(), KnownNodesError> {
        debug_assert!(body.is_empty() || body.ends_with('\n'), "lines are whole");
        let text = format!("{}\n{body}{END}\n", form.head);
        if text.len() > form.bytes_max {
            return Err(KnownNodesError::Full {
                what: "bytes in a file of known nodes",
                max: form.bytes_max,
            });
        }
        let Some(path) = self.files.path(name) else {
            self.files.memory.lock().insert(name.to_owned(), text);
            return Ok(());
        };
        // One name for all: the lock is held, and what a crash leaves there is written over.
        let fresh = path.with_extension("new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        ate_log::private_file(&mut options);
        let mut file = options
            .open(&fresh)
            .map_err(|source| failed("make", &fresh, source))?;
        file.write_all(text.as_bytes())
            .map_err(|source| failed("write", &fresh, source))?;
        file.sync_all()
            .map_err(|source| failed("sync", &fresh, source))?;
        drop(file);
        fs::rename(&fresh, &path).map_err(|source| failed("rename", &fresh, source))?;
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        ate_log::sync_directory(dir).map_err(|source| failed("sync", dir, source))
    }

    /// Removes a file, if it is there. Durable on return.
    pub(super) fn remove(&self, name: &str) -> Result<(), KnownNodesError> {
        let Some(path) = self.files.path(name) else {
            self.files.memory.lock().remove(name);
            return Ok(());
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|source| failed("remove", &path, source))?,
        }
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        ate_log::sync_directory(dir).map_err(|source| failed("sync", dir, source))
    }
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> KnownNodesError {
    KnownNodesError::File {
        doing,
        file: path.to_owned(),
        source,
    }
}
