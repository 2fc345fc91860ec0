//! Compiled-in Rust handlers, without type parameters beyond this module.

pub(crate) mod answer;
pub(crate) mod extract;
pub(crate) mod service_request;
pub(crate) mod state;

use std::any::type_name;
use std::marker::PhantomData;

use redcall_common::error::Code;
use tokio::task::{JoinError, spawn_blocking};

use self::answer::IntoAnswer;
use self::extract::FromRequest;
use self::state::StateMap;
use super::error::{HandlerError, HandlerResult};
use super::interface::{Handler, Running};
use crate::run::request::Request;

/// An async function over extractors. For functions of up to four arguments.
pub trait AsyncHandler<Args>: Clone + Send + Sync + 'static {
    /// Extracts the arguments, runs the function, converts its answer.
    fn run(self, request: Request) -> impl Future<Output = HandlerResult> + Send + 'static;

    /// Checks that each argument can be extracted.
    ///
    /// # Errors
    ///
    /// The missing part.
    fn check(states: &StateMap) -> Result<(), String>;
}

/// A plain function over extractors, run on the blocking pool.
pub trait BlockingHandler<Args>: Clone + Send + Sync + 'static {
    /// Extracts the arguments, runs the function, converts its answer.
    ///
    /// # Errors
    ///
    /// As [`IntoAnswer::into_answer`].
    fn run(self, request: &Request) -> HandlerResult;

    /// Checks that each argument can be extracted.
    ///
    /// # Errors
    ///
    /// The missing part.
    fn check(states: &StateMap) -> Result<(), String>;
}

macro_rules! handlers {
    ($($arg:ident),*) => {
        impl<F, Fut, Out, $($arg),*> AsyncHandler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Out> + Send + 'static,
            Out: IntoAnswer + 'static,
            $($arg: FromRequest + 'static),*
        {
            #[allow(non_snake_case, unused_variables, reason = "one name per argument")]
            async fn run(self, request: Request) -> HandlerResult {
                $(let $arg = $arg::from_request(&request)?;)*
                self($($arg),*).await.into_answer()
            }

            #[allow(unused_variables, reason = "there may be no argument")]
            fn check(states: &StateMap) -> Result<(), String> {
                $($arg::check(states)?;)*
                Ok(())
            }
        }

        impl<F, Out, $($arg),*> BlockingHandler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Out + Clone + Send + Sync + 'static,
            Out: IntoAnswer,
            $($arg: FromRequest + 'static),*
        {
            #[allow(non_snake_case, unused_variables, reason = "one name per argument")]
            fn run(self, request: &Request) -> HandlerResult {
                $(let $arg = $arg::from_request(request)?;)*
                self($($arg),*).into_answer()
            }

            #[allow(unused_variables, reason = "there may be no argument")]
            fn check(states: &StateMap) -> Result<(), String> {
                $($arg::check(states)?;)*
                Ok(())
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);

struct Compiled<F, Args> {
    function: F,
    /// The arguments' types, without owning values.
    args: PhantomData<fn(Args)>,
}

struct Blocking<F, Args>(Compiled<F, Args>);

/// Returns an async function as a handler.
pub(crate) fn compiled<Args: 'static>(function: impl AsyncHandler<Args>) -> Box<dyn Handler> {
    Box::new(Compiled { function, args: PhantomData })
}

/// Returns a plain function as a handler, which runs on the blocking pool.
pub(crate) fn blocking<Args: 'static>(function: impl BlockingHandler<Args>) -> Box<dyn Handler> {
    Box::new(Blocking(Compiled { function, args: PhantomData }))
}

impl<Args: 'static, F: AsyncHandler<Args>> Handler for Compiled<F, Args> {
    fn describe(&self) -> String {
        format!("rust {}", type_name::<F>())
    }

    fn check(&self, states: &StateMap) -> Result<(), String> {
        F::check(states)
    }

    fn call(&self, request: Request) -> Running {
        Box::pin(self.function.clone().run(request))
    }
}

impl<Args: 'static, F: BlockingHandler<Args>> Handler for Blocking<F, Args> {
    fn describe(&self) -> String {
        format!("rust {} (blocking)", type_name::<F>())
    }

    fn check(&self, states: &StateMap) -> Result<(), String> {
        F::check(states)
    }

    fn call(&self, request: Request) -> Running {
        let function = self.0.function.clone();
        Box::pin(async move {
            // The request moves in: its capacity is used until the function ends, even if the job
            // was cancelled before.
            let run = move || request.context().sync_scope(|| function.run(&request));
            let result = spawn_blocking(run).await;
            result.unwrap_or_else(|error| Err(ended_badly(error)))
        })
    }
}

fn ended_badly(error: JoinError) -> HandlerError {
    match error.try_into_panic() {
        // Caught where panics of async functions are caught.
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => HandlerError::with_code(Code::Internal, "the worker's runtime has shut down"),
    }
}
