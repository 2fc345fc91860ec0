//! Commands to the private server, on its own socket, past every fault and past the store.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one command and returns the reply as text. Arrays are not read.
pub(super) async fn order(socket: &Path, words: &[&str]) -> io::Result<String> {
    timeout(PATIENCE, request(socket, words)).await?
}

async fn request(socket: &Path, words: &[&str]) -> io::Result<String> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    let count = words.len();
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    stream.write_all(format!("*{count}\r\n{words}").as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("-", error)) => Err(io::Error::other(error.to_owned())),
        Some(("$", length)) => {
            let mut text = vec![0; length.parse().unwrap_or(0)];
            stream.read_exact(&mut text).await?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        Some((_, reply)) => Ok(reply.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
