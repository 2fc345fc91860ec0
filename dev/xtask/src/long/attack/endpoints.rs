//! Hostile HTTP endpoints: floods of chunks and 1xx responses, heads and bodies without end,
//! answers that nest too deep, and silence.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use miette::IntoDiagnostic as _;

use super::children::measure;
use super::run::Run;
use super::stage::rig::{Rig, Setup};
use super::stage::row::Bounds;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The bytes that an endpoint sends: first once, then repeatedly.
struct Endpoint {
    name: &'static str,
    head: &'static str,
    piece: &'static str,
    /// Sends a piece at a time, each in a packet of its own.
    is_dripping: bool,
}

const fn endpoint(name: &'static str, head: &'static str, piece: &'static str) -> Endpoint {
    Endpoint { name, head, piece, is_dripping: false }
}

const ENDPOINTS: &[Endpoint] = &[
    endpoint("endpoint floods one-byte chunks", CHUNKED, "1\r\n1\r\n"),
    Endpoint { is_dripping: true, ..endpoint("endpoint drips chunks", CHUNKED, "1\r\n1\r\n") },
    endpoint("endpoint floods 100 Continue", "", "HTTP/1.1 100 Continue\r\n\r\n"),
    endpoint("endpoint sends a head without end", "HTTP/1.1 200 OK\r\nx: ", "y"),
    endpoint("endpoint sends a body without end", CHUNKED, "10\r\n0123456789012345\r\n"),
    endpoint("endpoint nests without end", CHUNKED, "10\r\n[[[[[[[[[[[[[[[[\r\n"),
    endpoint("endpoint is silent", "", ""),
];

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(6));
    for endpoint in ENDPOINTS {
        if !run.wants(endpoint.name) {
            continue;
        }
        let served = Served::start(endpoint)?;
        let settings = format!(
            "[jobs.hostile]\nhttp = {{ method = \"POST\", url = \"{}\" }}\ntimeout = \"2s\"\n",
            served.url
        );
        let rig = Rig::start(&run.worker, &Setup { settings, ..Setup::default() })?;
        run.note(rig.with_callers(endpoint.name, Bounds::default(), |rig| {
            measure(rig, "hostile", lasts)
        })?);
    }
    Ok(())
}

/// A server of one endpoint. Ends with this.
struct Served {
    url: String,
    stop: Arc<AtomicBool>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it.
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let _ = TcpStream::connect(address);
    }
}

impl Served {
    fn start(endpoint: &'static Endpoint) -> miette::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").into_diagnostic()?;
        let url = format!("http://{}/", listener.local_addr().into_diagnostic()?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::spawn(move || serve(stream, endpoint));
            }
        });
        Ok(Self { url, stop })
    }
}

/// Serves a connection until its peer closes it.
fn serve(mut stream: TcpStream, endpoint: &Endpoint) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(endpoint.head.as_bytes())?;
    if endpoint.piece.is_empty() {
        return stream.read(&mut [0]).map(drop);
    }
    let many = if endpoint.is_dripping { 1 } else { 4096 };
    let pieces = endpoint.piece.repeat(many);
    loop {
        stream.write_all(pieces.as_bytes())?;
    }
}
