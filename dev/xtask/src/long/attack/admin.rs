//! Mute connections to the worker's probes, and a crowd of scrapers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use miette::IntoDiagnostic as _;

use super::run::Run;
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};

/// How many mute connections there are at any time, and how many scrapers.
const MUTE: usize = 400;
const SCRAPERS: usize = 32;
/// How long a probe may take: Kubernetes gives it a second.
const PROBE: Duration = Duration::from_secs(1);
/// How many commands a second the scrapes may cost Redis.
const COMMANDS: f64 = 100.0;

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(8));
    for (name, mute, scrapers) in [
        ("mute admin connections", MUTE, 0),
        ("scrapers of /metrics", 0, SCRAPERS),
        ("mute connections and scrapers", MUTE, SCRAPERS),
    ] {
        if !run.wants(name) {
            continue;
        }
        // The address of a listener that has just gone is free.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.into_diagnostic()?;
        let settings = format!("[admin]\nlisten = \"{address}\"\n");
        let rig = Rig::start(&run.worker, &Setup { settings, ..Setup::default() })?;
        run.note(rig.with_callers(name, Bounds::default(), |rig| {
            crowd(rig, address, mute, scrapers, lasts)
        })?);
    }
    Ok(())
}

/// Probes the worker during these.
fn crowd(
    rig: &Rig,
    address: SocketAddr,
    mute: usize,
    scrapers: usize,
    lasts: Duration,
) -> miette::Result<Figures> {
    let (stop, scraped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut threads = Vec::new();
    for _ in 0..mute {
        let stop = stop.clone();
        threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut stream) = TcpStream::connect(address) else { continue };
                let _ = stream.set_read_timeout(Some(PROBE));
                let _ = stream.read(&mut [0]);
            }
        }));
    }
    for _ in 0..scrapers {
        let (stop, scraped) = (stop.clone(), scraped.clone());
        threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let took = get(address, "/metrics").is_ok();
                scraped.fetch_add(u64::from(took), Ordering::Relaxed);
            }
        }));
    }
    let mut wire = rig.wire()?;
    let mut reads = || -> miette::Result<f64> {
        let stats = wire.command(&["INFO", "commandstats"])?.text().unwrap_or_default();
        // One a queue and scrape: workers use it as well, a few times a second.
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_hvals:calls="));
        let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
        Ok(calls.unwrap_or(0.0))
    };
    let (before, since) = (reads()?, Instant::now());
    let (mut probes, mut failed, mut longest) = (0, 0, Duration::ZERO);
    while since.elapsed() < lasts {
        for path in ["/live", "/ready"] {
            let begun = Instant::now();
            let is_well = get(address, path).is_ok_and(|text| text.starts_with("HTTP/1.1 200"));
            longest = longest.max(begun.elapsed());
            (probes, failed) = (probes + 1, failed + u32::from(!is_well));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let seconds = since.elapsed().as_secs_f64();
    let reads = (reads()? - before) / seconds;
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    let rate = (scrapers > 0).then(|| scraped.load(Ordering::Relaxed) as f64 / seconds);
    let mut missed = Vec::new();
    if failed > 0 || longest > PROBE {
        missed.push(format!("{failed} of {probes} probes failed, the longest took {longest:?}"));
    }
    if reads > COMMANDS {
        missed.push(format!(
            "scrapes read Redis {reads:.0} times a second, {COMMANDS} are the bound"
        ));
    }
    let note = format!("{probes} probes within {longest:.0?}, {reads:.0} reads a second");
    Ok(Figures { rate, note, missed, ..Figures::default() })
}

/// Returns the answer, within the time of a probe.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE)?;
    stream.set_read_timeout(Some(PROBE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
