//! What the store counts and measures: every metric's name, labels and meaning in one place.

use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use shared::Counted;

use crate::Error;

const STATEMENTS: &str = "clawdbot_database_statements_total";
const STATEMENT_DURATION: &str = "clawdbot_database_duration_seconds";
const COMMITS: &str = "clawdbot_turn_commits_total";
const LEASE_WAITS: &str = "clawdbot_lease_wait_seconds";
const LEASES: &str = "clawdbot_leases_total";
const LEASES_LOST: &str = "clawdbot_leases_lost_total";
const TURNS_WAITING: &str = "clawdbot_turns_waiting";

/// Says what each metric is, to whatever records them by now.
pub(crate) fn describe() {
    describe_counter!(STATEMENTS, Unit::Count, "Statements to the database, by what they do and how they ended.");
    describe_histogram!(STATEMENT_DURATION, Unit::Seconds, "Time from a statement to its answer, waiting included.");
    describe_counter!(COMMITS, Unit::Count, "Turns that were to be committed, by what came of it.");
    describe_histogram!(LEASE_WAITS, Unit::Seconds, "Time that a turn waited for its session, granted or not.");
    describe_counter!(LEASES, Unit::Count, "Turns that asked for their session, by what came of it.");
    describe_counter!(LEASES_LOST, Unit::Count, "Leases that were found lost by the runs that had them.");
    // What is there from the start can be seen to grow.
    counter!(LEASES_LOST).absolute(0);
    describe_gauge!(TURNS_WAITING, Unit::Count, "Turns that wait for their session.");
    gauge!(TURNS_WAITING).set(0.0);
}

/// A statement has ended; `summary` is one of a few.
pub(crate) fn statement_ended(summary: String, took: Duration, is_ok: bool) {
    let outcome = if is_ok { "ok" } else { "error" };
    counter!(STATEMENTS, "statement" => summary.clone(), "outcome" => outcome).increment(1);
    histogram!(STATEMENT_DURATION, "statement" => summary).record(took);
}

/// A turn was to be committed.
pub(crate) fn committed<T>(outcome: &Result<T, Error>) {
    counter!(COMMITS, "outcome" => name(outcome)).increment(1);
    if matches!(outcome, Err(Error::LeaseLost)) {
        counter!(LEASES_LOST).increment(1);
    }
}

/// A lease was to be renewed.
pub(crate) fn renewed(outcome: &Result<(), Error>) {
    if matches!(outcome, Err(Error::LeaseLost)) {
        counter!(LEASES_LOST).increment(1);
    }
}

/// A turn that asks for its session, until it has an answer or nobody waits for one.
pub(crate) struct Waiting {
    _waiting: Counted,
    began: Instant,
    outcome: &'static str,
}

impl Waiting {
    pub(crate) fn begin() -> Self {
        Self { _waiting: Counted::of(gauge!(TURNS_WAITING)), began: Instant::now(), outcome: "cancelled" }
    }

    pub(crate) fn ended<T>(mut self, outcome: &Result<T, Error>) {
        self.outcome = name(outcome);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        counter!(LEASES, "outcome" => self.outcome).increment(1);
        histogram!(LEASE_WAITS).record(self.began.elapsed());
    }
}

fn name<T>(outcome: &Result<T, Error>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Error::LeaseLost) => "lease_lost",
        Err(Error::AlreadyCommitted) => "already_committed",
        Err(Error::Busy { .. } | Error::LineFull) => "busy",
        Err(error) if error.is_of_the_database() => "database",
        Err(_) => "other",
    }
}
