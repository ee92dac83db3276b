//! The deadline of a call: the `grpc-timeout` header of the gRPC protocol, kept in both modes.
//!
//! tonic's own transports would enforce it, but nothing does in memory.

use std::{future::Future, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Status, body::Body};

/// When the call must be over; `None` when the header is absent or wrong.
pub(super) fn of(headers: &HeaderMap) -> Option<Instant> {
    let timeout = parse(headers.get("grpc-timeout")?.to_str().ok()?)?;
    Instant::now().checked_add(timeout)
}

/// What a call answers that ran out of time.
pub(super) fn exceeded() -> Status {
    Status::deadline_exceeded("the call took longer than its deadline")
}

/// Waits for the answer's head, until the deadline.
pub(super) async fn bound<E>(
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<http::Response<Body>, E>>,
) -> Result<http::Response<Body>, E> {
    let Some(deadline) = deadline else { return answer.await };
    tokio::select! {
        // Ours first: tonic's transports keep the same deadline, but call it CANCELLED.
        biased;
        () = tokio::time::sleep_until(deadline) => Ok(exceeded().into_http()),
        answer = answer => answer,
    }
}

/// Reads `TimeoutValue TimeoutUnit` of the gRPC protocol: at most eight digits and one of `HMSmun`.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse::<u64>().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_nonsense_is_not() {
        let check = |text: &str, expected: Option<Duration>| assert_eq!(parse(text), expected, "{text:?}");
        check("2H", Some(Duration::from_secs(7200)));
        check("3M", Some(Duration::from_secs(180)));
        check("10S", Some(Duration::from_secs(10)));
        check("500m", Some(Duration::from_millis(500)));
        check("7u", Some(Duration::from_micros(7)));
        check("99999999n", Some(Duration::from_nanos(99_999_999)));
        check("999999999S", None);
        check("S", None);
        check("", None);
        check("-1S", None);
        check("1é", None);
        check("10", None);
    }
}
