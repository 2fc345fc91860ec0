//! A connection to Redis, past the store: its commands block, and its values are of any size.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use miette::{IntoDiagnostic as _, miette};

use super::server::PATIENCE;

/// A reply of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A number.
    Number(i64),
    /// A text, or a status.
    Text(Vec<u8>),
    /// Nothing.
    Nil,
    /// Several replies.
    All(Vec<Reply>),
    /// An error: the command has had no effect.
    Error(String),
}

/// One connection.
pub(crate) struct Wire(BufReader<UnixStream>);

impl Wire {
    pub(crate) fn connect(socket: &Path) -> miette::Result<Self> {
        let stream = UnixStream::connect(socket).into_diagnostic()?;
        stream.set_read_timeout(Some(PATIENCE)).into_diagnostic()?;
        stream.set_write_timeout(Some(PATIENCE)).into_diagnostic()?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one command and reads its reply.
    pub(crate) fn request(&mut self, words: &[&[u8]]) -> miette::Result<Reply> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&command).into_diagnostic()?;
        self.read()
    }

    /// The same with texts; an error of Redis is one here, too.
    pub(crate) fn command(&mut self, words: &[&str]) -> miette::Result<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        match self.request(&words)? {
            Reply::Error(error) => Err(miette!("Redis refuses: {error}")),
            reply => Ok(reply),
        }
    }

    /// A number; 0 if the reply is something else.
    pub(crate) fn number(&mut self, words: &[&str]) -> miette::Result<i64> {
        Ok(match self.command(words)? {
            Reply::Number(number) => number,
            Reply::Text(_) | Reply::Nil | Reply::All(_) | Reply::Error(_) => 0,
        })
    }

    /// Texts of an array.
    pub(crate) fn texts(&mut self, words: &[&str]) -> miette::Result<Vec<String>> {
        let Reply::All(all) = self.command(words)? else { return Ok(Vec::new()) };
        Ok(all.iter().filter_map(Reply::text).collect())
    }

    /// Pushes elements at the tail of a list.
    pub(crate) fn push(&mut self, key: &str, elements: &[Vec<u8>]) -> miette::Result<()> {
        let mut words: Vec<&[u8]> = vec![b"RPUSH", key.as_bytes()];
        words.extend(elements.iter().map(Vec::as_slice));
        match self.request(&words)? {
            Reply::Error(error) => Err(miette!("Redis refuses a push: {error}")),
            _ => Ok(()),
        }
    }

    fn read(&mut self) -> miette::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).into_diagnostic()?;
        let line = line.trim_end();
        let Some((kind, rest)) = line.split_at_checked(1) else {
            return Err(miette!("Redis has closed the connection"));
        };
        let count = || rest.parse::<i64>().into_diagnostic();
        Ok(match kind {
            "+" => Reply::Text(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(count()?),
            "$" => match usize::try_from(count()?) {
                Err(_) => Reply::Nil,
                Ok(length) => {
                    let mut text = vec![0; length + 2];
                    self.0.read_exact(&mut text).into_diagnostic()?;
                    text.truncate(length);
                    Reply::Text(text)
                }
            },
            "*" => match usize::try_from(count()?) {
                Err(_) => Reply::Nil,
                Ok(count) => {
                    let all: miette::Result<Vec<Reply>> = (0..count).map(|_| self.read()).collect();
                    Reply::All(all?)
                }
            },
            other => return Err(miette!("Redis begins a reply with `{other}`")),
        })
    }
}

impl Reply {
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Self::Number(_) | Self::Nil | Self::All(_) | Self::Error(_) => None,
        }
    }
}
