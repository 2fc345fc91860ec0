//! Hostile children: processes and commands that flood their pipes, answer without end or too deep,
//! or do not read.

use std::time::{Duration, Instant};

use super::run::Run;
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};

/// How many run at once.
const AT_ONCE: usize = 2;

/// The pause before the next call of the job.
const PAUSE: Duration = Duration::from_millis(100);

/// The worker's own processor time, in cores, that a flood may add to the legitimate calls.
const MAX_CORES: f64 = 0.5;

/// A child: the name of its case, its kind, and its shell script.
struct Child {
    name: &'static str,
    is_process: bool,
    script: &'static str,
    /// `true` if the short run has it as well.
    short: bool,
}

const fn process(name: &'static str, script: &'static str) -> Child {
    Child { name, is_process: true, script, short: true }
}

const fn command(name: &'static str, script: &'static str) -> Child {
    Child { name, is_process: false, script, short: true }
}

const CHILDREN: &[Child] = &[
    process("process floods notifications", r#"exec yes '{"method":"$/log","params":[1]}'"#),
    process(
        "process floods progress",
        r#"exec yes '{"method":"$/progress","params":{"id":1,"data":1}}'"#,
    ),
    process("process floods blank bytes", r#"exec dd if=/dev/zero bs=1 2>/dev/null"#),
    process("process prints a line without end", r#"exec tr '\0' x < /dev/zero"#),
    process(
        "process answers too deep",
        r#"printf '{"id":1,"result":'
        head -c 2000000 /dev/zero | tr '\0' '['
        head -c 2000000 /dev/zero | tr '\0' ']'; echo '}'"#,
    ),
    Child { short: false, ..process("process dies at once", "exit 1") },
    command("command floods stderr", "exec yes >&2"),
    command("command prints byte by byte", "exec dd if=/dev/zero bs=1 2>/dev/null"),
    command("command prints without end", "exec yes"),
    command(
        "command answers too deep",
        "head -c 2000000 /dev/zero | tr '\\0' '['
         head -c 2000000 /dev/zero | tr '\\0' ']'",
    ),
    Child {
        short: false,
        ..command("command leaves others behind", "sleep 30 & sleep 30 & exec sleep 30")
    },
];

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(8));
    for child in CHILDREN {
        if !run.wants(child.name) || (run.args.short && !child.short) {
            continue;
        }
        let rig =
            Rig::start(&run.worker, &Setup { settings: settings(child), ..Setup::default() })?;
        run.note(
            rig.with_callers(child.name, Bounds::default(), |rig| measure(rig, "hostile", lasts))?,
        );
    }
    Ok(())
}

fn settings(child: &Child) -> String {
    let Child { is_process, script, .. } = child;
    let script = match is_process {
        true => format!("read -r l; echo '{{\"id\":0,\"result\":1}}'; read -r l; {script}"),
        false => (*script).to_owned(),
    };
    // JSON's escapes of these texts are TOML's as well.
    let script = serde_json::Value::from(script);
    let (kind, instances) = match is_process {
        true => ("process", format!("instances = {AT_ONCE}\n")),
        false => ("command", String::new()),
    };
    format!(
        "[jobs.hostile]\n{kind} = [\"sh\", \"-c\", {script}]\n{instances}\
         timeout = \"2s\"\nconcurrency = {AT_ONCE}\n"
    )
}

/// Keeps `AT_ONCE` calls of the job running, and measures the worker's own resources.
pub(super) fn measure(rig: &Rig, job: &str, lasts: Duration) -> miette::Result<Figures> {
    let (mut wire, queue, since) = (rig.wire()?, rig.keys.queue(), Instant::now());
    let (before, mut pushed, mut answered) = (rig.worker_time(), 0, 0);
    while since.elapsed() < lasts {
        if pushed - answered < AT_ONCE {
            let (id, key) = (format!("h{pushed}"), rig.keys.response(&format!("h{pushed}")));
            let request =
                format!(r#"{{"id":"{id}","response_key":"{key}","name":"{job}","data":1}}"#);
            wire.push(&queue, &[request.into_bytes()])?;
            pushed += 1;
            continue;
        }
        let key = rig.keys.response(&format!("h{answered}"));
        // Its last frame ends it.
        let last = wire.texts(&["LRANGE", &key, "-1", "-1"])?;
        let ended = |frame: &String| {
            frame.contains(r#""type":"error""#) || frame.contains(r#""type":"result""#)
        };
        match last.iter().any(ended) {
            true => {
                answered += 1;
                // The cost of a single call counts, not their number.
                std::thread::sleep(PAUSE);
            }
            false => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    let cores = (rig.worker_time() - before) / since.elapsed().as_secs_f64();
    let mut figures = Figures {
        note: format!("{answered} ended, the worker used {cores:.2} cores"),
        ..Figures::default()
    };
    if cores > MAX_CORES {
        figures.missed.push(format!("the worker used {cores:.2} cores, {MAX_CORES} are the bound"));
    }
    Ok(figures)
}
