//! A reader of lists with plain commands, past Redcall and past every fault.

use std::io;
use std::path::Path;

use redis::Client;

/// Reads from the server at a Unix socket. Each read opens a connection and returns errors: the
/// server may be down.
pub struct RawReader(Client);

impl RawReader {
    /// Does not connect yet.
    ///
    /// # Errors
    ///
    /// When the path cannot be one of a socket.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let client = Client::open(format!("unix://{}", socket.display()));
        client.map(Self).map_err(io::Error::other)
    }

    /// The lists at `keys`, in their order; an empty one where there is none.
    ///
    /// # Errors
    ///
    /// If the server is down, or a key has another type than list.
    pub async fn lists(&self, keys: &[&str]) -> io::Result<Vec<Vec<String>>> {
        let mut commands = redis::pipe();
        for key in keys {
            commands.lrange(*key, 0, -1);
        }
        let read = async {
            let mut connection = self.0.get_multiplexed_async_connection().await?;
            commands.query_async(&mut connection).await
        };
        read.await.map_err(io::Error::other)
    }
}
