//! What the gateway counts and measures: every metric's name, labels and meaning in one place.
//!
//! Routes are those of the table, never what a client has made up.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const REQUESTS: &str = "clawdbot_http_requests_total";
const REQUEST_DURATION: &str = "clawdbot_http_request_duration_seconds";
const STREAMS_OPEN: &str = "clawdbot_http_streams_open";
const STREAM_DURATION: &str = "clawdbot_http_stream_duration_seconds";
const CONNECTIONS_OPEN: &str = "clawdbot_http_connections_open";
const FAILED_LOGINS: &str = "clawdbot_failed_logins_total";
const RUNS_MOVED: &str = "clawdbot_runs_moved_total";

/// Where nothing is.
const NO_ROUTE: &str = "none";

/// Says what each metric is, to whatever records them by now.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests, by route, method and status.");
    describe_histogram!(REQUEST_DURATION, Unit::Seconds, "Time from a request to its answer, of a stream to its head.");
    describe_gauge!(STREAMS_OPEN, Unit::Count, "Streams that are being given.");
    describe_histogram!(STREAM_DURATION, Unit::Seconds, "Time from a stream's head to its end.");
    describe_gauge!(CONNECTIONS_OPEN, Unit::Count, "Connections of clients.");
    describe_counter!(FAILED_LOGINS, Unit::Count, "Wrong secrets that were shown.");
    describe_counter!(RUNS_MOVED, Unit::Count, "Tries to begin a run anew since its runner was gone.");
    for name in [STREAMS_OPEN, CONNECTIONS_OPEN] {
        gauge!(name).set(0.0);
    }
}

/// A request has its answer, or the head of a stream.
pub(crate) fn answered(route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
    let route = route.unwrap_or(NO_ROUTE).to_owned();
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned())
        .increment(1);
    histogram!(REQUEST_DURATION, "route" => route).record(took);
}

/// A wrong secret was shown.
pub(crate) fn login_failed() {
    counter!(FAILED_LOGINS).increment(1);
}

/// A run is begun anew at another runner.
pub(crate) fn run_moved() {
    counter!(RUNS_MOVED).increment(1);
}

/// A stream that is being given, until it is dropped.
pub(crate) struct OpenStream {
    _open: Counted,
    began: Instant,
}

impl OpenStream {
    pub(crate) fn begin() -> Self {
        Self { _open: Counted::of(gauge!(STREAMS_OPEN)), began: Instant::now() }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        histogram!(STREAM_DURATION).record(self.began.elapsed());
    }
}

/// One of those that a gauge counts, until it is dropped.
pub(crate) struct Counted(Gauge);

impl Counted {
    /// A connection.
    pub(crate) fn connection() -> Self {
        Self::of(gauge!(CONNECTIONS_OPEN))
    }

    fn of(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
