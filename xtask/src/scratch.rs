//! Directories of our own that go away with their value.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

/// A new empty directory, removed on drop unless [`Scratch::keep`] was called.
pub(crate) struct Scratch {
    path: PathBuf,
    is_kept: bool,
}

impl Scratch {
    /// Makes a directory below the system's temporary one.
    ///
    /// # Errors
    /// It cannot be created, or exists already: it is never shared with another run.
    pub(crate) fn new(label: &str) -> Result<Self> {
        Self::below(&std::env::temp_dir(), label)
    }

    /// Makes a directory below `parent`, which is created when missing.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub(crate) fn below(parent: &Path, label: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("ate-{label}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            path,
            is_kept: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory behind.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nothing depends on it being gone, and a drop has nobody to tell.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_away_unless_kept() {
        let mut scratch = Scratch::new("scratch-test").expect("temporary directory");
        let path = scratch.path().to_path_buf();
        assert!(path.is_dir());
        scratch.keep();
        drop(scratch);
        assert!(path.is_dir(), "kept");
        drop(Scratch {
            path: path.clone(),
            is_kept: false,
        });
        assert!(!path.exists(), "removed");
    }
}
