//! The served directory. Callers name files relative to it and cannot leave it.

use std::io;
use std::path::{Component, Path, PathBuf};

/// A directory, by its real path.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    /// Without links; UTF-8, because commands get it as an argument.
    dir: String,
}

/// Why the path of a request is not read. The messages contain no other path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Absolute, with `..`, or a link that leads out of the directory.
    #[error("{path}: leaves the directory that this worker serves")]
    Outside {
        /// As the caller sent it.
        path: String,
    },
    /// A directory, a pipe, a device.
    #[error("{path}: is not a file")]
    NotAFile {
        /// As the caller sent it.
        path: String,
    },
    /// It does not exist, or may not be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// As the caller sent it.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Root {
    /// Serves `dir`, which must exist.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let dir = dir.canonicalize()?;
        if !dir.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let dir = dir.into_os_string().into_string();
        let unreadable = |_| io::Error::new(io::ErrorKind::InvalidData, "its path is not UTF-8");
        Ok(Self { dir: dir.map_err(unreadable)? })
    }

    /// Returns its absolute path.
    pub(crate) fn dir(&self) -> &str {
        &self.dir
    }

    /// Returns the file at `relative`. Blocks.
    ///
    /// A process that can change the directory can still replace a file by a link after this check.
    pub(crate) fn resolve(&self, relative: &str) -> Result<PathBuf, Refused> {
        let path = || relative.to_owned();
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        // Before any access to the disk, so that not even the existence of other files is
        // disclosed.
        if !Path::new(relative).components().all(inside) {
            return Err(Refused::Outside { path: path() });
        }
        let unreadable = |source| Refused::Unreadable { path: path(), source };
        let real = Path::new(&self.dir).join(relative).canonicalize().map_err(unreadable)?;
        if !real.starts_with(&self.dir) {
            return Err(Refused::Outside { path: path() });
        }
        if !real.metadata().map_err(unreadable)?.is_file() {
            return Err(Refused::NotAFile { path: path() });
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_the_root_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&outside, "secret").unwrap();
        std::fs::write(inside.join("a.txt"), "a").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let root = Root::open(&inside).unwrap();

        let absolute = outside.to_str().unwrap();
        for path in ["../out", "./../out", "x/../../out", absolute, "link"] {
            let refused = root.resolve(path).unwrap_err();
            assert!(matches!(refused, Refused::Outside { .. }), "{path}: {refused}");
        }
        assert!(matches!(root.resolve(".").unwrap_err(), Refused::NotAFile { .. }));
        assert!(matches!(root.resolve("b.txt").unwrap_err(), Refused::Unreadable { .. }));
        assert_eq!(root.resolve("./a.txt").unwrap(), Path::new(root.dir()).join("a.txt"));
    }
}
