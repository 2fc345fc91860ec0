//! The durability of a request once it counts as queued.

use std::fmt;
use std::str::FromStr;

/// The durability that a request has to reach before the call returns. Each level costs the time to
/// reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Durability {
    /// In Redis's memory, and as durable as its own persistence settings.
    #[default]
    Memory,
    /// In the memory of one replica as well (`WAIT`): it survives the loss of the primary.
    Replicated,
    /// On the primary's disk (`WAITAOF`; Redis 7.2, Valkey 7.2 or newer, with `appendonly yes`): it
    /// survives the loss of power.
    Fsynced,
}

impl Durability {
    /// The names in settings and receipts, cheapest first.
    pub const NAMES: [(&str, Self); 3] =
        [("memory", Self::Memory), ("replicated", Self::Replicated), ("fsynced", Self::Fsynced)];

    /// Returns its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Replicated => "replicated",
            Self::Fsynced => "fsynced",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        let names = Self::NAMES.map(|(name, _)| name).join(", ");
        found.map(|(_, level)| *level).ok_or_else(|| format!("is not one of {names}"))
    }
}
