//! The commands that Redis executes: those from clients, and those within scripts.
//!
//! Redis's own statistics do not distinguish them. MONITOR does, but slows Redis down: so a short
//! run under MONITOR gives for each command the share within scripts, and the statistics of the
//! measured run are divided in that proportion. Hardly any command comes from both.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::baseline::wire::Wire;

/// How often each was carried out, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commands(BTreeMap<String, u64>);

impl Commands {
    /// Since the server began.
    pub(super) fn read(wire: &mut Wire) -> io::Result<Self> {
        let text = wire.request(&[b"INFO", b"commandstats"])?.text().unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let each = text.lines().filter_map(|line| {
            let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls: u64 = figures.split(',').next()?.parse().ok()?;
            // A container's subcommands, which MONITOR does not join to its name.
            Some((name.split('|').next()?.to_owned(), calls))
        });
        let mut commands = Self::default();
        // This command itself is not counted.
        for (name, calls) in each.filter(|(name, _)| name != "info") {
            *commands.0.entry(name).or_default() += calls;
        }
        commands
    }

    pub(super) fn since(mut self, before: &Self) -> Self {
        for (name, calls) in &before.0 {
            self.0.entry(name.clone()).and_modify(|now| *now = now.saturating_sub(*calls));
        }
        self
    }

    pub(crate) fn add(&mut self, more: Self) {
        for (name, calls) in more.0 {
            *self.0.entry(name).or_default() += calls;
        }
    }

    pub(crate) fn total(&self) -> f64 {
        self.0.values().sum::<u64>() as f64
    }
}

/// Of each command, how many were sent, and how many were within scripts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shares(BTreeMap<String, (u64, u64)>);

impl Shares {
    /// Observes while `during` runs.
    pub(super) fn watch<T>(
        address: &str,
        during: impl FnOnce() -> miette::Result<T>,
    ) -> miette::Result<(T, Self)> {
        use miette::IntoDiagnostic as _;
        let mut stream = TcpStream::connect(address).into_diagnostic()?;
        stream.write_all(b"MONITOR\r\n").into_diagnostic()?;
        let mut reader = BufReader::new(stream.try_clone().into_diagnostic()?);
        reader.read_line(&mut String::new()).into_diagnostic()?;
        let reading = std::thread::spawn(move || Self::read(reader));
        let done = during();
        // Unread output does not matter: the figures are proportions.
        let _ = stream.shutdown(Shutdown::Both);
        let shares = reading.join().unwrap_or_default();
        Ok((done?, shares))
    }

    fn read(mut from: BufReader<TcpStream>) -> Self {
        let (mut shares, mut line) = (Self::default(), Vec::new());
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            shares.note(&String::from_utf8_lossy(&line[..line.len().min(200)]));
            line.clear();
        }
        shares
    }

    /// `+1763683200.123456 [0 127.0.0.1:50000] "blmove" …`; `[0 lua]` is a script.
    fn note(&mut self, line: &str) {
        let Some((from, command)) = line.split_once("] \"") else { return };
        let Some((name, _)) = command.split_once('"') else { return };
        let counts = self.0.entry(name.to_ascii_lowercase()).or_default();
        if from.ends_with(" lua") {
            counts.1 += 1;
        } else {
            counts.0 += 1;
        }
    }

    /// How many of `commands` were sent.
    pub(crate) fn sent(&self, commands: &Commands) -> f64 {
        let sent = commands.0.iter().map(|(name, calls)| match self.0.get(name) {
            Some((sent, timeout)) => *calls as f64 * *sent as f64 / (sent + timeout) as f64,
            // Too rare to have been seen.
            None => *calls as f64,
        });
        sent.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_clients_and_scripts_are_counted_apart() {
        let before = Commands::parse("# Commandstats\r\ncmdstat_rpush:calls=5,usec=1\r\n");
        let text = "cmdstat_rpush:calls=25,usec=1,x=2\r\ncmdstat_evalsha:calls=10,usec=1\r\n\
            cmdstat_info:calls=9,usec=1\r\ncmdstat_client|list:calls=1,usec=1\r\n";
        let commands = Commands::parse(text).since(&before);
        assert_eq!(commands.total(), 31.0);
        let mut shares = Shares::default();
        shares.note(r#"+1763683200.1 [0 127.0.0.1:5000] "EVALSHA" "ab] \"" "1""#);
        for from in ["lua", "lua", "lua", "127.0.0.1:1"] {
            shares.note(&format!(r#"+1763683200.1 [0 {from}] "rpush" "lua" "x""#));
        }
        assert_eq!(shares.sent(&commands), 10.0 + 20.0 / 4.0 + 1.0);
    }
}
