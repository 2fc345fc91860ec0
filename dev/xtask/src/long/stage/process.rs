//! The memory and the processor time of a process, from `/proc`.

/// Resident memory now, and its peak since the start, MB; 0 if the process is gone.
pub(crate) fn memory(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kb = line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok());
        kb.unwrap_or_default() / 1000.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// How much processor time it has had, seconds.
pub(crate) fn time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    // A hundred a second, wherever Linux runs.
    ticks.sum::<f64>() / 100.0
}
