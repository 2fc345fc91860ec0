//! The causes of an error, as text for the log.

use std::error::Error;

/// Most causes in a line: a chain may be circular.
const CAUSES: usize = 16;

/// Returns the causes of `error` without itself, outermost first; `None` if it has none.
pub(crate) fn causes(error: &dyn Error) -> Option<String> {
    let (mut texts, mut last) = (Vec::new(), error.to_string());
    let mut next = error.source();
    for _ in 0..CAUSES {
        let Some(cause) = next else { break };
        let text = cause.to_string();
        // Some errors end with the text of their cause.
        if !last.ends_with(&text) {
            texts.push(text.clone());
        }
        (last, next) = (text, cause.source());
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// Returns `error` with its causes, for a field of a line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = causes(error).map(|causes| format!(": {causes}")).unwrap_or_default();
    format!("{error}{causes}")
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// An error with another error as its cause.
    #[derive(Debug)]
    struct Over(&'static str, Option<Box<Over>>);

    impl fmt::Display for Over {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Over {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &dyn Error)
        }
    }

    #[test]
    fn causes_are_listed_outermost_first() {
        let over = |text, cause| Over(text, Some(Box::new(cause)));
        let error = over("a", over("b", over("b", Over("c", None))));
        assert_eq!(causes(&error).as_deref(), Some("b: c"));
        assert_eq!(causes(&Over("a", None)), None);
        let long = (0..100)
            .fold(Over("end", None), |cause, n| over(if n % 2 == 0 { "x" } else { "y" }, cause));
        assert_eq!(causes(&long).unwrap().split(": ").count(), CAUSES);
    }
}
