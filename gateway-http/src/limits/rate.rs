//! Requests per minute: a bucket for each caller, and what the answers say of it.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// How many requests a caller may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_minute: NonZeroU32,
    /// How many may come at once; not more than in a minute, so that a bucket is full again after a minute's rest.
    pub(crate) burst: NonZeroU32,
}

/// A caller's requests, counted.
pub(super) struct Bucket {
    rate: Rate,
    limiter: DefaultDirectRateLimiter<StateInformationMiddleware>,
}

/// How a caller stands, in the words of OpenAI's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RateStatus {
    limit: u32,
    remaining: u32,
    /// Until as many may come at once as ever.
    reset: Duration,
}

/// Where the status is put that goes into the answer's headers, as an extension of the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateReport(Arc<OnceLock<RateStatus>>);

impl Rate {
    fn quota(self) -> Quota {
        Quota::per_minute(self.per_minute).allow_burst(self.burst)
    }
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, limiter: RateLimiter::direct(rate.quota()).with_middleware() }
    }

    /// Whether it counts by this rate.
    pub(super) fn is_of(&self, rate: Rate) -> bool {
        self.rate == rate
    }

    /// Counts a request. If it is one too many, says how long the next has to wait.
    pub(super) fn count_request(&self) -> (RateStatus, Option<Duration>) {
        match self.limiter.check() {
            Ok(snapshot) => (self.status(&snapshot), None),
            Err(too_early) => {
                let wait = too_early.wait_time_from(DefaultClock::default().now());
                let interval = self.rate.quota().replenish_interval();
                let reset = wait + interval.saturating_mul(self.rate.burst.get() - 1);
                (RateStatus { limit: self.rate.per_minute.get(), remaining: 0, reset }, Some(wait))
            }
        }
    }

    fn status(&self, snapshot: &StateSnapshot) -> RateStatus {
        let remaining = snapshot.remaining_burst_capacity();
        let used = self.rate.burst.get().saturating_sub(remaining);
        let reset = self.rate.quota().replenish_interval().saturating_mul(used);
        RateStatus { limit: self.rate.per_minute.get(), remaining, reset }
    }
}

impl RateReport {
    /// Puts the status there. A request is counted once, so there is none before.
    pub(super) fn set(&self, status: RateStatus) {
        let _ = self.0.set(status);
    }

    /// Writes the headers that OpenAI's clients know.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Some(RateStatus { limit, remaining, reset }) = self.0.get() else { return };
        let reset = HeaderValue::try_from(written(*reset)).expect("digits and letters are visible");
        headers.insert(HeaderName::from_static("x-ratelimit-limit-requests"), (*limit).into());
        headers.insert(HeaderName::from_static("x-ratelimit-remaining-requests"), (*remaining).into());
        headers.insert(HeaderName::from_static("x-ratelimit-reset-requests"), reset);
    }
}

/// A duration as OpenAI writes them: `120ms`, `8s`, `1m0s`. Whole seconds are rounded up.
fn written(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32, burst: u32) -> Rate {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Rate { per_minute: number(per_minute), burst: number(burst) }
    }

    #[test]
    fn a_bucket_that_is_empty_says_how_long_to_wait() {
        let bucket = Bucket::new(rate(1, 1));
        let (status, wait) = bucket.count_request();
        assert_eq!((status.limit, status.remaining, wait), (1, 0, None));
        assert_eq!(status.reset, Duration::from_secs(60));
        let (status, wait) = bucket.count_request();
        let wait = wait.expect("one too many");
        assert_eq!((status.limit, status.remaining, status.reset), (1, 0, wait));
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
    }

    #[test]
    fn a_burst_is_let_through_and_no_more() {
        let bucket = Bucket::new(rate(3, 2));
        assert_eq!(bucket.count_request().1, None);
        assert_eq!(bucket.count_request().1, None);
        assert!(bucket.count_request().1.is_some());
    }

    #[test]
    fn durations_are_written_as_by_openai() {
        let check = |ms, expected: &str| assert_eq!(written(Duration::from_millis(ms)), expected);
        check(0, "0ms");
        check(120, "120ms");
        check(8_640, "9s");
        check(60_000, "1m0s");
        check(359_500, "6m0s");
    }
}
