//! The private folder of one server, and the removal of folders whose owner has died.
//!
//! The temporary folder is shared. An entry with one of our names may be another user's: a pipe, a
//! link, a folder with any content. We open only entries that this user alone can write, and never
//! block on one.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::process::geteuid;

use super::error::EmbeddedError;

/// The prefix of our folders' names.
const PREFIX: &str = "redcall-";

/// The parent folder if the temporary folder's path is too long for a socket.
const SHORT: &str = "/tmp";

/// The file that its owner keeps locked while alive. It holds the owner's process id, for
/// operators. The lock decides, not the id: ids are reused, and have no meaning in another
/// container that shares the folder.
const OWNER: &str = "owner";

/// The time limit of a sweep: there may be any number of entries.
const SWEEP_LIMIT: Duration = Duration::from_millis(500);

const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// `sun_path` has 104 bytes on macOS and 108 on Linux, including the closing zero.
const SOCKET_PATH_LIMIT: usize = 104;

/// A folder that only this user can enter. Dropping removes it with its content.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked while we live; the system releases the lock however we end.
    _owner: File,
}

impl Folder {
    pub(super) fn create() -> Result<Self, EmbeddedError> {
        let name = format!("{PREFIX}{}", short_unique());
        let mut path = std::env::temp_dir().join(&name);
        if !fits(&socket_in(&path)) {
            path = Path::new(SHORT).join(&name);
        }
        // An absolute path works for every program that connects later, in any directory.
        path = std::path::absolute(&path).unwrap_or(path);
        if !fits(&socket_in(&path)) {
            return Err(EmbeddedError::PathTooLong { path: socket_in(&path) });
        }
        let make = || {
            check_parent(&path)?;
            DirBuilder::new().mode(0o700).create(&path)?;
            open_private(&path)?;
            lock_as_owner(&path)
        };
        match make() {
            Ok(owner) => Ok(Self { path, _owner: owner }),
            Err(source) => Err(EmbeddedError::Folder { path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket_in(&self.path)
    }

    /// The file to which the shell writes the server's process id.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.join("server.pid")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("redis.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A later start removes the rest.
        _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of owners that ended without removing them. Best effort: folders of other
/// users, and those that cannot be removed, stay.
pub(super) fn sweep() {
    let usual = std::env::temp_dir();
    sweep_in(&usual);
    if usual != Path::new(SHORT) {
        sweep_in(Path::new(SHORT));
    }
}

fn sweep_in(parent: &Path) {
    let since = Instant::now();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if since.elapsed() > SWEEP_LIMIT {
            return;
        }
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        // A folder without the file is being created at this moment, or not ours.
        let Ok(owner) = open_owner(&path) else {
            continue;
        };
        if owner.try_lock().is_ok() {
            _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// Opens a folder that this user alone can enter; refuses links and other users' entries.
fn open_private(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty())?;
    let found = fstat(&folder)?;
    let others = Mode::RWXG | Mode::RWXO;
    let is_private = !Mode::from_raw_mode(found.st_mode).intersects(others);
    if found.st_uid != geteuid().as_raw() || !is_private {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is not a folder that this user alone can enter",
        ));
    }
    Ok(folder.into())
}

/// Opens the owner file of a private folder. Never blocks: a pipe of that name is opened too, and
/// refused.
fn open_owner(path: &Path) -> io::Result<File> {
    let folder = open_private(path)?;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let owner = File::from(openat(&folder, OWNER, flags, Mode::empty())?);
    if owner.metadata()?.is_file() { Ok(owner) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Refuses a parent in which another user could replace the folder, and so the server.
fn check_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let mode = std::fs::metadata(parent)?.mode();
    if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "other users may replace its content: set TMPDIR to a folder of your own (mode 0700), \
             or REDIS_URL to a Redis that already runs",
        ));
    }
    Ok(())
}

/// The file gets its name only once it is locked: a sweep must find it locked.
fn lock_as_owner(folder: &Path) -> io::Result<File> {
    let unnamed = folder.join("owner.new");
    let mut owner = File::create_new(&unnamed)?; // follows no link
    owner.try_lock().map_err(|error| match error {
        TryLockError::Error(source) => source,
        TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
    })?;
    writeln!(owner, "{}", std::process::id())?;
    std::fs::rename(&unnamed, folder.join(OWNER))?;
    Ok(owner)
}

/// Returns twelve characters. The path of a socket has little room, and a collision is an error at
/// once, never a shared folder.
fn short_unique() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The last digits are random; the first are the time.
    id[id.len() - 12..].to_owned()
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("r.sock")
}

fn fits(socket: &Path) -> bool {
    socket.as_os_str().len() < SOCKET_PATH_LIMIT
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn made(parent: &Path, name: &str) -> PathBuf {
        let path = parent.join(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        path
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn sweep_never_blocks_and_keeps_foreign_entries() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let pipe = |path: &Path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        pipe(&at("redcall-pipe"));
        pipe(&made(parent.path(), "redcall-trap").join(OWNER));
        std::fs::write(at("redcall-file"), "kept").unwrap();
        // Any user could have created this.
        let open = made(parent.path(), "redcall-open");
        drop(lock_as_owner(&open).unwrap());
        set_mode(&open, 0o777);
        // A link to a folder that meets all conditions.
        let aside = made(parent.path(), "aside");
        drop(lock_as_owner(&aside).unwrap());
        symlink(&aside, at("redcall-link")).unwrap();
        // A link instead of the file.
        let linked = made(parent.path(), "redcall-linked");
        symlink(aside.join(OWNER), linked.join(OWNER)).unwrap();

        let (done, ended) = std::sync::mpsc::channel();
        let swept = parent.path().to_owned();
        std::thread::spawn(move || {
            sweep_in(&swept);
            done.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(10)).expect("the sweep ends");
        for name in [
            "redcall-pipe",
            "redcall-trap",
            "redcall-file",
            "redcall-open",
            "aside",
            "redcall-link",
            "redcall-linked",
        ] {
            assert!(std::fs::symlink_metadata(at(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn parent_writable_by_others_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("redcall-x");
        for (mode, is_refused) in [(0o700, false), (0o1777, false), (0o775, false), (0o777, true)] {
            set_mode(parent.path(), mode);
            assert_eq!(check_parent(&path).is_err(), is_refused, "{mode:o}");
        }
        let own = made(parent.path(), "redcall-own");
        open_private(&own).unwrap();
        set_mode(&own, 0o755);
        assert!(open_private(&own).is_err());
    }

    #[test]
    fn sweep_removes_only_unlocked_folders() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| made(parent.path(), name);
        let (dead, alive, half_made, foreign) =
            (folder("redcall-d"), folder("redcall-a"), folder("redcall-h"), folder("other"));
        drop(lock_as_owner(&dead).unwrap());
        drop(lock_as_owner(&foreign).unwrap());
        let _alive = lock_as_owner(&alive).unwrap();

        sweep_in(parent.path());

        assert!(!dead.exists(), "its owner has released the lock");
        assert!(alive.exists(), "its owner holds the lock");
        assert!(half_made.exists(), "its owner may be about to take the lock");
        assert!(foreign.exists(), "its name is not ours");
    }

    #[test]
    fn the_limit_of_a_socket_path_counts_the_closing_zero() {
        assert!(fits(Path::new(&"x".repeat(103))));
        assert!(!fits(Path::new(&"x".repeat(104))));
    }

    #[test]
    fn a_folder_is_private_and_goes_with_its_guard() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
