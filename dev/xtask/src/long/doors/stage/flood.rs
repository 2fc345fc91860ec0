//! Connections that send hostile bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use miette::{IntoDiagnostic as _, miette};

/// Connections that are open as long as this.
pub(crate) type Held = Vec<TcpStream>;

/// How long a connection may stay open that costs nothing.
const STAYS: Duration = Duration::from_secs(2);
/// After this without progress, the gateway takes no more from a connection.
const BLOCKED: Duration = Duration::from_secs(2);

fn connect(address: &str) -> miette::Result<TcpStream> {
    let stream = TcpStream::connect(address).into_diagnostic()?;
    stream.set_read_timeout(Some(STAYS)).into_diagnostic()?;
    stream.set_write_timeout(Some(BLOCKED)).into_diagnostic()?;
    Ok(stream)
}

/// Sends these bytes and nothing more, and reads until the gateway closes, or for a while.
pub(crate) fn send(address: &str, bytes: &[u8]) -> miette::Result<()> {
    let mut stream = connect(address)?;
    let mut reading = stream.try_clone().into_diagnostic()?;
    // In parallel with the writes: the gateway stops reading when its answers pile up.
    let reader = std::thread::spawn(move || {
        let mut sink = [0; 65_536];
        while let Ok(1..) = reading.read(&mut sink) {}
    });
    // The gateway may have closed the connection at an earlier part.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let _ = reader.join();
    Ok(())
}

/// Opens `count` connections that send these bytes, and stay without reading.
pub(crate) fn hold(address: &str, bytes: &[u8], count: usize) -> miette::Result<Held> {
    let open = |_| {
        let mut stream = connect(address)?;
        let _ = stream.write_all(bytes);
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// Opens `count` connections that send `begin`, and then `request` as often as the gateway takes
/// it, up to `max` times; they read nothing.
pub(crate) fn unread(
    address: &str,
    begin: &[u8],
    request: &[u8],
    max: usize,
    count: usize,
) -> miette::Result<Held> {
    let open = || {
        let mut stream = connect(address)?;
        let mut taken = stream.write_all(begin).is_ok();
        for _ in 0..max {
            taken = taken && stream.write_all(request).is_ok();
        }
        Ok(stream)
    };
    std::thread::scope(|scope| {
        let opened: Vec<_> = (0..count).map(|_| scope.spawn(open)).collect();
        let joined = opened.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|one| one.map_err(|_| miette!("a sender has panicked"))?).collect()
    })
}
