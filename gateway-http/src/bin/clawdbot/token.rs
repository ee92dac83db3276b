//! The token that a gateway on this machine makes for itself when it is given no secret.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use shared::config::{Document, Fallback, Sources};

/// Where the gateway's secret comes from.
#[derive(Debug)]
pub(crate) enum Token {
    /// The configuration names it, or says that none is needed.
    Configured,
    /// It was made just now, and this is the only time that it is shown.
    Made { token: String, path: PathBuf },
    /// It was made at an earlier start.
    Kept { path: PathBuf },
}

const FILE_NAME: &str = "gateway.token";

/// Adds a token to the settings if they have no main secret and only this machine can reach the gateway.
pub(crate) fn ensure(mut sources: Sources) -> anyhow::Result<(Sources, Token)> {
    let document = Document::load(&sources)?;
    if !asks(&document)? {
        return Ok((sources, Token::Configured));
    }
    let path = document.state_dir().join(FILE_NAME);
    let (token, source) = if let Some(token) = read(&path)? {
        (token, Token::Kept { path })
    } else {
        let token = make(&path).with_context(|| format!("cannot keep a token in {}", path.display()))?;
        (token.clone(), Token::Made { token, path })
    };
    // A file that names a secret later, or does without, has its way.
    let is_needed = |document: &Document| asks(document).unwrap_or(false);
    sources.fallbacks.push(Fallback { key: "gateway.auth.token", value: token, is_needed });
    Ok((sources, source))
}

/// Whether a token is all that is missing.
fn asks(document: &Document) -> Result<bool, gateway_http::Error> {
    match gateway_http::Config::load(document) {
        Ok(config) => Ok(config.asks_for_a_local_token()),
        Err(error) if error.asks_for_a_local_token() => Ok(true),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read the token in {}", path.display())),
    }
}

/// Makes a token and keeps it where only its owner can read it.
fn make(path: &Path) -> anyhow::Result<String> {
    let quarters = [getrandom::u64()?, getrandom::u64()?, getrandom::u64()?, getrandom::u64()?];
    let token = quarters.map(|bits| format!("{bits:016x}")).concat();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // A file that is there already is empty, and may be readable by others.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(token)
}
