//! A network with a delay: a TCP relay that passes every byte on a fixed time after its arrival, in
//! both directions, without a limit on the throughput.
//!
//! Each connection has two threads per direction: one reads and notes when its bytes are due, the
//! other waits and writes. So the delay does not reduce the throughput, but passing bytes on is
//! real work that takes its share of the CPUs: it is printed with the figures.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// The most chunks in flight, which bounds the memory of a connection.
const CHUNKS_IN_FLIGHT: usize = 1024;

/// Accepts connections until dropped; open ones end with one of their sides.
pub(crate) struct Relay {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// Passes on to `server`.
    pub(crate) fn start(server: &str, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let closing = Arc::new(AtomicBool::new(false));
        let (closed, server) = (closing.clone(), server.to_owned());
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                // If a client cannot be served, its connection ends.
                let _ = client.and_then(|client| connect(client, &server, delay));
            }
        });
        Ok(Self { address, closing, accepting: Some(accepting) })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Wakes it up.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(accepting)) = (woken, self.accepting.take()) {
            let _ = accepting.join();
        }
    }
}

fn connect(client: TcpStream, server: &str, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        to.set_nodelay(true)?;
        let (arrive, arrived) = sync_channel(CHUNKS_IN_FLIGHT);
        let (reading, end) = (from.try_clone()?, from.try_clone()?);
        let writing = to.try_clone()?;
        std::thread::spawn(move || read(reading, delay, &arrive));
        std::thread::spawn(move || {
            let written = write(&arrived, &writing);
            // One side has ended, or does not read any more.
            let _ = writing.shutdown(Shutdown::Write);
            if written.is_err() {
                let _ = end.shutdown(Shutdown::Both);
            }
        });
    }
    Ok(())
}

type Chunk = (Instant, Vec<u8>);

fn read(mut from: TcpStream, delay: Duration, arrive: &SyncSender<Chunk>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let chunk = (Instant::now() + delay, buffer[..count].to_vec());
        if arrive.send(chunk).is_err() {
            return;
        }
    }
}

fn write(arrived: &Receiver<Chunk>, mut to: &TcpStream) -> io::Result<()> {
    // Else a sleep may take 50 us longer. A system without it is only less exact.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let (mut waiting, mut out) = (VecDeque::new(), Vec::new());
    loop {
        let Some((due, _)) = waiting.front() else {
            let Ok(chunk) = arrived.recv() else { return Ok(()) };
            waiting.push_back(chunk);
            continue;
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Chunks that arrived meanwhile may be due as well: one write for all of them.
        while let Ok(chunk) = arrived.try_recv() {
            waiting.push_back(chunk);
        }
        let now = Instant::now();
        while let Some((_, bytes)) = waiting.pop_front_if(|(due, _)| *due <= now) {
            out.extend_from_slice(&bytes);
        }
        to.write_all(&out)?;
        out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes everything to one client.
    fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (from, _) = listener.accept().unwrap();
            let _ = io::copy(&mut &from, &mut &from);
        });
        address
    }

    #[test]
    fn everything_comes_late_and_all_at_once() {
        const DELAY: Duration = Duration::from_millis(20);
        const COUNT: u32 = 20_000;
        let relay = Relay::start(&echo(), DELAY).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        client.set_nodelay(true).unwrap();
        let mut reading = client.try_clone().unwrap();
        let mut first = [0; 4];
        let began = Instant::now();
        client.write_all(&0_u32.to_be_bytes()).unwrap();
        reading.read_exact(&mut first).unwrap();
        assert!(began.elapsed() >= 2 * DELAY);
        let sending = std::thread::spawn(move || {
            for number in 0..COUNT {
                client.write_all(&number.to_be_bytes()).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        // To the end, which comes through as well.
        reading.read_to_end(&mut received).unwrap();
        sending.join().unwrap();
        let numbers = received.chunks(4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        assert!(numbers.eq(0..COUNT));
        // One after the other they would take 800 s.
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
