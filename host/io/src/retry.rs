//! When to try again: only around operations that the contract calls idempotent, with growing, scattered pauses.
//!
//! This is the one retry layer. Plugins don't retry, and nothing above the storages does.

use std::time::Duration;

/// How often and how patiently to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Calls at most, the first included.
    pub attempts: u32,
    /// The pause after the first failure; it doubles each time.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The longest pause that a service may ask for; if it wants more, the error is the answer.
    pub longest_asked: Duration,
}

impl Default for RetryPolicy {
    /// Six attempts over about 15 s outlast a restarting proxy; more would hide an outage from its operator.
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            longest_asked: Duration::from_secs(300),
        }
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It can't help to try again.
    GiveUp,
    /// Try again after the usual pause, or after the pause that the service asked for.
    TryAgain(Option<Duration>),
}

/// Calls `call` until it succeeds, `judge` gives up, `wait` says that the run is over, or the attempts are used up. `wait` also
/// hears what is tried again.
///
/// `scatter` answers a number in 0..1000 that shortens the pause by up to a half, so that many clients don't return at the
/// same moment.
///
/// # Errors
/// The last error of `call`.
pub fn retry<T, E>(
    policy: &RetryPolicy,
    judge: impl Fn(&E) -> Verdict,
    scatter: impl Fn() -> u32,
    mut wait: impl FnMut(Duration, &E) -> bool,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pause = policy.first_pause;
    for _ in 1..policy.attempts {
        let error = match call() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Verdict::TryAgain(asked) = judge(&error) else {
            return Err(error);
        };
        if asked.is_some_and(|asked| asked > policy.longest_asked) {
            return Err(error);
        }
        let scattered = pause - pause.mul_f64(f64::from(scatter().min(999)) / 2000.0);
        if !wait(asked.unwrap_or(scattered), &error) {
            return Err(error);
        }
        pause = (pause * 2).min(policy.longest_pause);
    }
    call()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn run(
        answers: &[Result<u32, Verdict>],
        cancelled: bool,
    ) -> (Result<u32, Verdict>, Vec<Duration>, usize) {
        let pauses = RefCell::new(Vec::new());
        let mut calls = 0;
        let wait = |pause, _: &Verdict| {
            pauses.borrow_mut().push(pause);
            !cancelled
        };
        let result = retry(
            &RetryPolicy::default(),
            |verdict: &Verdict| *verdict,
            || 0,
            wait,
            || {
                calls += 1;
                answers[(calls - 1).min(answers.len() - 1)]
            },
        );
        (result, pauses.into_inner(), calls)
    }

    #[test]
    fn succeeds_after_busy_answers_with_growing_pauses() {
        let busy = Err(Verdict::TryAgain(None));
        let (result, pauses, _) = run(&[busy, busy, Ok(7)], false);
        assert_eq!(result, Ok(7));
        assert_eq!(pauses, [Duration::from_millis(500), Duration::from_secs(1)]);
    }

    #[test]
    fn keeps_to_the_pause_that_was_asked_for() {
        let asked = Duration::from_secs(200);
        let (result, pauses, _) = run(&[Err(Verdict::TryAgain(Some(asked))), Ok(1)], false);
        assert_eq!((result, pauses), (Ok(1), vec![asked]));
    }

    #[test]
    fn gives_up_where_too_long_a_pause_is_asked_for() {
        let asked = Err(Verdict::TryAgain(Some(Duration::from_secs(301))));
        let (result, pauses, calls) = run(&[asked, Ok(1)], false);
        assert_eq!((result, pauses, calls), (asked, vec![], 1));
    }

    #[test]
    fn gives_up_at_once_for_good_or_after_all_attempts() {
        assert_eq!(run(&[Err(Verdict::GiveUp)], false).2, 1);
        assert_eq!(run(&[Err(Verdict::TryAgain(None))], false).2, 6);
        assert_eq!(run(&[Err(Verdict::TryAgain(None))], true).2, 1);
    }
}
