//! What a database is asked: a span of its own, and how long it takes.

use std::time::Instant;

use tokio_postgres::error::SqlState;
use tracing::{Instrument, Span, field::Empty};

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
    // What the store does by itself is no part of anybody's trace.
    let span = if Span::current().is_none() { Span::none() } else { span(system, &summary) };
    let began = Instant::now();
    let outcome = work.instrument(span.clone()).await;
    let failure = outcome.as_ref().err().filter(|error| error.is_of_the_database());
    if let Some(failure) = failure {
        let code = if let Error::Postgres(error) = failure { error.code() } else { None };
        span.record("otel.status_code", "error");
        span.record("error.type", code.map_or("database", SqlState::code));
        span.record("db.response.status_code", code.map(SqlState::code));
    }
    metrics::statement_ended(summary, began.elapsed(), failure.is_none());
    outcome
}

fn span(system: &'static str, summary: &str) -> Span {
    tracing::info_span!(
        "statement",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = system,
        db.query.summary = summary,
        db.namespace = Empty,
        db.response.status_code = Empty,
        server.address = Empty,
        server.port = Empty,
    )
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
