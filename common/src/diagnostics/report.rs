//! How the binaries print errors: what happened, why, what to do.

use std::error::Error;
use std::fmt;

use miette::Diagnostic;

use crate::diagnostics::clean::clean;
use crate::diagnostics::unwritten::Unwritten;
use crate::settings::SettingsError;

/// An error for an operator at a terminal. Its parts may come from other programs, so they are
/// cleaned.
#[derive(Debug)]
pub struct Problem {
    what: String,
    causes: Option<Box<Problem>>,
    help: Option<String>,
}

impl Problem {
    /// Creates a problem from an error and its causes.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let what = error.to_string();
        let mut source = error.source();
        // Some errors end with the text of their cause: print it once.
        while let Some(same) = source.filter(|cause| what.ends_with(&cause.to_string())) {
            source = same.source();
        }
        let causes = source.map(|cause| Box::new(Self::of(cause)));
        Self { what: clean(&what).into_owned(), causes, help: None }
    }

    /// Creates a problem from its description.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: clean(&what.into()).into_owned(), causes: None, help: None }
    }

    /// Adds the fix.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(clean(&help.into()).into_owned());
        self
    }

    /// Returns the problem with its causes, as one text.
    #[must_use]
    pub fn whole(&self) -> String {
        let more = self.causes.as_ref().map(|causes| format!(": {}", causes.whole()));
        format!("{}{}", self.what, more.unwrap_or_default())
    }

    /// Returns the fix, if there is one.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Creates one problem per mistake of the settings.
    #[must_use]
    pub fn settings(error: &SettingsError) -> Vec<Self> {
        let mistakes = error.mistakes().iter();
        mistakes.map(|mistake| Self::of(mistake).help(mistake.help())).collect()
    }

    /// Creates the problem of a failed write to standard output, with the work that is done.
    #[must_use]
    pub fn unwritten(error: &Unwritten) -> Self {
        let problem = Self::of(error);
        match error.done() {
            Some(done) => problem.help(done),
            None => problem.help("Redirect it to a writable file or pipe."),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.causes.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}
