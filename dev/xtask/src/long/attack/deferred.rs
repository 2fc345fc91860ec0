//! Floods of deferred answers: a process that sends `$/defer` endlessly, and handlers that defer
//! every request at once.

use std::time::{Duration, Instant};

use super::run::Run;
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};

/// Defers its first job over and over, a million times at most, and ends with its pipe.
const FLOOD: &str = r#"read -r line
echo '{"jsonrpc":"2.0","id":0,"result":null}'
read -r line
i=0
while [ $i -lt 1000000 ]; do
  echo '{"jsonrpc":"2.0","method":"$/defer","params":{"id":1,"data":"DATA"}}' || exit 0
  i=$((i + 1))
done
"#;

/// Defers each job and ends it.
const DEFER: &str = r#"read -r line
echo '{"jsonrpc":"2.0","id":0,"result":null}'
while read -r line; do
  case $line in *'$/'*) continue;; esac
  id=${line#*\"id\":}
  id=${id%%,*}
  params='{"id":'$id',"data":"soon","within_ms":60000}'
  echo '{"jsonrpc":"2.0","method":"$/defer","params":'"$params"'}'
  read -r token
  echo '{"jsonrpc":"2.0","id":'$id',"result":null}'
done
"#;

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(8));
    let flood = FLOOD.replace("DATA", &"x".repeat(1000));
    let cases = [("process defers without end", flood, 1), ("deferred flood", DEFER.to_owned(), 8)];
    for (name, script, instances) in cases {
        if !run.wants(name) {
            continue;
        }
        let script = serde_json::Value::from(script);
        // JSON's escapes of these texts are TOML's as well.
        let settings = format!(
            "[jobs.deferring]\nprocess = [\"sh\", \"-c\", {script}]\ninstances = {instances}\n"
        );
        let rig = Rig::start(&run.worker, &Setup { settings, ..Setup::default() })?;
        run.note(rig.with_callers(name, Bounds::default(), |rig| defer(rig, lasts, instances))?);
    }
    Ok(())
}

/// Calls the deferring job, once or as often as there is room.
fn defer(rig: &Rig, lasts: Duration, instances: usize) -> miette::Result<Figures> {
    let (mut wire, queue, since) = (rig.wire()?, rig.keys.queue(), Instant::now());
    let (mut pushed, max) = (0, if instances == 1 { 1 } else { 20_000 });
    while since.elapsed() < lasts {
        if pushed < max && wire.number(&["LLEN", &queue])? < 32 {
            let id = format!("d{pushed}");
            let key = rig.keys.response(&id);
            let request =
                format!(r#"{{"id":"{id}","response_key":"{key}","name":"deferring","data":1}}"#);
            wire.push(&queue, &[request.into_bytes()])?;
            pushed += 1;
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let deferred = wire.number(&["ZCARD", &rig.keys.deferred_ids()])?;
    let rate = (max > 1).then_some(deferred as f64 / since.elapsed().as_secs_f64());
    Ok(Figures { rate, note: format!("{deferred} deferred"), ..Figures::default() })
}
