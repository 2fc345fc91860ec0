//! The same at a terminal: a pseudo-terminal, into which the test types.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use redcall_client::Kind;
use redcall_testkit::eventually;
use redcall_tests::binary;
use redis::AsyncCommands as _;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;

use super::Setup;
use crate::support::LIVE;

/// A console at a terminal. Killed when dropped.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// The length of the checked screen.
    seen: usize,
}

impl Terminal {
    fn start(setup: &Setup, states: &Path, args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let no_control = OpenptFlags::NOCTTY.bits().try_into().unwrap();
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(no_control).open(&path).unwrap()
        };
        let mut command = Command::new(binary("redcall"));
        command.arg("console").args(args).env_clear().envs(&setup.env);
        command.env("XDG_STATE_HOME", states).env("TERM", "xterm");
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        let (screen, keys) = (Arc::<Mutex<Vec<u8>>>::default(), File::from(master));
        let (shown, mut shows) = (screen.clone(), keys.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // Its end is an error of the terminal.
            while let Ok(size @ 1..) = shows.read(&mut part) {
                shown.lock().unwrap().extend_from_slice(&part[..size]);
            }
        });
        Self { child, keys, screen, seen: 0 }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown after the text that was checked before.
    async fn shows(&mut self, text: &str) {
        let (screen, seen) = (&self.screen, self.seen);
        let mut before = 0;
        let end = eventually("the terminal to show it", async || {
            let screen = screen.lock().unwrap();
            let fresh = &screen[seen..];
            let at = fresh.windows(text.len()).position(|shown| shown == text.as_bytes());
            if at.is_none() && before != fresh.len() {
                before = fresh.len();
                eprintln!("waits for {text:?} in {:?}", String::from_utf8_lossy(fresh));
            }
            at.map(|at| seen + at + text.len())
        });
        self.seen = end.await;
    }

    /// Waits for a prompt with nothing after it, and types.
    async fn at_prompt(&mut self, keys: &str) {
        self.shows("redcall> ").await;
        self.types(keys);
    }

    fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its exit code.
    async fn ends(&mut self) -> Option<i32> {
        eventually("it to end", async || self.child.try_wait().unwrap()).await.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

#[tokio::test]
async fn names_are_completed_and_events_printed_while_typing() {
    let mut setup = Setup::new().await;
    let states = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(&setup, states.path(), &[]);
    // A name of the settings.
    terminal.at_prompt("wai\tad\t{\"a\": 1, \"b\": 2}\r").await;
    terminal.shows("{\"answer\":3}").await;
    terminal.at_prompt("events news\r").await;
    terminal.shows("following news").await;
    terminal.at_prompt("wait ad").await;
    terminal.shows("ad").await;
    setup.client.publish("news", Kind::PROPERTY_CHANGE, &json!({"speed": 3})).await.unwrap();
    terminal.shows("property_change  {\"speed\":3}").await;
    // The line is there again, and can be continued.
    terminal.shows("redcall> wait ad").await;
    terminal.types("\t{\"a\": 40, \"b\": 2}\r");
    terminal.shows("{\"answer\":42}").await;
    // A name that only a live worker knows.
    terminal.at_prompt("comm\tlat\t\r").await;
    terminal.shows("#1 later sent ").await;
    terminal.shows("#1 later deferred \"on its way\"").await;
    terminal.types("nonsense");
    terminal.shows("nonsense").await;
    setup.settle().await;
    terminal.shows("#1 later success {\"on\":true}").await;
    terminal.shows("redcall> nonsense").await;
    terminal.types(CTRL_C);
    terminal.at_prompt("timeout 90s\r").await;
    terminal.shows("timeout 1m 30s").await;
    terminal.at_prompt("command later\r").await;
    terminal.shows("#2 later deferred").await;
    terminal.types(CTRL_D);
    terminal.shows("commands cancelled: 1").await;
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_cancels_the_awaited_call_only() {
    let setup = Setup::new().await;
    let mut conn = setup.bench.redis.connection().await;
    let states = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(&setup, states.path(), &["--no-history"]);
    terminal.at_prompt("wait sleep {\"ms\": 60000}\r").await;
    eventually("it to run", async || {
        (conn.hlen::<_, usize>(LIVE).await.unwrap() == 1).then_some(())
    })
    .await;
    terminal.interrupt();
    terminal.shows("interrupted: the call was cancelled").await;
    terminal.at_prompt("timeout 90s\r").await;
    terminal.shows("timeout 1m 30s").await;
    eventually("it to be cancelled", async || {
        (conn.hlen::<_, usize>(LIVE).await.unwrap() == 0).then_some(())
    })
    .await;
    terminal.at_prompt("quit\r").await;
    assert_eq!(terminal.ends().await, Some(0));
    assert!(!states.path().join("redcall").exists(), "an unwanted history");
}

#[tokio::test]
async fn typed_lines_are_kept_for_their_owner_alone() {
    let setup = Setup::new().await;
    let states = tempfile::tempdir().unwrap();
    let folder = states.path().join("redcall");
    let file = folder.join("console-history");
    let mut terminal = Terminal::start(&setup, states.path(), &[]);
    terminal.at_prompt("timeout 10s\r").await;
    terminal.shows("timeout 10s\r\n").await;
    // The file is readable by others.
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    terminal.at_prompt("timeout 90s\r").await;
    terminal.shows("timeout 1m 30s").await;
    terminal.at_prompt(" wait echo \"a secret\"\r").await;
    terminal.shows("\n\"a secret\"").await;
    // However it ends.
    drop(terminal);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    assert!(!std::fs::read_to_string(&file).unwrap().contains("secret"));
    let mut terminal = Terminal::start(&setup, states.path(), &[]);
    terminal.at_prompt(UP).await;
    terminal.shows("timeout 90s").await;
    terminal.types("\r");
    terminal.shows("timeout 1m 30s").await;
    terminal.at_prompt(CTRL_D).await;
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn closed_terminal_or_exit_cancels_commands() {
    let setup = Setup::new().await;
    let mut conn = setup.bench.redis.connection().await;
    let states = tempfile::tempdir().unwrap();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        for waits in [false, true] {
            let mut terminal = Terminal::start(&setup, states.path(), &["--no-history"]);
            terminal.at_prompt("command sleep {\"ms\": 60000}\r").await;
            terminal.shows("#1 sleep sent ").await;
            let mut running = 1;
            if waits {
                terminal.at_prompt("wait sleep {\"ms\": 60000}\r").await;
                running = 2;
            }
            eventually("them to run", async || {
                (conn.hlen::<_, usize>(LIVE).await.unwrap() == running).then_some(())
            })
            .await;
            terminal.signal(signal);
            assert_eq!(terminal.ends().await, Some(code), "{signal:?} {waits}");
            eventually("them to be cancelled", async || {
                (conn.hlen::<_, usize>(LIVE).await.unwrap() == 0).then_some(())
            })
            .await;
        }
    }
}
