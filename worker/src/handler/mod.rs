//! Handlers: one kind per file, behind one trait without type parameters. Each is made here.

pub(crate) mod bounds;
pub(crate) mod builtin;
mod command;
pub(crate) mod compiled;
pub(crate) mod error;
mod http;
pub(crate) mod interface;
mod paced;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod service;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use redcall_common::settings::{HandlerSettings, JobSettings};

use self::command::CommandHandler;
use self::http::{Client, HttpHandler};
use self::interface::Handler;
use self::process::ProcessHandler;
use self::program::ProgramContext;

/// The compiled-in handlers, by name.
pub(crate) type Compiled = BTreeMap<String, Arc<dyn Handler>>;

/// The pools of processes that several jobs share, by name.
pub(crate) type Pools = BTreeMap<String, Arc<ProcessHandler>>;

/// The parts from which the handlers of a mapping are made.
pub(crate) struct Parts<'a> {
    compiled: &'a Compiled,
    pools: &'a Pools,
    pub(crate) context: &'a ProgramContext<'a>,
    /// Shared by all HTTP handlers, and made with the first one.
    http: OnceCell<Result<Client, String>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(
        compiled: &'a Compiled,
        pools: &'a Pools,
        context: &'a ProgramContext<'a>,
    ) -> Self {
        Self { compiled, pools, context, http: OnceCell::new() }
    }

    /// Makes the handler of the job `name`; on error, returns the problem with the job's key.
    pub(crate) fn make(&self, name: &str, job: &JobSettings) -> Result<Arc<dyn Handler>, String> {
        let context = self.context;
        Ok(match &job.kind {
            HandlerSettings::Compiled(name) => return self.compiled(name),
            HandlerSettings::Command(command) => {
                Arc::new(CommandHandler::new(name, command, &job.env, context)?)
            }
            HandlerSettings::Process(settings) => {
                Arc::new(ProcessHandler::new(name, settings, context)?)
            }
            // The settings reader has checked the names of pools.
            HandlerSettings::Pool(pool) => {
                self.pools.get(pool).cloned().ok_or_else(|| format!("unknown pool `{pool}`"))?
            }
            HandlerSettings::Http(settings) => {
                let client = self.http.get_or_init(Client::new).clone()?;
                Arc::new(HttpHandler::new(settings, client, context.bounds)?)
            }
        })
    }

    /// Returns the compiled-in handler `name`.
    pub(crate) fn compiled(&self, name: &str) -> Result<Arc<dyn Handler>, String> {
        let built_in = name.strip_prefix(builtin::PREFIX).and_then(builtin::find);
        let found = built_in.map(Arc::from).or_else(|| self.compiled.get(name).cloned());
        found.ok_or_else(|| {
            let known = builtin::NAMES.map(|name| format!("builtin:{name}")).into_iter();
            let known: Vec<String> = known.chain(self.compiled.keys().cloned()).collect();
            format!("unknown handler `{name}`; known here: {}", known.join(", "))
        })
    }
}
