//! Our headers under the three names that upstream has had.

use http::HeaderMap;

use crate::error::ApiError;

/// The value of `x-clawdbot-<name>`, `x-openclaw-<name>` or `x-moltbot-<name>`, the first that is there and not blank;
/// anything but UTF-8 is refused.
pub(crate) fn header<'a>(headers: &'a HeaderMap, names: [&'static str; 3]) -> Result<Option<&'a str>, ApiError> {
    for name in names {
        let Some(value) = headers.get(name) else { continue };
        let value =
            std::str::from_utf8(value.as_bytes()).map_err(|_| ApiError::invalid_value(name, "must be UTF-8"))?.trim();
        if !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

pub(crate) const AGENT_ID: [&str; 3] = ["x-clawdbot-agent-id", "x-openclaw-agent-id", "x-moltbot-agent-id"];
pub(crate) const AGENT: [&str; 3] = ["x-clawdbot-agent", "x-openclaw-agent", "x-moltbot-agent"];
pub(crate) const SESSION_KEY: [&str; 3] = ["x-clawdbot-session-key", "x-openclaw-session-key", "x-moltbot-session-key"];
pub(crate) const ON_DISCONNECT: [&str; 3] =
    ["x-clawdbot-on-disconnect", "x-openclaw-on-disconnect", "x-moltbot-on-disconnect"];
pub(crate) const MODEL: [&str; 3] = ["x-clawdbot-model", "x-openclaw-model", "x-moltbot-model"];
