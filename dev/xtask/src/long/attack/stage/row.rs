//! The figures of one attack, and its bounds.

use std::fmt;

use super::calls::Outcomes;

/// The longest permitted script, ms.
const LONGEST_SCRIPT: f64 = 50.0;
/// By how much the worker may grow, MB.
const WORKER_GROWTH: f64 = 128.0;
/// The permitted growth of Redis, as a multiple of the pushed bytes; and in any case, MB.
const REDIS_FACTOR: f64 = 3.0;
const REDIS_SLACK: f64 = 24.0;

/// The figures that an attack itself reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// How many of its elements were done a second.
    pub(crate) rate: Option<f64>,
    /// How long ten that are pushed together took, ms.
    pub(crate) ten_ms: Option<f64>,
    /// How much was pushed, MB.
    pub(crate) pushed: Option<f64>,
    /// Further figures, as text.
    pub(crate) note: String,
    /// Bounds of its own that were missed, in words.
    pub(crate) missed: Vec<String>,
}

/// Bounds of an attack, besides that no legitimate call is lost and the worker continues.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// How many of its elements have to be done a second.
    pub(crate) rate: Option<f64>,
    /// It is beyond the guarantees: scripts may take long, and calls may be late.
    pub(crate) beyond: bool,
}

/// Memory of a process, MB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) before: f64,
    pub(crate) peak: f64,
    pub(crate) after: f64,
}

/// One attack.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) figures: Figures,
    /// The longest script, ms.
    pub(crate) script_ms: f64,
    pub(crate) calls: Outcomes,
    pub(crate) worker: Memory,
    pub(crate) redis: Memory,
    /// The size of the worker's log, MB.
    pub(crate) log: f64,
    /// How the worker ended, if it did.
    pub(crate) ended: Option<String>,
    /// The bounds that were missed, in words.
    pub(crate) missed: Vec<String>,
}

impl Row {
    /// The row with the bounds that it has missed.
    pub(crate) fn judged(mut self, bounds: Bounds) -> Self {
        let mut missed = std::mem::take(&mut self.figures.missed);
        let Figures { rate, ten_ms, pushed, .. } = self.figures;
        if let (Some(rate), Some(least)) = (rate, bounds.rate)
            && rate < least
        {
            missed.push(format!("{rate:.0} a second, {least:.0} are the bound"));
        }
        if let Some(ms) = ten_ms.filter(|ms| *ms > 100.0) {
            missed.push(format!("ten took {ms:.0} ms, 100 are the bound"));
        }
        if !bounds.beyond && self.script_ms > LONGEST_SCRIPT {
            missed.push(format!("a script took {:.0} ms, 50 are the bound", self.script_ms));
        }
        let grown = self.worker.peak - self.worker.before;
        if grown > WORKER_GROWTH {
            missed.push(format!("the worker grew by {grown:.0} MB, 128 are the bound"));
        }
        let grown = self.redis.peak - self.redis.before;
        if let Some(pushed) = pushed
            && grown > REDIS_FACTOR * pushed + REDIS_SLACK
        {
            missed.push(format!("Redis grew by {grown:.0} MB for {pushed:.0} MB pushed"));
        }
        let Outcomes { failed, late, unanswered, ref times, .. } = self.calls;
        if failed > 0 || unanswered > 0 || (late > 0 && !bounds.beyond) {
            let text = format!("{failed} calls failed, {late} were late, {unanswered} unanswered");
            missed.push(text);
        }
        if times.is_empty() {
            missed.push("no call was answered".to_owned());
        }
        if let Some(ended) = &self.ended {
            missed.push(format!("the worker ended: {ended}"));
        }
        self.missed = missed;
        self
    }
}

/// The names of the columns. Memory is before/peak/after, MB.
pub(crate) fn heading() -> String {
    format!(
        "{:<34} {:>8} {:>7} {:>9} {:>6} {:>8} {:>8} {:>14} {:>14} {:>17} {:>8}",
        "attack",
        "rate/s",
        "ten ms",
        "script ms",
        "calls",
        "p50 ms",
        "p99 ms",
        "bad/late/lost",
        "worker MB",
        "redis MB",
        "log MB"
    )
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |figure: Option<f64>| figure.map_or("-".to_owned(), |it| format!("{it:.0}"));
        let memory =
            |memory: Memory| format!("{:.0}/{:.0}/{:.0}", memory.before, memory.peak, memory.after);
        let Outcomes { failed, late, unanswered, ref times, refused, .. } = self.calls;
        write!(
            f,
            "{:<34} {:>8} {:>7} {:>9.1} {:>6} {:>8.2} {:>8.2} {:>14} {:>14} {:>17} {:>8.2}{}",
            self.name,
            optional(self.figures.rate),
            optional(self.figures.ten_ms),
            self.script_ms,
            times.len(),
            self.calls.quantile(0.5),
            self.calls.quantile(0.99),
            format!("{failed}/{late}/{unanswered}"),
            memory(self.worker),
            memory(self.redis),
            self.log,
            if self.missed.is_empty() { "" } else { "  MISSED" },
        )?;
        if refused > 0 {
            write!(f, "  {refused} pushes refused")?;
        }
        match self.figures.note.as_str() {
            "" => Ok(()),
            note => write!(f, "  {note}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl FnOnce(&mut Row)) -> Vec<String> {
        let calls = Outcomes { times: vec![1.0], ..Outcomes::default() };
        let mut row = Row { calls, ..Row::default() };
        change(&mut row);
        row.judged(Bounds { rate: Some(100.0), beyond: false }).missed
    }

    #[test]
    fn each_bound_can_be_missed() {
        assert_eq!(row(|_| {}), Vec::<String>::new());
        let missed = [
            row(|row| row.figures.rate = Some(99.0)),
            row(|row| row.figures.ten_ms = Some(101.0)),
            row(|row| row.script_ms = 51.0),
            row(|row| row.worker.peak = 129.0),
            row(|row| (row.figures.pushed, row.redis.peak) = (Some(10.0), 55.0)),
            row(|row| row.figures.missed.push("a bound of its own".to_owned())),
            row(|row| row.calls.failed = 1),
            row(|row| row.calls.late = 1),
            row(|row| row.calls.unanswered = 1),
            row(|row| row.calls.times.clear()),
            row(|row| row.ended = Some("exit status: 101".to_owned())),
        ];
        assert!(missed.iter().all(|missed| missed.len() == 1), "{missed:?}");
    }

    #[test]
    fn quantile_of_times_is_one_of_them() {
        let times = (1..=100).map(f64::from).collect();
        let calls = Outcomes { times, ..Outcomes::default() };
        assert_eq!((calls.quantile(0.5), calls.quantile(0.99)), (51.0, 100.0));
        assert!(Outcomes::default().quantile(0.5).is_nan());
    }
}
