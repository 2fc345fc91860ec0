//! The identity of a process: start time, user and program. Process numbers are reused.

use std::io;

use rustix::process::{Pid, Signal};

/// A process, as the system describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its effective user.
    pub(crate) user: u32,
    /// Its start time in the system's own format: compared, never parsed.
    pub(crate) started: String,
    /// Its program file.
    pub(crate) program: String,
}

impl Identity {
    /// Returns the identity of this process.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub(crate) fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Self::of(pid)?.ok_or_else(|| io::Error::other("cannot read the identity of this process"))
    }

    /// Returns the identity of process `pid`; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The error of the operating system, such as missing permission.
    pub(crate) fn of(pid: i32) -> io::Result<Option<Self>> {
        match identity_of(pid) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // The process has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Ok(None)
            }
            found => found.map(Some),
        }
    }
}

#[cfg(target_os = "linux")]
fn identity_of(pid: i32) -> io::Result<Identity> {
    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}"));
    let unexpected =
        || io::Error::new(io::ErrorKind::InvalidData, "/proc has an unexpected format");
    let stat = read("stat")?;
    // The name of the program may contain anything: field 3 and later follow it.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(unexpected)?;
    let started = fields.split_whitespace().nth(19).ok_or_else(unexpected)?;
    let status = read("status")?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).ok_or_else(unexpected)?;
    let user = users.split_whitespace().nth(1).and_then(|user| user.parse().ok());
    let program = std::fs::read_link(format!("/proc/{pid}/exe"))?;
    let program = program.to_string_lossy();
    // A new version has replaced the file.
    let program = program.strip_suffix(" (deleted)").unwrap_or(&program).to_owned();
    Ok(Identity { user: user.ok_or_else(unexpected)?, started: started.to_owned(), program })
}

#[cfg(not(target_os = "linux"))]
fn identity_of(pid: i32) -> io::Result<Identity> {
    let mut ps = std::process::Command::new("/bin/ps");
    ps.env("LC_ALL", "C").args(["-o", "uid=", "-o", "lstart=", "-o", "comm=", "-p"]);
    let listed = ps.arg(pid.to_string()).output()?;
    let line = String::from_utf8_lossy(&listed.stdout);
    listed_identity(&line).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Reads a line of `ps`: the user, the five words of the start time, and the path of the program,
/// which may contain blanks.
#[cfg(any(test, not(target_os = "linux")))]
fn listed_identity(line: &str) -> Option<Identity> {
    let (user, mut rest) = line.trim().split_once(char::is_whitespace)?;
    let mut started = Vec::new();
    for _ in 0..5 {
        let (word, after) = rest.trim_start().split_once(char::is_whitespace)?;
        started.push(word);
        rest = after;
    }
    let program = rest.trim_start().to_owned();
    Some(Identity { user: user.parse().ok()?, started: started.join(" "), program })
}

/// A handle of a process: it signals this process only, even if its number is reused.
pub(crate) struct ProcessHandle {
    pid: Pid,
    #[cfg(target_os = "linux")]
    held: Option<rustix::fd::OwnedFd>,
}

impl ProcessHandle {
    /// Opens a handle of process `pid`; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub(crate) fn of(pid: i32) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
        #[cfg(target_os = "linux")]
        {
            use rustix::io::Errno;
            use rustix::process::{PidfdFlags, pidfd_open};
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(held) => Ok(Some(Self { pid, held: Some(held) })),
                Err(Errno::SRCH) => Ok(None),
                // Not supported by older kernels and some sandboxes.
                Err(Errno::NOSYS | Errno::PERM) => Ok(Some(Self { pid, held: None })),
                Err(error) => Err(error.into()),
            }
        }
        #[cfg(not(target_os = "linux"))]
        Ok(Some(Self { pid }))
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// The error of the operating system, such as an ended process.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(held) = &self.held {
            return Ok(rustix::process::pidfd_send_signal(held, signal)?);
        }
        Ok(rustix::process::kill_process(self.pid, signal)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_ps_is_read_with_blanks_in_the_path() {
        let line = "  501 Mon Nov  3 09:24:26 2026     /Applications/My Worker/redcall-worker\n";
        let identity = listed_identity(line).unwrap();
        assert_eq!((identity.user, &*identity.started), (501, "Mon Nov 3 09:24:26 2026"));
        assert_eq!(identity.program, "/Applications/My Worker/redcall-worker");
        // `ps` prints nothing of a process that has ended.
        assert_eq!(listed_identity("\n"), None);
    }

    #[test]
    fn reused_number_is_another_process() {
        let own = Identity::own().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Identity::of(pid).unwrap(), Some(own.clone()));
        assert_eq!(own.user, rustix::process::geteuid().as_raw());
        assert!(own.program.contains("redcall"), "{own:?}");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let held = ProcessHandle::of(pid).unwrap().unwrap();
        assert_ne!(Identity::of(pid).unwrap().unwrap().program, own.program);
        held.signal(Signal::TERM).unwrap();
        child.wait().unwrap();
        assert_eq!(Identity::of(pid).unwrap(), None);
        assert!(held.signal(Signal::TERM).is_err());
    }
}
