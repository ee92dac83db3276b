//! The configuration section `gateway.tls`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use shared::{certificate::Files, config::Document};

use super::Error;
use crate::server::TlsFiles;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TlsSection {
    enabled: bool,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    /// By default a missing certificate is made where nobody said that there is one.
    auto_generate: Option<bool>,
    handshake_timeout_ms: u64,
}

impl TlsSection {
    /// Finds where the paths lead.
    pub(super) fn resolve(&mut self, document: &Document) {
        for path in [&mut self.cert_path, &mut self.key_path].into_iter().flatten() {
            *path = document.resolve(path);
        }
    }

    /// The files of the certificate, which must be there unless they will be made; nothing without TLS.
    pub(super) fn files(&self, state_dir: &Path) -> Result<Option<TlsFiles>, Error> {
        if !self.enabled {
            return Ok(None);
        }
        let (cert, key) = match (&self.cert_path, &self.key_path) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) => {
                let folder = state_dir.join("gateway").join("tls");
                (folder.join("gateway-cert.pem"), folder.join("gateway-key.pem"))
            }
            (Some(_), None) => {
                return Err(Error::value("gateway.tls.keyPath", "is missing beside gateway.tls.certPath"));
            }
            (None, Some(_)) => {
                return Err(Error::value("gateway.tls.certPath", "is missing beside gateway.tls.keyPath"));
            }
        };
        let files = TlsFiles {
            files: Files { cert, key },
            may_generate: self.auto_generate.unwrap_or(self.cert_path.is_none()),
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
        };
        files.check()?;
        Ok(Some(files))
    }
}

impl Default for TlsSection {
    fn default() -> Self {
        Self { enabled: false, cert_path: None, key_path: None, auto_generate: None, handshake_timeout_ms: 10_000 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::config;

    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let TlsSection { enabled, handshake_timeout_ms, .. } = TlsSection::default();
        let check = |key, value: &dyn ToString| {
            assert_eq!(config::documented_default(key), Some(value.to_string().as_str()), "{key}");
        };
        check("gateway.tls.enabled", &enabled);
        check("gateway.tls.handshakeTimeoutMs", &handshake_timeout_ms);
    }

    #[test]
    fn a_certificate_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |section: Value, expected: Option<&str>| {
            let parsed: TlsSection = serde_json::from_value(section.clone()).expect("a valid section");
            let error = parsed.files(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.starts_with(expected.unwrap_or_default()) && error.is_empty() == expected.is_none(),
                "{error}"
            );
        };
        check(json!({}), None);
        check(json!({"enabled": true}), None);
        check(json!({"enabled": true, "autoGenerate": false}), Some("gateway.tls.certPath: cannot read "));
        let named = json!({"enabled": true, "certPath": "/none/cert.pem", "keyPath": "/none/key.pem"});
        check(named, Some("gateway.tls.certPath: cannot read "));
        check(json!({"enabled": true, "certPath": "/none/cert.pem"}), Some("gateway.tls.keyPath: is missing"));
        check(json!({"enabled": true, "keyPath": "/none/key.pem"}), Some("gateway.tls.certPath: is missing"));
    }
}
