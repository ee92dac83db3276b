//! The configuration section `gateway.http.cors`, and what else browsers are told.

use http::HeaderValue;
use serde::Deserialize;

use super::Error;
use crate::protection::{Cors, Origin};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct CorsSection {
    origins: Vec<Origin>,
    max_age_seconds: u64,
}

impl CorsSection {
    pub(super) fn build(&self) -> Option<Cors> {
        Cors::new(self.origins.clone(), self.max_age_seconds)
    }
}

/// The header's value; nothing of a blank text.
pub(super) fn strict_transport_security(text: &str) -> Result<Option<HeaderValue>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let refused = |_| Error::value("gateway.http.strictTransportSecurity", "is no value of a header");
    HeaderValue::from_str(text).map(Some).map_err(refused)
}

impl Default for CorsSection {
    fn default() -> Self {
        Self { origins: Vec::new(), max_age_seconds: 600 }
    }
}

#[cfg(test)]
mod tests {
    use shared::config;

    use super::*;

    #[test]
    fn the_default_is_the_documented_one() {
        let max_age_seconds = CorsSection::default().max_age_seconds.to_string();
        assert_eq!(config::documented_default("gateway.http.cors.maxAgeSeconds"), Some(max_age_seconds.as_str()));
        assert!(CorsSection::default().build().is_none());
    }
}
