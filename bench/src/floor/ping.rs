//! F1: two processes play ping-pong through Redis.

use std::io;
use std::time::{Duration, Instant};

use super::wire::Wire;
use redcall_bench::{CallFigures, Times};

const THERE: &[u8] = b"floor:there";
const BACK: &[u8] = b"floor:back";
/// As long as the request of a call that does the same.
const ELEMENT: &[u8] = &[b'x'; 200];

/// Calls for so long, with a pause before each.
pub(crate) fn call(address: &str, lasts: Duration, pause: Duration) -> io::Result<CallFigures> {
    let mut wire = Wire::connect(address)?;
    let mut round = || -> io::Result<Duration> {
        let began = Instant::now();
        wire.ask(&[b"LPUSH", THERE, ELEMENT])?;
        wire.ask(&[b"BLPOP", BACK, b"0"])?;
        Ok(began.elapsed())
    };
    for _ in 0..200 {
        round()?;
    }
    let mut times = Times::new();
    let began = Instant::now();
    while began.elapsed() < lasts {
        std::thread::sleep(pause);
        times.note(round()?);
    }
    Ok(times.figures(0, began.elapsed()))
}

/// Answers until Redis ends.
pub(crate) fn answer(address: &str) -> io::Result<()> {
    let mut wire = Wire::connect(address)?;
    loop {
        wire.ask(&[b"BLPOP", THERE, b"0"])?;
        wire.ask(&[b"LPUSH", BACK, ELEMENT])?;
    }
}
