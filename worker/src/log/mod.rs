//! The log of a program that runs a worker: to stderr, in the configured format.
//!
//! Logging never blocks a worker's thread. The thread that logs formats the line and puts it into a
//! bounded queue; another thread writes it. A line that does not fit, or that the sink refuses, is
//! dropped and counted. The log reports the number when it can be written again;
//! `redcall_log_lines_dropped_total` has it at any time. The end of the process waits for the last
//! lines, with a timeout.
//!
//! The crate `tracing-appender` does not fit: its queue is bounded in lines and not in bytes, it
//! does not count failed writes, and its end prints to standard output.
//!
//! | file | holds |
//! |---|---|
//! | `queue.rs` | the lines that wait |
//! | `writer.rs` | the thread that writes them |
//! | `repeats.rs` | repeated warnings, condensed |
//! | `text.rs`, `json.rs` | the two forms of a line |
//! | `plain.rs` | foreign text, which breaks no line |
//! | `panics.rs` | panics, as lines of the log |
//! | `dropped.rs` | the counter of dropped lines |

pub(crate) mod dropped;
mod json;
mod panics;
mod plain;
mod queue;
mod repeats;
mod text;
mod writer;

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use json::JsonLines;
use queue::Queue;
use repeats::{Condense, Repeats};
use text::TextFields;
use writer::Writer;

/// Longest line, bytes; a longer one is cut.
const LINE: usize = 64 << 10;
/// Timeout for the last lines at the end of the process.
const FLUSH: Duration = Duration::from_secs(1);

/// The log of this process. Dropping it waits until all lines have been written or dropped, for a
/// second at most.
#[must_use = "dropping it at the end of the program writes the last lines"]
#[derive(Default)]
pub struct LogGuard {
    /// `None` if another log was set up before.
    queue: Option<Arc<Queue>>,
    format: LogFormat,
}

impl LogGuard {
    /// Prints `text` between the lines of the log, such as an error at the start: as it is, or as a
    /// line if the format is JSON.
    pub fn print(&self, text: &str) {
        let text = text.trim_end();
        let Some(queue) = &self.queue else { return redcall_common::output::hint(text) };
        let line = match self.format {
            LogFormat::Text => text.to_owned(),
            LogFormat::Json => json::Line::of("ERROR", module_path!()).message(text).text(),
        };
        queue.push(format!("{line}\n").as_bytes());
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.flush(FLUSH);
        }
    }
}

/// Sends the program's log, including messages of panics, to stderr. Does nothing if a log is set
/// up already.
///
/// Logging never blocks: lines that stderr does not accept in time are dropped and counted. Neither
/// a full disk nor a limit on the size of files (`SIGXFSZ`) ends the process.
pub fn init_log(settings: &LogSettings) -> LogGuard {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (queue, repeats) = (Arc::new(Queue::default()), Arc::new(Repeats::default()));
    let lines = LineSink { queue: queue.clone(), format: settings.format };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    // Its own errors would go to stderr directly.
    let builder = builder.with_ansi(io::stderr().is_terminal()).log_internal_errors(false);
    let condense = Condense { repeats: repeats.clone(), queue: queue.clone() };
    let set_up = match settings.format {
        LogFormat::Text => builder.fmt_fields(TextFields).finish().with(condense).try_init(),
        LogFormat::Json => {
            let builder = builder.fmt_fields(JsonFields::new()).event_format(JsonLines);
            builder.finish().with(condense).try_init()
        }
    };
    if set_up.is_err() {
        return LogGuard::default();
    }
    // Without a writer, the queue fills up and counts.
    if let Err(error) = start(&queue, repeats) {
        redcall_common::output::hint(format!("cannot write the log: {error}"));
    }
    panics::log();
    LogGuard { queue: Some(queue), format: settings.format }
}

/// Starts the thread that writes.
fn start(queue: &Arc<Queue>, repeats: Arc<Repeats>) -> io::Result<()> {
    // Without it, only a size limit ends the process.
    let _ = redcall_common::output::outlive_size_limit();
    // A descriptor of its own: a blocked write must not hold the lock of the process's stderr.
    let sink = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let writer = Writer::new(queue.clone(), repeats, sink);
    std::thread::Builder::new().name("redcall-log".into()).spawn(move || writer.run())?;
    Ok(())
}

/// Receives the lines of the formatter.
struct LineSink {
    queue: Arc<Queue>,
    format: LogFormat,
}

impl<'a> MakeWriter<'a> for LineSink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &LineSink {
    /// Receives a whole line: the formatter writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.len() > LINE {
            true => self.queue.push(cut(line, self.format).as_bytes()),
            false => self.queue.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the beginning of a line that is too long; in JSON, still an object.
fn cut(line: &[u8], format: LogFormat) -> String {
    let length = line.len();
    match format {
        LogFormat::Text => {
            let begin = String::from_utf8_lossy(&line[..LINE]);
            format!("{begin}… ({length} bytes, cut)\n")
        }
        LogFormat::Json => {
            // Escaping makes it longer.
            let begin = String::from_utf8_lossy(&line[..LINE / 4]);
            let message = format!("a line of {length} bytes was cut");
            format!("{}\n", serde_json::json!({ "message": message, "begin": begin }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_that_is_too_long_is_cut_and_stays_one_line() {
        let line = ["ü".repeat(LINE), "\n".to_owned()].concat();
        for format in [LogFormat::Text, LogFormat::Json] {
            let short = cut(line.as_bytes(), format);
            assert!(short.len() < LINE + 100, "{}", short.len());
            assert!(short.ends_with('\n') && short.lines().count() == 1, "{short}");
            assert!(short.contains(&format!("{} bytes", line.len())), "{short}");
        }
        let json = cut(line.as_bytes(), LogFormat::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["begin"].as_str().unwrap().starts_with('ü'));
    }
}
