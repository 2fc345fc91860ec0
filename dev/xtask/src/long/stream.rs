//! `cargo xtask long stream`: an answer of 100,000 parts whose reader stops for 10 s and dies, and
//! that another process continues to read.
//!
//! Real programs: `redcall call --stream` reads until it is killed, `redcall follow` from then on.
//! Their output shows whether each part came once and in order; Redis shows the number of unread
//! frames.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, miette};

use super::killed::Killed;
use crate::long::stage::server::Server;
use crate::workspace::{Workspace, run as succeeds};

const PARTS: u64 = 100_000;
/// Characters of each.
const SIZE: usize = 1000;
/// After how many the reader stops, and after how many it is killed.
const STOPS_AT: u64 = 40_000;
const DIES_AT: u64 = 70_000;
const STOPS_FOR: Duration = Duration::from_secs(10);
/// The largest number of unread bytes: 1,000 frames of the parts' size and some 150 bytes more.
const WINDOW: u64 = 1000;
const BYTES: u64 = WINDOW * (SIZE as u64 + 400);

/// Streams, stops, kills and continues.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    let packages = ["--package", "redcall-worker", "--package", "redcall-cli"];
    if !succeeds(build.args(["build", "--quiet"]).args(packages))? {
        return Err(miette!("the programs could not be built"));
    }
    let programs =
        Programs { folder: workspace.target_dir()?.join("debug"), server: Server::start()? };
    let _worker = programs.worker()?;
    let since = Instant::now();
    let data = format!(r#"{{"to":{PARTS},"size":{SIZE}}}"#);
    let mut first = programs.reader(&["call", "count", &data, "--stream", "--timeout", "10m"])?;
    first.reads(1..=STOPS_AT)?;
    println!("{STOPS_AT} parts read in {:.1} s", since.elapsed().as_secs_f64());

    let key = programs.server.query("KEYS redcall:{default}:response:*")?;
    let [key] = key.as_slice() else { return Err(miette!("not one response key: {key:?}")) };
    let (frames, bytes) = programs.unread(key)?;
    println!("stopped for {STOPS_FOR:?}: at most {frames} frames, {bytes} bytes at Redis");
    if frames > WINDOW || bytes > BYTES {
        return Err(miette!("more than {WINDOW} frames or {BYTES} bytes were unread"));
    }
    first.reads(STOPS_AT + 1..=DIES_AT)?;
    first.program.child.kill().into_diagnostic()?;
    // The printed parts have been read.
    let last = first.rest(DIES_AT + 1)?;
    println!("killed; the last part that it has printed is {last}");

    let from = (last + 1).to_string();
    let mut second = programs.reader(&["follow", key, "--from", &from])?;
    second.reads(last + 1..=PARTS)?;
    second.ends()?;
    println!(
        "{PARTS} parts of {SIZE} characters, each once and in order, in {:.1} s",
        since.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// The programs, and their Redis.
struct Programs {
    folder: PathBuf,
    server: Server,
}

impl Programs {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.env("REDIS_URL", self.server.url()).stdin(Stdio::null());
        command
    }

    fn worker(&self) -> miette::Result<Killed> {
        let mut worker = self.command("redcall-worker");
        worker.env("REDCALL__JOBS__COUNT__HANDLER", "builtin:count");
        worker.env("REDCALL__LOG__LEVEL", "error");
        Killed::start(&mut worker)
    }

    fn reader(&self, args: &[&str]) -> miette::Result<Reader> {
        let mut reader = self.command("redcall");
        let mut reader = Killed::start(reader.args(args).stdout(Stdio::piped()))?;
        let stdout =
            reader.child.stdout.take().ok_or_else(|| miette!("the process has no output"))?;
        Ok(Reader { program: reader, lines: BufReader::new(stdout).lines() })
    }

    /// Returns the most frames, and bytes, at `key` without a reader.
    fn unread(&self, key: &str) -> miette::Result<(u64, u64)> {
        let (since, mut max) = (Instant::now(), (0, 0));
        while since.elapsed() < STOPS_FOR {
            let reply =
                self.server.run(&format!("LLEN {key}\r\nMEMORY USAGE {key} SAMPLES 0\r\n"))?;
            let mut numbers =
                reply.lines().filter_map(|line| line.strip_prefix(':')?.parse::<u64>().ok());
            let (Some(frames), Some(bytes)) = (numbers.next(), numbers.next()) else {
                return Err(miette!("the stream is gone: {reply}"));
            };
            max = (frames.max(max.0), bytes.max(max.1));
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(max)
    }
}

/// A program that prints the parts that it reads. Killed when dropped.
struct Reader {
    program: Killed,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    /// Reads the parts of these numbers, in order.
    fn reads(&mut self, numbers: std::ops::RangeInclusive<u64>) -> miette::Result<()> {
        for number in numbers {
            match self.lines.next() {
                Some(line) => check(&line.into_diagnostic()?, number)?,
                None => return Err(miette!("part {number} is missing")),
            }
        }
        Ok(())
    }

    /// Reads the rest of a killed reader's output, from this number on; returns the last number.
    fn rest(&mut self, mut number: u64) -> miette::Result<u64> {
        for line in self.lines.by_ref() {
            let line = line.into_diagnostic()?;
            // It may have been killed in the midst of a line.
            if line.ends_with('}') {
                check(&line, number)?;
                number += 1;
            }
        }
        Ok(number - 1)
    }

    /// Reads the answer, and nothing after it.
    fn ends(&mut self) -> miette::Result<()> {
        let answer = self.lines.next().transpose().into_diagnostic()?;
        let more = self.lines.next();
        let expected = format!(r#"{{"result":{PARTS}}}"#);
        if answer != Some(expected) || more.is_some() {
            return Err(miette!("not the answer at the end: {answer:?}"));
        }
        let ended = self.program.child.wait().into_diagnostic()?;
        if ended.success() { Ok(()) } else { Err(miette!("the reader ended with {ended}")) }
    }
}

fn check(line: &str, number: u64) -> miette::Result<()> {
    let expected = format!(r#"{{"chunk":"{number:0>SIZE$}"}}"#);
    if line == expected { Ok(()) } else { Err(miette!("not part {number}: {line}")) }
}
