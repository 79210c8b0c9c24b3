//! What lies on the disk, for the demo: sizes, bytes, a search, a copy, a flip.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file and its length.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// All files below a directory, by path.
pub(super) fn files(dir: &Path) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(|error| failed(&dir, &error))? {
            let entry = entry.map_err(|error| failed(&dir, &error))?;
            let metadata = entry.metadata().map_err(|error| failed(&dir, &error))?;
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else {
                found.push(Found {
                    path: entry.path(),
                    bytes: metadata.len(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether any of the files holds `needle`.
pub(super) fn holds(files: &[Found], needle: &[u8]) -> Result<bool, Failure> {
    for file in files {
        let bytes = fs::read(&file.path).map_err(|error| failed(&file.path, &error))?;
        if bytes.windows(needle.len()).any(|window| window == needle) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bytes as people read them: offset, hexadecimal digits, printable characters.
pub(super) fn hex_lines(path: &Path, from: u64, lines: usize) -> Result<Vec<String>, Failure> {
    let mut bytes = vec![0; lines * 16];
    let read = |bytes: &mut [u8]| -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(bytes)
    };
    read(&mut bytes).map_err(|error| failed(path, &error))?;
    let line = |(index, bytes): (usize, &[u8])| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable: String = bytes
            .iter()
            .map(|&byte| {
                if byte.is_ascii_graphic() {
                    byte as char
                } else {
                    '.'
                }
            })
            .collect();
        format!(
            "  {:08x}  {}  {printable}",
            from as usize + index * 16,
            digits.join(" ")
        )
    };
    Ok(bytes.chunks(16).enumerate().map(line).collect())
}

/// Copies a directory.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in files(from)? {
        let relative = file.path.strip_prefix(from).expect("the file lies below");
        let target = to.join(relative);
        let parent = target.parent().expect("a file has a directory");
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        fs::copy(&file.path, &target).map_err(|error| failed(&target, &error))?;
    }
    Ok(())
}

/// Flips the lowest bit of one byte.
pub(super) fn flip(path: &Path, offset: u64) -> Result<(), Failure> {
    let flip = || -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut byte)?;
        byte[0] ^= 1;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&byte)
    };
    flip().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot use {}", path.display()))
        .because(error)
        .next("check the free space and permissions there, or name another place with --keep")
}
