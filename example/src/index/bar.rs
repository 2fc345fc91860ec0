//! A progress bar on stderr, if that is a terminal; otherwise nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{prefix:>8} [{bar:40}] {pos}/{len} {elapsed}";

/// A bar, removed when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Returns a bar with this number of steps.
    pub(super) fn new(name: &'static str, steps: usize) -> Self {
        // Draws nothing if stderr is not a terminal.
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self(bar.with_prefix(name))
    }

    /// Advances by one step.
    pub(super) fn advance(&self) {
        self.0.inc(1);
    }

    /// Sets position and number of steps.
    pub(super) fn set(&self, done: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
