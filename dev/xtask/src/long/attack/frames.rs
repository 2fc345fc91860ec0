//! Forged frames: an attacker with write access to Redis but without a key writes answers to the
//! response keys of callers, and control messages to the worker's channel.

use std::time::{Duration, Instant};

use super::run::Run;
use super::stage::calls::{CALLERS, id_of};
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};

/// How long before a caller's next call: they call every 100 ms.
const PACE: Duration = Duration::from_millis(100);
/// How many calls ahead of a caller there are frames.
const AHEAD: usize = 4;

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(8));
    let name = "forged frames, signed calls";
    if run.wants(name) {
        let rig = Rig::start(&run.worker, &Setup { signed: true, ..Setup::default() })?;
        run.note(rig.with_callers(name, Bounds::default(), |rig| forge(rig, lasts))?);
    }
    let name = "forged control messages";
    if run.wants(name) {
        let rig = Rig::start(&run.worker, &Setup::default())?;
        run.note(rig.with_callers(name, Bounds::default(), |rig| command(rig, lasts))?);
    }
    Ok(())
}

/// Frames of the request `id`, none of which its worker has signed.
fn frames(id: &str, key: &str) -> [String; 4] {
    let start =
        format!(r#"{{"id":"{id}","response_key":"{key}","type":"result","seq":1,"attempt":1"#);
    let sig = "0".repeat(64);
    [
        format!(r#"{start},"data":"forged"}}"#),
        format!(r#"{start},"data":"forged","auth":{{"key":"web","sig":"{sig}"}}}}"#),
        format!(
            r#"{start},"data":"forged","auth":{{"key":"other","call":"{sig}","sig":"{sig}"}}}}"#
        ),
        "{\"type\":".to_owned(),
    ]
}

fn forge(rig: &Rig, lasts: Duration) -> miette::Result<Figures> {
    let (mut wire, since) = (rig.wire()?, Instant::now());
    let mut pushed = 0;
    while since.elapsed() < lasts {
        // The callers began half a second before.
        let reached = ((since.elapsed() + Duration::from_millis(500)).as_millis()
            / PACE.as_millis()) as usize;
        for caller in 0..CALLERS {
            for number in reached.saturating_sub(1)..reached + AHEAD {
                let id = id_of(caller, number);
                let key = rig.keys.response(&id);
                let frames = frames(&id, &key).map(String::into_bytes);
                wire.push(&key, &frames)?;
                wire.command(&["PEXPIRE", &key, "10000"])?;
                pushed += frames.len();
            }
        }
    }
    let rate = Some(pushed as f64 / since.elapsed().as_secs_f64());
    Ok(Figures { rate, note: format!("{pushed} forged"), ..Figures::default() })
}

/// Cancels, ends and pauses everything by messages without a record.
fn command(rig: &Rig, lasts: Duration) -> miette::Result<Figures> {
    let (mut wire, channel, since) = (rig.wire()?, rig.keys.control(), Instant::now());
    let mut sent = 0;
    while since.elapsed() < lasts {
        let reached = (since.elapsed().as_millis() / PACE.as_millis()) as usize;
        for caller in 0..CALLERS {
            let id = id_of(caller, reached + caller as usize % AHEAD);
            let junk = format!("cancel {}", "x ".repeat(4096));
            for message in [
                format!("cancel {id}"),
                format!("extend {id} 1"),
                "pause".to_owned(),
                "work".to_owned(),
                junk,
            ] {
                wire.command(&["SPUBLISH", &channel, &message])?;
                sent += 1;
            }
        }
    }
    let rate = Some(f64::from(sent) / since.elapsed().as_secs_f64());
    Ok(Figures { rate, note: format!("{sent} messages"), ..Figures::default() })
}
