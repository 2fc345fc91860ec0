//! The verbs that work as on the command line.

use std::time::Duration;

use clap::Subcommand;
use redcall_client::Client;
use redcall_common::failure::Failure;
use redcall_common::signals::until_interrupted;

use crate::verb::ClientVerb;
use crate::verbs::all_verbs;

/// Makes these verbs from the rows of the table that have `console`.
macro_rules! shared {
    ($($(#[$attribute:meta])* $name:ident($verb:ty)
        $(console($help:tt $(, $interrupted:tt)?))?;)*) => {
        #[derive(Subcommand)]
        pub(super) enum Shared {
            $($(
                #[doc = $help]
                $name($verb),
            )?)*
        }

        impl Shared {
            /// Runs the verb, with `timeout` unless the line sets one.
            pub(super) async fn run(
                self,
                client: &Client,
                as_json: bool,
                timeout: Option<Duration>,
            ) -> Result<(), Failure> {
                match self {
                    $($(Self::$name(verb) => {
                        let running = verb.or_timeout(timeout).run(client, as_json);
                        $(let running = until_interrupted(running, $interrupted);)?
                        running.await
                    })?)*
                }
            }
        }
    };
}

all_verbs!(shared);
