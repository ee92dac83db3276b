//! `clawdbot config check`.

use std::io::{self, Write};

use shared::{
    admin,
    config::{Document, Sources},
    telemetry::LogSection,
    transport::Trust,
};

/// Reads every section as the services would.
pub(crate) fn check(sources: &Sources) -> anyhow::Result<()> {
    let document = Document::load(sources)?;
    match gateway_http::Config::load(&document) {
        Ok(_) => {}
        // Such a gateway makes a token for itself.
        Err(error) if error.asks_for_a_local_token() => {}
        Err(error) => return Err(error.into()),
    }
    LogSection::load(&document)?;
    admin::Config::load(&document)?;
    let runner = agent_runner::Config::load(&document, &sources.environment)?;
    session_store::Config::load(&document)?;
    Trust::load(&document)?;
    let mut out = io::stdout().lock();
    for warning in document.warnings().iter().chain(runner.warnings()) {
        writeln!(out, "warning: {warning}")?;
    }
    match document.path() {
        Some(path) => writeln!(out, "{}: ok", path.display())?,
        None => writeln!(out, "ok (no configuration file; defaults and environment)")?,
    }
    Ok(())
}
