//! The options that select dead letters.

use clap::Args;
use redcall_client::{Code, DeadSelection};
use redcall_common::name::parse_queue;

/// Selects dead letters that match all options given.
#[derive(Args)]
pub(super) struct Selection {
    /// Ids of requests, or of entries in the stream
    pub(super) ids: Vec<String>,
    /// Queue of the dead letters
    #[arg(long, default_value = "default", value_parser = parse_queue)]
    pub(super) queue: String,
    /// Only dead letters with this code, such as handler_failed
    #[arg(long, value_parser = code)]
    pub(super) code: Option<Code>,
    /// Only dead letters of this job
    #[arg(long, value_name = "JOB")]
    pub(super) name: Option<String>,
}

impl Selection {
    pub(super) fn selection(&self, limit: Option<u64>) -> DeadSelection {
        DeadSelection {
            ids: self.ids.clone(),
            code: self.code,
            name: self.name.clone(),
            limit,
            ..DeadSelection::default()
        }
    }
}

fn code(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| {
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        format!("the codes are {}", all.join(", "))
    })
}
