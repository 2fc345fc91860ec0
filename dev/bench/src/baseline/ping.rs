//! F1: two processes play ping-pong through Redis.

use std::io;
use std::time::{Duration, Instant};

use super::wire::Wire;
use redcall_bench::{CallFigures, Times};

const THERE: &[u8] = b"baseline:there";
const BACK: &[u8] = b"baseline:back";
/// How long it may take until everything is warm.
const WARM: Duration = Duration::from_millis(200);

/// Calls with elements of `size` bytes until the time is over, with a pause before each.
pub(crate) fn call(
    address: &str,
    lasts: Duration,
    pause: Duration,
    size: usize,
) -> io::Result<CallFigures> {
    let element = vec![b'x'; size];
    let mut wire = Wire::connect(address)?;
    let mut round = || -> io::Result<Duration> {
        let began = Instant::now();
        wire.request(&[b"LPUSH", THERE, &element])?;
        wire.request(&[b"BLPOP", BACK, b"0"])?;
        Ok(began.elapsed())
    };
    let warm = Instant::now();
    for _ in 0..200 {
        round()?;
        // Large ones take long, and their first is as good as the next.
        if warm.elapsed() > WARM {
            break;
        }
    }
    let mut times = Times::new();
    let began = Instant::now();
    while began.elapsed() < lasts {
        std::thread::sleep(pause);
        times.note(round()?);
    }
    Ok(times.figures(0, began.elapsed()))
}

/// Answers with elements of `size` bytes until Redis ends.
pub(crate) fn answer(address: &str, size: usize) -> io::Result<()> {
    let element = vec![b'x'; size];
    let mut wire = Wire::connect(address)?;
    loop {
        wire.request(&[b"BLPOP", THERE, b"0"])?;
        wire.request(&[b"LPUSH", BACK, &element])?;
    }
}
