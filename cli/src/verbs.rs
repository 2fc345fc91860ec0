//! The registry of verbs: their modules, and one row each in a table.
//!
//! A new verb needs a file, its `mod` line and its row here; the help texts in
//! `docs/reference/cli.md` are then recorded by a test.

/// About one job: call it, follow it, settle or cancel it.
pub(crate) mod calls {
    pub(crate) mod advice;
    pub(crate) mod call;
    pub(crate) mod cancel;
    pub(crate) mod follow;
    pub(crate) mod service;
    pub(crate) mod settle;
    pub(crate) mod status;
}
pub(crate) mod console;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod external;
/// About queues, and the workers that listen on them.
pub(crate) mod queues {
    pub(crate) mod dead;
    pub(crate) mod list;
    pub(crate) mod pause;
    pub(crate) mod workers;
}

/// Passes the table of verbs to the macro `$make`, in the order of `redcall --help`.
///
/// A row has the help text, further attributes for clap, and the type that holds the arguments and
/// implements `Verb` or `ClientVerb`. With `console(HELP, INTERRUPTED)`, it is also a verb of
/// `redcall console`, with that help, and that message when a signal ends it; without a message the
/// verb handles signals itself.
macro_rules! all_verbs {
    ($make:ident) => {
        $make! {
        /// Measure the throughput of Redis and workers
        #[command(disable_help_flag = true)]
        Bench(crate::verbs::external::Bench);
        /// Enqueue a job; with --wait, print its answer as JSON
        Call(crate::verbs::calls::call::Call);
        /// Cancel a job: a waiting job does not start, a running one is notified
        Cancel(crate::verbs::calls::cancel::Cancel)
            console("Cancel a job", "interrupted: it may be cancelled");
        /// Attack private servers and workers under load, and check the outcome of every call
        #[command(disable_help_flag = true)]
        Chaos(crate::verbs::external::Chaos);
        /// Interactive session or script: call, wait, stream, commands and events
        #[command(long_about = crate::verbs::console::HELP)]
        Console(crate::verbs::console::Console);
        /// Dead letters: list, show, retry or purge them
        #[command(subcommand)]
        Dead(crate::verbs::queues::dead::Dead);
        /// Check settings, Redis, workers and queues, and state how to repair each finding
        Doctor(crate::verbs::doctor::Doctor);
        /// Events: subscribe to a topic, publish on one
        #[command(subcommand)]
        Events(crate::verbs::events::Events);
        /// Stream the output of a job started by another process: one JSON object per line
        ///
        /// Printed frames are trimmed from Redis, so that the job is not blocked. If the command
        /// is interrupted, the job continues.
        Follow(crate::verbs::calls::follow::Follow)
            console("Stream the output of a job started by another process");
        /// Follow the status of a tracked job to its end, one line per change
        Monitor(crate::verbs::calls::status::Monitor)
            console("Follow the status of a tracked job to its end", "interrupted");
        /// Pause queues: running jobs finish, no job starts
        Pause(crate::verbs::queues::pause::Pause);
        /// Resume paused queues
        Resume(crate::verbs::queues::pause::Resume);
        /// List the queues: state, waiting, running and held jobs, dead letters, workers
        Queues(crate::verbs::queues::list::Queues)
            console("List the queues", "interrupted");
        /// Call an instance of a service, or print its state
        Service(crate::verbs::calls::service::Service);
        /// Settle a deferred answer with its completion token
        #[command(long_about = crate::verbs::calls::settle::HELP)]
        Settle(crate::verbs::calls::settle::Settle);
        /// Print the status of a tracked job: Pending, Processing, Success or Error, with its
        /// time
        Status(crate::verbs::calls::status::Status)
            console("Print the status of a tracked job", "interrupted");
        /// List the workers: their queues, running jobs, and jobs that exceed their timeout
        Workers(crate::verbs::queues::workers::Workers)
            console("List the workers", "interrupted");
            }
    };
}

pub(crate) use all_verbs;
