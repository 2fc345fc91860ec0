//! How the binaries print what went wrong: what happened, why, what to do.

use std::error::Error;
use std::fmt;

use miette::Diagnostic;

use crate::clean::clean;
use crate::output::Unwritten;
use crate::settings::SettingsError;

/// Something that went wrong, for a person at a terminal. Whatever it is made of may come from
/// others: it is cleaned.
#[derive(Debug)]
pub struct Problem {
    what: String,
    causes: Option<Box<Problem>>,
    help: Option<String>,
}

impl Problem {
    /// What happened, and below it the chain of causes.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let what = error.to_string();
        let mut source = error.source();
        // Some errors end with the words of their cause: told once is enough.
        while let Some(same) = source.filter(|cause| what.ends_with(&cause.to_string())) {
            source = same.source();
        }
        let causes = source.map(|cause| Box::new(Self::of(cause)));
        Self { what: clean(&what).into_owned(), causes, help: None }
    }

    /// What happened, in words.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: clean(&what.into()).into_owned(), causes: None, help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(clean(&help.into()).into_owned());
        self
    }

    /// The problem with its causes, as one text.
    #[must_use]
    pub fn whole(&self) -> String {
        let more = self.causes.as_ref().map(|causes| format!(": {}", causes.whole()));
        format!("{}{}", self.what, more.unwrap_or_default())
    }

    /// The advice, if there is one.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// One per mistake of the settings.
    #[must_use]
    pub fn settings(error: &SettingsError) -> Vec<Self> {
        let mistakes = error.mistakes().iter();
        mistakes.map(|mistake| Self::of(mistake).help(mistake.help())).collect()
    }

    /// Standard output that cannot be written, with the work that is done all the same.
    #[must_use]
    pub fn unwritten(error: &Unwritten) -> Self {
        let problem = Self::of(error);
        match error.done() {
            Some(done) => problem.help(done),
            None => problem.help("Give it a place that can be written."),
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
