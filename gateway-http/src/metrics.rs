//! What the gateway counts and measures: every metric's name, labels and meaning in one place.
//!
//! Routes are those of the table, never what a client has made up.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use shared::Counted;

const REQUESTS: &str = "clawdbot_http_requests_total";
const REQUEST_DURATION: &str = "clawdbot_http_request_duration_seconds";
const STREAMS_OPEN: &str = "clawdbot_http_streams_open";
const STREAMS: &str = "clawdbot_http_streams_total";
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
    describe_counter!(STREAMS, Unit::Count, "Streams that are over, by how they ended.");
    describe_histogram!(STREAM_DURATION, Unit::Seconds, "Time from a stream's head to its end.");
    describe_gauge!(CONNECTIONS_OPEN, Unit::Count, "Connections of clients.");
    describe_counter!(FAILED_LOGINS, Unit::Count, "Wrong secrets that were shown, and clients refused for too many.");
    describe_counter!(RUNS_MOVED, Unit::Count, "Tries to begin a run anew since its runner was gone.");
    for name in [STREAMS_OPEN, CONNECTIONS_OPEN] {
        gauge!(name).set(0.0);
    }
    // What is there from the start can be seen to grow.
    for outcome in ["ok", "error", "cancelled"] {
        counter!(STREAMS, "outcome" => outcome).absolute(0);
    }
    for outcome in ["wrong", "locked_out"] {
        counter!(FAILED_LOGINS, "outcome" => outcome).absolute(0);
    }
    counter!(RUNS_MOVED).absolute(0);
}

impl Request {
    pub(crate) fn begin(route: Option<&str>, method: &Method) -> Self {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        Self { route: route.unwrap_or(NO_ROUTE).to_owned(), method, began: Instant::now(), status: None }
    }

    /// It has its answer, or the head of a stream. Says how long that took.
    pub(crate) fn answered(mut self, status: StatusCode) -> Duration {
        self.status = Some(status);
        self.began.elapsed()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let route = std::mem::take(&mut self.route);
        let status = self.status.as_ref().map_or("cancelled", StatusCode::as_str).to_owned();
        counter!(REQUESTS, "route" => route.clone(), "method" => self.method, "status" => status).increment(1);
        if self.status.is_some() {
            histogram!(REQUEST_DURATION, "route" => route).record(self.began.elapsed());
        }
    }
}

/// A wrong secret was shown.
pub(crate) fn login_failed() {
    counter!(FAILED_LOGINS, "outcome" => "wrong").increment(1);
}

/// A client was refused unheard that had shown too many.
pub(crate) fn locked_out() {
    counter!(FAILED_LOGINS, "outcome" => "locked_out").increment(1);
}

/// A run is begun anew at another runner.
pub(crate) fn run_moved() {
    counter!(RUNS_MOVED).increment(1);
}

/// How a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamOutcome {
    Ok,
    /// Its last event was an error.
    Error,
    /// Its client was gone before.
    Cancelled,
}

/// A stream that is being given, until it is dropped.
pub(crate) struct OpenStream {
    _open: Counted,
    began: Instant,
    pub(crate) outcome: StreamOutcome,
}

/// A request that has no answer yet. One that is dropped before was given up by its client.
pub(crate) struct Request {
    route: String,
    method: &'static str,
    began: Instant,
    status: Option<StatusCode>,
}

impl OpenStream {
    pub(crate) fn begin() -> Self {
        Self { _open: Counted::of(gauge!(STREAMS_OPEN)), began: Instant::now(), outcome: StreamOutcome::Cancelled }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let outcome = match self.outcome {
            StreamOutcome::Ok => "ok",
            StreamOutcome::Error => "error",
            StreamOutcome::Cancelled => "cancelled",
        };
        counter!(STREAMS, "outcome" => outcome).increment(1);
        histogram!(STREAM_DURATION).record(self.began.elapsed());
    }
}

/// A connection that is open.
pub(crate) fn connection() -> Counted {
    Counted::of(gauge!(CONNECTIONS_OPEN))
}
