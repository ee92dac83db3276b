//! What whoever reads the log can do about a database server's error.

use std::error::Error;

use tokio_postgres::error::SqlState;

pub(crate) const SERVER_DOWN: &str =
    "check that PostgreSQL runs and that services.sessionStore.database names its host and port";
pub(crate) const MORE_CONNECTIONS: &str =
    "check how busy PostgreSQL is, raise services.sessionStore.maxConnections, or add a faster disk or server";
const REPORT: &str = "if it persists, report it with this line";

/// What to do about a database server's error, by its SQLSTATE or the class of that.
pub(crate) fn of(error: &tokio_postgres::Error) -> &'static str {
    let Some(code) = error.code().map(SqlState::code) else { return without_code(error) };
    match code {
        "28P01" | "28000" => {
            "check the user and password in services.sessionStore.database, and the server's pg_hba.conf"
        }
        "3D000" => "make the database that services.sessionStore.database names, with createdb",
        "42501" => "let the user of services.sessionStore.database own the database, or GRANT CREATE ON it",
        "53300" => "lower services.sessionStore.maxConnections, or raise the server's max_connections",
        "53100" => "free space on the disk of the database server",
        "53200" => "give the database server more memory",
        "25006" => "name the primary in services.sessionStore.database: this server is a read-only standby",
        "57014" => "find out what makes the database server slow: a statement took longer than 10 seconds",
        "57P03" => "wait: the database server is starting up or shutting down",
        "58030" | "58000" => "check the disk and the log of the database server",
        "XX001" | "XX002" => "stop the program and restore the database from a backup",
        _ => match code.get(..2) {
            Some("08" | "57") => SERVER_DOWN,
            Some("53") => "give the database server more of what it lacks",
            Some("42") => "check that nobody has changed the schema clawdbot; restore the database from a backup if so",
            _ => REPORT,
        },
    }
}

/// Whether the error says that no statement can be run now, rather than that this one cannot.
pub(crate) fn is_outage(error: &tokio_postgres::Error) -> bool {
    match error.code().map(SqlState::code) {
        Some("57014") => false,
        Some(code) => {
            matches!(code, "25006" | "3D000" | "42501") || matches!(code.get(..2), Some("08" | "28" | "53" | "57"))
        }
        // What did not come from the server came from the connection to it, unless it is about a value.
        None => !is_about_a_value(error),
    }
}

/// The error with what is behind it, which the driver leaves out.
pub(crate) fn in_full(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn without_code(error: &tokio_postgres::Error) -> &'static str {
    let reason = in_full(error).to_lowercase();
    if is_about_a_value(error) {
        REPORT
    } else if reason.contains("tls") || reason.contains("certificate") {
        "check sslmode and sslrootcert in services.sessionStore.database, and the server's certificate"
    } else if reason.contains("password") {
        "put the password into services.sessionStore.database"
    } else {
        SERVER_DOWN
    }
}

/// Whether a value could not be turned into what the server has, or back. The driver shows the kind of its error only
/// in its text.
fn is_about_a_value(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "error encoding", "error parsing", "invalid column", "expected "]
        .iter()
        .any(|start| text.starts_with(start))
}
