//! Our headers under the three names that upstream has had.

use http::{HeaderMap, HeaderName};

use crate::error::ApiError;

/// The value of `x-clawdbot-<name>`, `x-openclaw-<name>` or `x-moltbot-<name>`, the first that is there and not blank;
/// anything but UTF-8 is refused.
pub(crate) fn header<'a>(headers: &'a HeaderMap, names: [&'static str; 3]) -> Result<Option<&'a str>, ApiError> {
    for name in names {
        if let Some(value) = value(headers, &HeaderName::from_static(name))? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The value of any header, if it is there and not blank; likewise.
pub(crate) fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let invalid = |_| ApiError::invalid_value(name.as_str(), "must be UTF-8");
    let value = std::str::from_utf8(value.as_bytes()).map_err(invalid)?.trim();
    Ok(Some(value).filter(|value| !value.is_empty()))
}

pub(crate) const AGENT_ID: [&str; 3] = ["x-clawdbot-agent-id", "x-openclaw-agent-id", "x-moltbot-agent-id"];
pub(crate) const AGENT: [&str; 3] = ["x-clawdbot-agent", "x-openclaw-agent", "x-moltbot-agent"];
pub(crate) const SESSION_KEY: [&str; 3] = ["x-clawdbot-session-key", "x-openclaw-session-key", "x-moltbot-session-key"];
pub(crate) const ON_DISCONNECT: [&str; 3] =
    ["x-clawdbot-on-disconnect", "x-openclaw-on-disconnect", "x-moltbot-on-disconnect"];
pub(crate) const EVENTS: [&str; 3] = ["x-clawdbot-events", "x-openclaw-events", "x-moltbot-events"];
pub(crate) const MODEL: [&str; 3] = ["x-clawdbot-model", "x-openclaw-model", "x-moltbot-model"];
