//! Commands and replies on one blocking socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// One connection.
pub(crate) struct Wire {
    sending: Sending,
    receiving: Receiving,
}

/// Its way there.
pub(crate) struct Sending {
    out: Vec<u8>,
    writer: TcpStream,
}

/// Its way back, which another thread may read.
pub(crate) struct Receiving(BufReader<TcpStream>);

/// A reply of Redis.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A status.
    Status,
    Number(i64),
    Nothing,
    Text(Vec<u8>),
    Many(Vec<Reply>),
}

impl Reply {
    /// Its last text: of a pop, the element.
    pub(crate) fn text(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Many(replies) => replies.into_iter().next_back()?.text(),
            Self::Status | Self::Number(_) | Self::Nothing => None,
        }
    }

    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// How many bytes its texts have in all.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Many(replies) => replies.iter().map(Self::length).sum(),
            Self::Status | Self::Number(_) | Self::Nothing => 0,
        }
    }
}

impl Wire {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        let reader = BufReader::with_capacity(64 << 10, writer.try_clone()?);
        let sending = Sending { out: Vec::new(), writer };
        Ok(Self { sending, receiving: Receiving(reader) })
    }

    pub(crate) fn split(self) -> (Sending, Receiving) {
        (self.sending, self.receiving)
    }

    pub(crate) fn add(&mut self, command: &[&[u8]]) {
        self.sending.add(command);
    }

    pub(crate) fn send(&mut self) -> io::Result<()> {
        self.sending.send()
    }

    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        self.receiving.reply()
    }

    /// Sends one command and returns its reply.
    pub(crate) fn request(&mut self, command: &[&[u8]]) -> io::Result<Reply> {
        self.add(command);
        self.send()?;
        self.reply()
    }
}

impl Sending {
    pub(crate) fn add(&mut self, command: &[&[u8]]) {
        encode(&mut self.out, command);
    }

    pub(crate) fn send(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl Receiving {
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        read(&mut self.0)
    }
}

fn encode(out: &mut Vec<u8>, command: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for part in command {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn read(from: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let mut line = Vec::with_capacity(32);
    if from.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = line.get(1..).unwrap_or_default().trim_ascii_end();
    let number = || -> io::Result<i64> {
        let text = std::str::from_utf8(text).map_err(io::Error::other)?;
        text.parse().map_err(io::Error::other)
    };
    match line[0] {
        b'+' => Ok(Reply::Status),
        b':' => number().map(Reply::Number),
        b'$' => {
            let Ok(size) = usize::try_from(number()?) else { return Ok(Reply::Nothing) };
            let mut bytes = vec![0; size + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(size);
            Ok(Reply::Text(bytes))
        }
        b'*' => {
            let Ok(count) = usize::try_from(number()?) else { return Ok(Reply::Nothing) };
            (0..count).map(|_| read(from)).collect::<io::Result<_>>().map(Reply::Many)
        }
        _ => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
    }
}
