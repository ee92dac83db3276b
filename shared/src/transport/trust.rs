//! How services know each other: by certificates that one authority has signed, by a secret that they share, or by both.
//! Without either, they talk only within one machine unless they are told otherwise.

mod complaint;
mod secret;
mod tls;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use serde::Deserialize;

use crate::config::{self, Document};
pub(crate) use secret::{Gate, Secrets};
pub(crate) use tls::Tls;

const CERT: &str = "services.tls.certPath";
const KEY: &str = "services.tls.keyPath";
const CA: &str = "services.tls.caPath";
const SERVER_NAME: &str = "services.tls.serverName";
const TOKEN: &str = "services.token";

/// What a service shows to others, and asks of them; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    tls: Option<Arc<Tls>>,
    secrets: Option<Arc<Secrets>>,
    allows_insecure: bool,
}

/// Why services cannot know each other, or must not listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A value cannot be used.
    #[error("{key}: {reason}")]
    Value {
        /// The setting's path.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever reaches the address could do anything.
    #[error(
        "{address} can be reached from other machines, and callers need neither a certificate nor a secret: set \
         services.tls or services.token, or services.allowInsecure if something else keeps others away"
    )]
    Insecure {
        /// The address.
        address: SocketAddr,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Section {
    tls: TlsSection,
    token: Option<String>,
    allow_insecure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TlsSection {
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    ca_path: Option<PathBuf>,
    server_name: Option<String>,
}

impl Trust {
    /// Reads the section `services` and the files that it names.
    ///
    /// Must be called inside a tokio runtime: while a clone is left, a task looks whether the files have changed.
    pub fn load(document: &Document) -> Result<Self, Error> {
        let Section { tls, token, allow_insecure } = document.section("services")?;
        let tls = tls.open(document)?.map(tls::watched);
        let secrets = token.map(|token| Secrets::parse(&token)).transpose()?.map(Arc::new);
        Ok(Self { tls, secrets, allows_insecure: allow_insecure })
    }

    /// Whether a service may listen there.
    pub(crate) fn may_listen(&self, address: SocketAddr) -> Result<(), Error> {
        let is_known = self.tls.is_some() || self.secrets.is_some();
        let may = is_known || self.allows_insecure || address.ip().is_loopback();
        if may { Ok(()) } else { Err(Error::Insecure { address }) }
    }

    /// How the URL of a service begins.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub(crate) fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    pub(crate) fn secrets(&self) -> Option<&Arc<Secrets>> {
        self.secrets.as_ref()
    }
}

impl TlsSection {
    fn open(self, document: &Document) -> Result<Option<Tls>, Error> {
        let Self { cert_path, key_path, ca_path, server_name } = self;
        if cert_path.is_none() && key_path.is_none() && ca_path.is_none() {
            return match server_name {
                Some(_) => Err(Error::value(CERT, format!("is missing beside {SERVER_NAME}"))),
                None => Ok(None),
            };
        }
        let given = |path: Option<PathBuf>, key| {
            path.map(|path| document.resolve(&path)).ok_or_else(|| {
                Error::value(key, "is missing: services.tls needs certPath, keyPath and caPath".to_owned())
            })
        };
        let (cert, key, ca) = (given(cert_path, CERT)?, given(key_path, KEY)?, given(ca_path, CA)?);
        Tls::open(cert, key, ca, server_name).map(Some)
    }
}

impl Error {
    fn value(key: &'static str, reason: String) -> Self {
        Self::Value { key, reason }
    }
}

#[cfg(test)]
mod tests;
