//! The second part: the gateway's memory before, at the peak and after hostile inputs.

use std::fmt;

use super::calls::{client, ready};
use super::stage::place::Place;
use super::stage::protocol::Protocol;
use super::stage::rig::Rig;
use crate::long::stage::process::memory;

pub(super) const HEADING: &str =
    "protocol   RSS of the gateway, MB: before    peak   after | growth, bound";

/// The memory of a gateway with the doors of one protocol, MB.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    before: f64,
    peak: f64,
    after: f64,
    bound: f64,
}

/// Runs the hostile inputs of a protocol; a client calls before and after.
pub(super) fn run(place: &Place, protocol: &Protocol) -> miette::Result<Row> {
    let rig = Rig::start(place, protocol.settings)?;
    let case = protocol.cases[0].0;
    let mut client = client(place, protocol, case, &(protocol.address)(&rig)?)?;
    ready(&mut client)?;
    let (before, _) = memory(rig.gateway());
    let held = (protocol.attack)(place, &rig)?;
    // The same connection goes on, while the hostile ones are open.
    client.send("0 1")?;
    client.line()?;
    drop(held);
    client.send("1 1")?;
    client.line()?;
    let (after, peak) = memory(rig.gateway());
    Ok(Row { name: protocol.name, before, peak, after, bound: protocol.bound })
}

impl Row {
    fn growth(&self) -> f64 {
        self.peak - self.before
    }

    /// Returns `true` if the memory has not grown by more than the bound, and the process lives.
    pub(super) fn is_bounded(&self) -> bool {
        self.after > 0.0 && self.growth() <= self.bound
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, before, peak, after, bound } = self;
        write!(f, "{name:<34} {before:>6.1} {peak:>7.1} {after:>7.1}")?;
        write!(f, " | {:>6.1}, {bound:.0}", self.growth())?;
        if self.is_bounded() { Ok(()) } else { write!(f, " EXCEEDED") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_of_the_peak_over_the_bound_fails() {
        let row = |peak, after| Row { name: "pm", before: 10.0, peak, after, bound: 32.0 };
        assert!(row(42.0, 12.0).is_bounded());
        assert!(!row(42.5, 12.0).is_bounded());
        // The process is gone.
        assert!(!row(0.0, 0.0).is_bounded());
        assert!(row(42.5, 12.0).to_string().ends_with("32.5, 32 EXCEEDED"));
    }
}
