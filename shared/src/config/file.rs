//! Finding and reading the configuration file.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::Sources;
use super::environment::Environment;
use super::error::Error;

/// The text of the configuration file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Returns where the file is, or would be, and what names it; nothing for the default place.
pub(super) fn place(sources: &Sources) -> (PathBuf, Option<&'static str>) {
    if let Some(path) = &sources.config_path {
        (path.clone(), Some("--config"))
    } else if let Some(path) = sources.environment.path("CLAWDBOT_CONFIG_PATH") {
        (path, Some("CLAWDBOT_CONFIG_PATH"))
    } else {
        (sources.environment.home().join(".clawdbot/clawdbot.json"), None)
    }
}

/// Reads the file that was named, or the one at the default place if there is one.
pub(super) fn read(sources: &Sources) -> Result<Option<File>, Error> {
    let (path, named_by) = place(sources);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(File { path, text })),
        Err(reason) if reason.kind() == ErrorKind::NotFound && named_by.is_none() => Ok(None),
        Err(reason) => Err(Error::Read { path, named_by, reason }),
    }
}

/// Returns the folder for everything that outlives the process.
pub(super) fn state_dir(environment: &Environment) -> PathBuf {
    environment.path("CLAWDBOT_STATE_DIR").unwrap_or_else(|| environment.home().join(".clawdbot"))
}
