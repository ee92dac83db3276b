//! How long something that failed is left alone.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use metrics::Gauge;
use tokio::time::Instant;

use crate::metrics::unix_seconds_in;

/// After the first failure in a row, the second, and so on, as upstream has it.
const STEPS: [Duration; 4] = [minutes(1), minutes(5), minutes(25), minutes(60)];
/// After being out of credit the first time; it doubles.
const BILLING: Duration = minutes(5 * 60);
const LONGEST_BILLING: Duration = minutes(24 * 60);
/// The longest that a provider's own word is taken.
const LONGEST_ASKED_FOR: Duration = minutes(60);
/// After so long, earlier failures are forgotten.
const MEMORY: Duration = minutes(24 * 60);

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// A key or a provider that may be left alone for a while. Runs read and write it without waiting for each other.
#[derive(Debug)]
pub(super) struct Cooldown {
    start: Instant,
    /// In milliseconds since the start.
    until_ms: AtomicU64,
    failed_ms: AtomicU64,
    failures: AtomicU32,
    /// The Unix time at which it ends.
    shown: Gauge,
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It may pass; the provider may say when.
    Passing { retry_after: Option<Duration> },
    /// Somebody has to pay first.
    Billing,
}

impl Cooldown {
    pub(super) fn new(start: Instant, shown: Gauge) -> Self {
        let (until_ms, failed_ms, failures) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU32::new(0));
        Self { start, until_ms, failed_ms, failures, shown }
    }

    /// How much longer it is left alone.
    pub(super) fn left(&self) -> Duration {
        let until = self.until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(until).saturating_sub(self.start.elapsed())
    }

    /// Leaves it alone for longer after every failure in a row; returns for how long. Runs that fail at the same time
    /// count as one, but the worst of them counts.
    pub(super) fn begin(&self, severity: Severity) -> Duration {
        let left = self.left();
        if !left.is_zero() {
            let asked_for = match severity {
                Severity::Passing { retry_after } => retry_after.unwrap_or_default().min(LONGEST_ASKED_FOR),
                Severity::Billing => BILLING,
            };
            if asked_for > left {
                self.leave_alone(asked_for);
            }
            return left.max(asked_for);
        }
        let now = self.start.elapsed();
        let last = Duration::from_millis(self.failed_ms.swap(millis(now), Ordering::Relaxed));
        if now.saturating_sub(last) > MEMORY {
            self.failures.store(0, Ordering::Relaxed);
        }
        let earlier = self.failures.fetch_add(1, Ordering::Relaxed) as usize;
        let length = match severity {
            Severity::Passing { retry_after: Some(after) } => after.clamp(Duration::from_secs(1), LONGEST_ASKED_FOR),
            Severity::Passing { retry_after: None } => STEPS[earlier.min(STEPS.len() - 1)],
            Severity::Billing => {
                let doubled = BILLING * 2_u32.saturating_pow(u32::try_from(earlier.min(8)).unwrap_or(8));
                doubled.min(LONGEST_BILLING)
            }
        };
        self.leave_alone(length);
        length
    }

    fn leave_alone(&self, length: Duration) {
        self.until_ms.store(millis(self.start.elapsed() + length), Ordering::Relaxed);
        self.shown.set(unix_seconds_in(length));
    }

    /// It has answered a question that was put to it then, so that it works again, unless it has failed since.
    pub(super) fn end(&self, began: Instant) {
        // A look is cheaper than a write that other cores have to hear of.
        let has_failed = self.failures.load(Ordering::Relaxed) > 0;
        let began = began.saturating_duration_since(self.start);
        if has_failed && self.failed_ms.load(Ordering::Relaxed) <= millis(began) {
            self.failures.store(0, Ordering::Relaxed);
            self.until_ms.store(0, Ordering::Relaxed);
            self.shown.set(0.0);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::metrics::cooldown_until;

    const PASSING: Severity = Severity::Passing { retry_after: None };

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_are_left_alone_for_longer() {
        let cooldown = Cooldown::new(Instant::now(), Gauge::noop());
        assert_eq!(cooldown.left(), Duration::ZERO);
        for expected in [1, 5, 25, 60, 60] {
            assert_eq!(cooldown.begin(PASSING), minutes(expected));
            // What fails meanwhile makes it no longer.
            assert_eq!(cooldown.begin(PASSING), minutes(expected));
            tokio::time::advance(minutes(expected)).await;
            assert_eq!(cooldown.left(), Duration::ZERO);
        }
        cooldown.end(Instant::now());
        assert_eq!(cooldown.begin(PASSING), minutes(1));
        tokio::time::advance(minutes(24 * 60 + 2)).await;
        assert_eq!(cooldown.begin(PASSING), minutes(1));
    }

    #[test]
    fn its_end_is_shown_until_it_works_again() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let gauge = metrics::with_local_recorder(&recorder, || cooldown_until("p", "0".to_owned()));
        let shown = || {
            let rendered = recorder.handle().render();
            let series = r#"clawdbot_cooldown_until_seconds{provider="p",key="0"} "#;
            let value = rendered.lines().find_map(|line| line.strip_prefix(series)).expect("the series is shown");
            value.parse::<f64>().expect("a number")
        };
        let cooldown = Cooldown::new(Instant::now(), gauge);
        assert_eq!(shown().to_bits(), 0);
        let earliest = unix_seconds_in(minutes(1));
        cooldown.begin(PASSING);
        let until = shown();
        assert!((earliest..=unix_seconds_in(minutes(1))).contains(&until));
        cooldown.begin(PASSING);
        assert_eq!(shown().to_bits(), until.to_bits());
        cooldown.end(Instant::now());
        assert_eq!(shown().to_bits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_before_the_failure_says_nothing() {
        let cooldown = Cooldown::new(Instant::now(), Gauge::noop());
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        cooldown.begin(PASSING);
        cooldown.end(before);
        assert_eq!(cooldown.left(), minutes(1));
        cooldown.end(Instant::now());
        assert_eq!(cooldown.left(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_worst_of_several_failures_counts() {
        let cooldown = Cooldown::new(Instant::now(), Gauge::noop());
        cooldown.begin(PASSING);
        assert_eq!(cooldown.begin(Severity::Billing), BILLING);
        assert_eq!(cooldown.begin(PASSING), BILLING);
        assert_eq!(cooldown.left(), BILLING);
    }

    #[tokio::test(start_paused = true)]
    async fn bills_take_longer_to_be_paid() {
        let cooldown = Cooldown::new(Instant::now(), Gauge::noop());
        for expected in [5, 10, 20] {
            assert_eq!(cooldown.begin(Severity::Billing), minutes(expected * 60));
            tokio::time::advance(minutes(expected * 60)).await;
        }
        assert_eq!(cooldown.begin(Severity::Billing), minutes(24 * 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_can_say_itself_for_how_long() {
        let asked = |seconds| Severity::Passing { retry_after: Some(Duration::from_secs(seconds)) };
        for (seconds, expected) in [(7, 7), (0, 1), (1_000_000, 3600)] {
            let cooldown = Cooldown::new(Instant::now(), Gauge::noop());
            assert_eq!(cooldown.begin(asked(seconds)), Duration::from_secs(expected));
        }
    }
}
