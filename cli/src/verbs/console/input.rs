//! Reading lines from the line editor or stdin, each on a thread of its own; and the history file.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use redcall_client::Code;
use redcall_common::output;
use redcall_common::report::Problem;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter as _};
use tokio::sync::mpsc;

use super::complete::Tab;
use super::names::Names;
use super::print::Printer;
use redcall_common::failure::Failure;

const PROMPT: &str = "redcall> ";
/// Maximum lines in the history.
const HISTORY: usize = 1000;

/// The result of reading a line.
pub(super) enum Read {
    Line(String),
    /// A line that is not UTF-8.
    Broken,
    /// Ctrl-C: the line is discarded.
    Cleared,
    /// Ctrl-D, or the end of the script.
    End,
}

/// A source of lines. A line is read only on request, so that output between lines meets no prompt.
pub(super) struct Input {
    requests: mpsc::UnboundedSender<()>,
    lines: mpsc::Receiver<io::Result<Read>>,
}

impl Input {
    fn of(mut read: impl FnMut() -> io::Result<Read> + Send + 'static) -> Self {
        let (requests, mut requested) = mpsc::unbounded_channel();
        let (sender, lines) = mpsc::channel(1);
        // Not joined: at the end of the program it may be reading.
        std::thread::spawn(move || {
            while requested.blocking_recv().is_some() && sender.blocking_send(read()).is_ok() {}
        });
        Self { requests, lines }
    }

    /// Reads the next line.
    pub(super) async fn next(&mut self) -> io::Result<Read> {
        let _ = self.requests.send(());
        self.lines.recv().await.unwrap_or(Ok(Read::End))
    }
}

/// Reads lines from stdin.
pub(super) fn script() -> Input {
    Input::of(|| {
        let mut line = Vec::new();
        let is_end = io::stdin().lock().read_until(b'\n', &mut line)? == 0;
        Ok(match String::from_utf8(line) {
            _ if is_end => Read::End,
            Ok(line) => Read::Line(line),
            Err(_) => Read::Broken,
        })
    })
}

/// Reads lines from the terminal; returns the printer for output above the line.
pub(super) fn terminal(names: Names, keeps: bool) -> Result<(Input, Printer), Failure> {
    let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true);
    let config =
        config.max_history_size(HISTORY).and_then(|config| config.history_ignore_dups(true));
    let editor = config.and_then(|config| Editor::with_config(config.build()));
    let mut editor: Editor<Tab, FileHistory> = editor.map_err(|error| Failure::system(&error))?;
    editor.set_helper(Some(Tab(names)));
    let history = keeps.then(history_file).flatten();
    if let Some(file) = &history {
        // An unreadable history is replaced by an empty one.
        let _ = editor.load_history(file);
    }
    // A terminal without cursor movement cannot print above the line.
    let printer = match editor.create_external_printer() {
        Ok(mut printer) => Printer::editor(move |line| drop(printer.print(line))),
        Err(_) => Printer::editor(|line| drop(output::print(line))),
    };
    let read = move || match editor.readline(PROMPT) {
        Ok(line) => {
            let is_kept =
                !line.trim().is_empty() && editor.add_history_entry(&line).is_ok_and(|kept| kept);
            if let (true, Some(file)) = (is_kept, &history) {
                // Saved at once, since a session may end abruptly. A failure does not end the
                // session.
                let _ = editor.append_history(file);
            }
            Ok(Read::Line(line))
        }
        Err(ReadlineError::Interrupted) => Ok(Read::Cleared),
        Err(ReadlineError::Eof) => Ok(Read::End),
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Read::Broken)
        }
        Err(ReadlineError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    };
    Ok((Input::of(read), printer))
}

/// Returns the history file, readable by its user only; `None`, with a hint, if it cannot be
/// created.
fn history_file() -> Option<PathBuf> {
    let from = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = from("XDG_STATE_HOME").or_else(|| Some(from("HOME")?.join(".local/state")))?;
    let folder = folder.join("redcall");
    let file = folder.join("console-history");
    let create = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // Checks that it is writable; the editor restricts its permissions at each line.
        OpenOptions::new().append(true).create(true).mode(0o600).open(&file).map(drop)
    };
    match create() {
        Ok(()) => Some(file),
        Err(error) => {
            output::hint(format_args!("history disabled: {}: {error}", file.display()));
            None
        }
    }
}

/// The failure for a line that is not text.
pub(super) fn not_text() -> Failure {
    let problem = Problem::new("the line is not valid UTF-8 and was skipped");
    let problem = problem.help("Save the script as UTF-8.");
    Failure::of(problem, Code::InvalidRequest.as_str(), 2)
}
