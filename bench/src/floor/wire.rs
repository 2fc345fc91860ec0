//! Commands and replies on one blocking socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// One connection.
pub(super) struct Wire {
    sending: Sending,
    receiving: Receiving,
}

/// Its way there.
pub(super) struct Sending {
    out: Vec<u8>,
    writer: TcpStream,
}

/// Its way back, which another thread may read.
pub(super) struct Receiving(BufReader<TcpStream>);

/// What Redis says.
#[derive(Debug)]
pub(super) enum Reply {
    /// A status, a number.
    Said,
    Nothing,
    Text(Vec<u8>),
    Many(Vec<Reply>),
}

impl Reply {
    /// Its last text: of a pop, the element.
    pub(super) fn text(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Many(replies) => replies.into_iter().next_back()?.text(),
            Self::Said | Self::Nothing => None,
        }
    }
}

impl Wire {
    pub(super) fn connect(address: &str) -> io::Result<Self> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        let reader = BufReader::with_capacity(64 << 10, writer.try_clone()?);
        let sending = Sending { out: Vec::new(), writer };
        Ok(Self { sending, receiving: Receiving(reader) })
    }

    pub(super) fn split(self) -> (Sending, Receiving) {
        (self.sending, self.receiving)
    }

    pub(super) fn add(&mut self, command: &[&[u8]]) {
        self.sending.add(command);
    }

    pub(super) fn send(&mut self) -> io::Result<()> {
        self.sending.send()
    }

    pub(super) fn reply(&mut self) -> io::Result<Reply> {
        self.receiving.reply()
    }

    /// One command and what it brings.
    pub(super) fn ask(&mut self, command: &[&[u8]]) -> io::Result<Reply> {
        self.add(command);
        self.send()?;
        self.reply()
    }
}

impl Sending {
    pub(super) fn add(&mut self, command: &[&[u8]]) {
        encode(&mut self.out, command);
    }

    pub(super) fn send(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl Receiving {
    pub(super) fn reply(&mut self) -> io::Result<Reply> {
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
        b'+' | b':' => Ok(Reply::Said),
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
