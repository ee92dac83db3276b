//! What the gateway is told by the configuration.

mod auth;
mod browsers;
mod limits;
mod proxy;
mod secrets;
mod session_header;
mod tls;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::HeaderName;
use serde::{Deserialize, Deserializer, de};
use shared::{
    config::{self, Document},
    transport::{MAX_MESSAGE_BYTES, Transport},
};

use crate::{
    Gateway, Limits, Settings,
    address::TrustedProxies,
    embeddings,
    kept::OnDisconnect,
    protection::Protection,
    server::{Tls, TlsFiles},
};
use auth::AuthSection;
use browsers::CorsSection;
use limits::LimitsSection;
use session_header::SessionHeader;
use tls::TlsSection;

pub(crate) use secrets::{Reread, Secrets};

/// Leaves room for what stands around a body.
const MOST_BODY_BYTES: usize = MAX_MESSAGE_BYTES - 4 * 1024 * 1024;

/// The gateway's configuration, read but not yet acted upon.
#[derive(Debug)]
pub struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) settings: Settings,
    /// For one call to the session store.
    pub(crate) store_timeout: Duration,
    tls: Option<TlsFiles>,
    pub(crate) max_body_bytes_in_flight: usize,
    lacks_a_main_token: bool,
}

/// Why the gateway cannot be configured so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// No secret protects the gateway.
    #[error(
        "gateway.auth.{key}: no secret is configured; set it (or {variable} in the environment), or say \
         gateway.auth.mode: \"none\" if everybody who reaches {listen} may use the agents"
    )]
    NoSecret {
        /// The setting that is missing.
        key: &'static str,
        /// Its environment variable.
        variable: &'static str,
        /// The address that would be open.
        listen: SocketAddr,
    },
    /// One of the named tokens cannot be used.
    #[error("gateway.auth.tokens[{index}].{field}: {reason}")]
    Token {
        /// Its place among the tokens.
        index: usize,
        /// Its setting.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting has a value that cannot be used.
    #[error("{key}: {reason}")]
    Value {
        /// The setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { key: key.into(), reason: reason.into() }
    }

    /// Whether a token is all that is missing, and only this machine could reach the gateway. Whoever starts such a
    /// gateway may make a token for it.
    pub fn asks_for_a_local_token(&self) -> bool {
        matches!(self, Self::NoSecret { key: "token", listen, .. } if listen.ip().is_loopback())
    }
}

/// Where the gateway can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bind {
    /// Only from this machine.
    #[default]
    Loopback,
    /// From everywhere.
    Lan,
    /// At one address.
    Address(IpAddr),
}

/// The configuration section `gateway`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Section {
    port: u16,
    bind: Bind,
    auth: AuthSection,
    trusted_proxies: TrustedProxies,
    limits: LimitsSection,
    http: HttpSection,
    tls: TlsSection,
    drain_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HttpSection {
    max_body_bytes: usize,
    body_timeout_ms: u64,
    head_timeout_ms: u64,
    keep_alive_ms: u64,
    on_disconnect: OnDisconnect,
    session_headers: Vec<SessionHeader>,
    cors: CorsSection,
    strict_transport_security: String,
    endpoints: Endpoints,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoints {
    chat_completions: Switch,
    responses: Switch,
    embeddings: Embeddings,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Switch {
    enabled: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Embeddings {
    enabled: bool,
    max_inputs: usize,
    max_input_chars: usize,
    max_total_chars: usize,
}

/// What the gateway needs to know of the section `services.sessionStore`.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoreSection {
    call_timeout_ms: u64,
}

impl Config {
    /// Reads the gateway's sections, and the files of secrets and certificates that they name.
    pub fn load(document: &Document) -> Result<Self, Error> {
        let mut section: Section = document.section("gateway")?;
        section.auth.resolve(document);
        section.tls.resolve(document);
        let store: StoreSection = document.section("services.sessionStore")?;
        Ok(Self {
            listen: section.listen(),
            tls: section.tls.files(document.state_dir())?,
            store_timeout: Duration::from_millis(store.call_timeout_ms),
            max_body_bytes_in_flight: section.limits.max_body_bytes_in_flight,
            lacks_a_main_token: section.auth.lacks_a_main_token(),
            settings: section.settings(None)?,
        })
    }

    /// Where the gateway listens.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Whether only named tokens open the gateway, and only this machine could reach it. Whoever starts such a gateway
    /// may make a main token for it.
    pub fn asks_for_a_local_token(&self) -> bool {
        self.lacks_a_main_token && self.listen.ip().is_loopback()
    }

    /// The scheme of the gateway's URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Makes the gateway, and a certificate for it if it is to have one of its own; `runner` and `store` are the ways to
    /// the agent runner and to the session store.
    pub fn build(mut self, runner: Transport, store: Transport) -> Result<Gateway, Error> {
        let tls = self.tls.take().map(|files| Tls::open(files, self.listen.ip())).transpose()?;
        Ok(Gateway::new(self, tls, runner, store))
    }
}

impl Section {
    fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.bind.address(), self.port)
    }

    /// Makes settings of the section, and of what the files of secrets hold now.
    /// A file that cannot be read is taken to hold what it held `before`.
    fn settings(&self, before: Option<&Secrets>) -> Result<Settings, Error> {
        let Self { http, limits, .. } = self;
        if http.max_body_bytes > MOST_BODY_BYTES {
            let reason =
                format!("must be at most {MOST_BODY_BYTES}, which is what fits a message between the services");
            return Err(Error::value("gateway.http.maxBodyBytes", reason));
        }
        if http.max_body_bytes > limits.max_body_bytes_in_flight {
            let reason = format!("must be at least gateway.http.maxBodyBytes, which is {}", http.max_body_bytes);
            return Err(Error::value("gateway.limits.maxBodyBytesInFlight", reason));
        }
        let callers = limits.callers()?;
        let mut secrets = Secrets::new(self.clone(), before);
        let auth = self.auth.build(self.listen(), &self.trusted_proxies, &callers, &mut secrets)?;
        let limits = Limits {
            max_body_bytes: http.max_body_bytes,
            body_timeout: Duration::from_millis(http.body_timeout_ms),
            keep_alive: Duration::from_millis(http.keep_alive_ms.max(1)),
            drain: Duration::from_millis(self.drain_ms),
            max_connections: limits.max_connections,
            max_header_bytes: limits.max_header_bytes,
            max_headers: limits.max_headers,
            head_timeout: Duration::from_millis(http.head_timeout_ms),
            max_concurrent_requests: limits.max_concurrent_requests,
            callers,
            logins: self.auth.login_limits(),
        };
        let protection = Protection {
            proxies: self.trusted_proxies.clone(),
            cors: http.cors.build(),
            strict_transport_security: browsers::strict_transport_security(&http.strict_transport_security)?,
        };
        Ok(Settings {
            auth,
            secrets,
            limits,
            protection,
            serves_chat_completions: http.endpoints.chat_completions.enabled,
            serves_responses: http.endpoints.responses.enabled,
            on_disconnect: http.on_disconnect,
            embeddings: http.endpoints.embeddings.limits(),
            session_headers: http.session_headers.iter().cloned().map(HeaderName::from).collect(),
        })
    }
}

impl Embeddings {
    fn limits(&self) -> Option<embeddings::Limits> {
        self.enabled.then_some(embeddings::Limits {
            inputs: self.max_inputs,
            input_chars: self.max_input_chars,
            total_chars: self.max_total_chars,
        })
    }
}

impl Bind {
    /// The address to listen on.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST.into(),
            Self::Lan => Ipv4Addr::UNSPECIFIED.into(),
            Self::Address(address) => address,
        }
    }
}

impl<'de> Deserialize<'de> for Bind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "loopback" => Ok(Self::Loopback),
            "lan" => Ok(Self::Lan),
            _ => {
                let address = text.parse().map_err(|_| {
                    de::Error::custom(format_args!("`{text}` is neither `loopback` nor `lan` nor an IP address"))
                })?;
                Ok(Self::Address(address))
            }
        }
    }
}

impl Default for Section {
    fn default() -> Self {
        Self {
            port: 18789,
            bind: Bind::default(),
            auth: AuthSection::default(),
            trusted_proxies: TrustedProxies::default(),
            limits: LimitsSection::default(),
            http: HttpSection::default(),
            tls: TlsSection::default(),
            drain_ms: 30_000,
        }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            max_body_bytes: 20 * 1024 * 1024,
            body_timeout_ms: 30_000,
            head_timeout_ms: 30_000,
            keep_alive_ms: 15_000,
            on_disconnect: OnDisconnect::default(),
            session_headers: Vec::new(),
            cors: CorsSection::default(),
            strict_transport_security: String::new(),
            endpoints: Endpoints::default(),
        }
    }
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { call_timeout_ms: 10_000 }
    }
}

impl Default for Embeddings {
    fn default() -> Self {
        Self { enabled: true, max_inputs: 128, max_input_chars: 8192, max_total_chars: 65_536 }
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let Section { port, http, drain_ms, .. } = Section::default();
        let check = |key, value: &dyn ToString| {
            assert_eq!(config::documented_default(key), Some(value.to_string().as_str()), "{key}");
        };
        check("gateway.port", &port);
        check("gateway.drainMs", &drain_ms);
        check("gateway.http.maxBodyBytes", &http.max_body_bytes);
        check("gateway.http.bodyTimeoutMs", &http.body_timeout_ms);
        check("gateway.http.headTimeoutMs", &http.head_timeout_ms);
        check("gateway.http.keepAliveMs", &http.keep_alive_ms);
        let on_disconnect = config::documented_default("gateway.http.onDisconnect").expect("it has one");
        assert_eq!(serde_json::from_value::<OnDisconnect>(on_disconnect.into()).ok(), Some(http.on_disconnect));
        check("gateway.http.endpoints.chatCompletions.enabled", &http.endpoints.chat_completions.enabled);
        check("gateway.http.endpoints.responses.enabled", &http.endpoints.responses.enabled);
        let Embeddings { enabled, max_inputs, max_input_chars, max_total_chars } = http.endpoints.embeddings;
        check("gateway.http.endpoints.embeddings.enabled", &enabled);
        check("gateway.http.endpoints.embeddings.maxInputs", &max_inputs);
        check("gateway.http.endpoints.embeddings.maxInputChars", &max_input_chars);
        check("gateway.http.endpoints.embeddings.maxTotalChars", &max_total_chars);
        check("services.sessionStore.callTimeoutMs", &StoreSection::default().call_timeout_ms);
    }

    #[test]
    fn the_bind_is_a_word_or_an_address() {
        let bind = |text: &str| serde_json::from_value::<Bind>(text.into()).map(Bind::address).ok();
        assert_eq!(bind("loopback"), Some([127, 0, 0, 1].into()));
        assert_eq!(bind("lan"), Some([0, 0, 0, 0].into()));
        assert_eq!(bind("::1"), "::1".parse().ok());
        assert_eq!(bind("tailnet"), None);
    }
}
