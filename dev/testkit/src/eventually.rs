//! Waits for conditions that send no signal. The only place in the project where a test polls.

use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

/// Long enough for a loaded machine: it is only ever used up by a test that fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

const PERIOD: Duration = Duration::from_millis(5);

/// Polls until the answer is `Some`, and returns its value. For conditions in another process that
/// send no signal; if there is a signal, wait for that.
///
/// ```
/// # use redcall_testkit::eventually;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let mut asked = 0;
/// let answer = eventually("the third answer", async || {
///     asked += 1;
///     (asked == 3).then_some("here")
/// });
/// assert_eq!(answer.await, "here");
/// # });
/// ```
///
/// # Panics
/// After ten seconds, naming `what` and the caller. An answer that does not come counts as none.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    condition: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    // Taken here: inside the future the caller would be the runtime.
    let caller = Location::caller();
    async move {
        let answer = until_some(TIMEOUT, condition).await;
        answer.unwrap_or_else(|| panic!("{caller}: waited {} s for {what}", TIMEOUT.as_secs()))
    }
}

async fn until_some<T>(
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match tokio::time::timeout_at(deadline, condition()).await {
            Ok(Some(answer)) => return Some(answer),
            Ok(None) if Instant::now() < deadline => tokio::time::sleep(PERIOD).await,
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn missing_answers_end_by_timeout() {
        assert_eq!(until_some(SHORT, async || None::<()>).await, None);
        assert_eq!(until_some(SHORT, std::future::pending::<Option<()>>).await, None);
    }

    #[tokio::test]
    async fn the_last_answer_is_asked_for_even_when_time_is_short() {
        assert_eq!(until_some(Duration::ZERO, async || Some(1)).await, Some(1));
    }
}
