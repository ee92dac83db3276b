//! What a database is asked: a span of its own, and how long it takes.

use std::time::Instant;

use tracing::{Instrument, field::Empty};

use crate::{Error, metrics};

/// What a database is called in traces (OpenTelemetry, `db.system.name`).
pub(crate) const SQLITE: &str = "sqlite";
/// Likewise.
pub(crate) const POSTGRESQL: &str = "postgresql";

/// Does the work in the span of a client of the database. `summary` says what is asked for, never of whom.
pub(crate) async fn measured<T>(
    system: &'static str,
    summary: String,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let span = tracing::info_span!(
        "statement",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = system,
        db.query.summary = summary,
    );
    let began = Instant::now();
    let outcome = work.instrument(span.clone()).await;
    let failure = outcome.as_ref().err().filter(|error| error.is_of_the_database());
    if failure.is_some() {
        span.record("otel.status_code", "error");
        span.record("error.type", "database");
    }
    metrics::statement_ended(summary, began.elapsed(), failure.is_none());
    outcome
}

/// What a statement does, and to which table or by which function, such as `SELECT begin_turn`.
pub(crate) fn summary(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let target = sql.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("FROM")).nth(1).or(words.next());
    let target = target.unwrap_or_default();
    let target = target.split(|character: char| !character.is_alphanumeric() && character != '_').next();
    format!("{verb} {}", target.unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_the_table_or_the_function() {
        let check = |sql: &str, expected: &str| assert_eq!(summary(sql), expected, "{sql}");
        check("SELECT * FROM begin_turn($1, $2)", "SELECT begin_turn");
        check("SELECT renew_lease($1, $2, $3)", "SELECT renew_lease");
        check("SELECT a, b FROM sessions\n WHERE c = $1", "SELECT sessions");
        check("", "");
    }
}
