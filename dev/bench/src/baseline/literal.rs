//! F2: the least commands that a safe call needs, pipelined.
//!
//! RPUSH of the request; LMOVE to a list of the worker's own; RPUSH and PEXPIRE of the answer at
//! the request's own key; LREM from the worker's list; BLPOP of the answer. No fencing and no
//! heartbeats: with less, a job or an answer could be lost.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::wire::{Receiving, Wire};
use redcall_bench::{CallFigures, Times};

const QUEUE: &[u8] = b"baseline:queue";
const OWN: &[u8] = b"baseline:own";
/// The most commands in flight, as in a batch.
const BATCH: usize = 64;
/// The text between a request's id and the id in its response key.
const REST: &str = r#","name":"add","data":{"a":1,"b":2},"response_key":"baseline:response:"#;

/// Keeps `callers` calls in flight until the time is over.
pub(crate) fn call(address: &str, callers: usize, lasts: Duration) -> io::Result<CallFigures> {
    let mut pushes = Wire::connect(address)?;
    let (mut pops, popped) = Wire::connect(address)?.split();
    let (answered, answers) = mpsc::channel();
    let reader = std::thread::spawn(move || read(popped, &answered));
    let mut times = Times::new();
    let mut begun = std::collections::VecDeque::with_capacity(callers);
    let (mut number, mut free) = (0_u64, callers);
    let began = Instant::now();
    let warm = began + lasts / 5;
    let mut counted_from = None;
    loop {
        let now = Instant::now();
        if now >= began + lasts {
            break;
        }
        while free > 0 {
            let batch = free.min(BATCH);
            for _ in 0..batch {
                number += 1;
                let id = format!("{number:032}");
                let request = format!(r#"{{"id":"{id}"{REST}{id}"}}"#);
                pushes.add(&[b"RPUSH", QUEUE, request.as_bytes()]);
                pops.add(&[b"BLPOP", format!("baseline:response:{id}").as_bytes(), b"0"]);
                begun.push_back(Instant::now());
            }
            pushes.send()?;
            for _ in 0..batch {
                pushes.reply()?;
            }
            pops.send()?;
            free -= batch;
        }
        // Waits for the first, then takes all that have arrived.
        let first = answers.recv().map_err(io::Error::other)?;
        for at in std::iter::once(first).chain(answers.try_iter()) {
            let since: Instant = begun.pop_front().unwrap_or(at);
            if at >= warm {
                counted_from.get_or_insert(at);
                times.note(at.duration_since(since));
            }
            free += 1;
        }
    }
    let took = counted_from.map_or(lasts, |from| from.elapsed());
    drop(reader);
    Ok(times.figures(0, took))
}

/// Reports when each answer arrived.
fn read(mut from: Receiving, answered: &mpsc::Sender<Instant>) {
    while from.reply().is_ok() {
        if answered.send(Instant::now()).is_err() {
            return;
        }
    }
}

/// Answers until Redis ends.
pub(crate) fn answer(address: &str) -> io::Result<()> {
    let mut wire = Wire::connect(address)?;
    let mut requests = Vec::new();
    loop {
        if requests.is_empty() {
            let request = wire.request(&[b"BLMOVE", QUEUE, OWN, b"LEFT", b"RIGHT", b"0"])?;
            requests.extend(request.text());
        }
        for request in &requests {
            let text = String::from_utf8_lossy(request);
            let id = text.get(7..39).unwrap_or_default();
            let key = format!("baseline:response:{id}");
            let answer = format!(r#"{{"id":"{id}","type":"result","data":{{"answer":3}}}}"#);
            wire.add(&[b"RPUSH", key.as_bytes(), answer.as_bytes()]);
            wire.add(&[b"PEXPIRE", key.as_bytes(), b"60000"]);
            wire.add(&[b"LREM", OWN, b"1", request]);
        }
        for _ in 0..BATCH {
            wire.add(&[b"LMOVE", QUEUE, OWN, b"LEFT", b"RIGHT"]);
        }
        wire.send()?;
        for _ in 0..3 * requests.len() {
            wire.reply()?;
        }
        requests.clear();
        for _ in 0..BATCH {
            requests.extend(wire.reply()?.text());
        }
    }
}
