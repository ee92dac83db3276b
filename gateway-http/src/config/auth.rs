//! The configuration section `gateway.auth`: the main secret, and the named tokens beside it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;
use shared::{AgentId, Namespace, config::Document};

use super::{Error, Secrets, limits::TokenLimits, proxy::TrustedProxySection};
use crate::{
    address::TrustedProxies,
    auth::{Auth, LoginLimits},
    caller::Caller,
    limits::CallerLimits,
};

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AuthSection {
    mode: Option<Mode>,
    token: String,
    token_file: Option<PathBuf>,
    password: String,
    tokens: Vec<TokenSection>,
    trusted_proxy: TrustedProxySection,
    rate_limit: RateLimitSection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Token,
    Password,
    None,
    TrustedProxy,
}

/// One of the named tokens.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TokenSection {
    name: String,
    token: String,
    token_file: Option<PathBuf>,
    agents: Option<Vec<AgentId>>,
    limits: TokenLimits,
}

/// How many wrong secrets a client may show.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RateLimitSection {
    max_attempts: u32,
    window_ms: u64,
    lockout_ms: u64,
    exempt_loopback: bool,
}

impl AuthSection {
    /// The mode is the one that is named, else follows the secret that is set; a password goes before a token.
    fn mode(&self) -> Mode {
        let followed = if self.password.trim().is_empty() { Mode::Token } else { Mode::Password };
        self.mode.unwrap_or(followed)
    }

    /// Finds where the paths lead.
    pub(super) fn resolve(&mut self, document: &Document) {
        let of_tokens = self.tokens.iter_mut().map(|token| &mut token.token_file);
        for path in of_tokens.chain([&mut self.token_file]).flatten() {
            *path = document.resolve(path);
        }
    }

    /// Whether there is no main secret, and a token would be one.
    pub(super) fn lacks_a_main_token(&self) -> bool {
        self.mode() == Mode::Token && self.token.trim().is_empty() && self.token_file.is_none()
    }

    pub(super) fn login_limits(&self) -> LoginLimits {
        let RateLimitSection { max_attempts, window_ms, lockout_ms, exempt_loopback } = self.rate_limit;
        let (window, lockout) = (Duration::from_millis(window_ms), Duration::from_millis(lockout_ms));
        LoginLimits { max_attempts, window, lockout, exempt_loopback }
    }

    /// Named tokens do without a main secret; then nobody is a main caller. `general` are the limits of callers that
    /// have none of their own.
    pub(super) fn build(
        &self,
        listen: SocketAddr,
        proxies: &TrustedProxies,
        general: &CallerLimits,
        secrets: &mut Secrets,
    ) -> Result<Auth, Error> {
        let (key, variable, main) = match self.mode() {
            Mode::None => return self.named(Auth::open(), "", general, secrets),
            Mode::TrustedProxy => {
                self.refuse_secrets()?;
                return self.trusted_proxy.build(proxies).map(Auth::behind);
            }
            Mode::Token => {
                let token = secrets.read("gateway.auth.token", &self.token, self.token_file.as_deref())?;
                ("token", "CLAWDBOT_GATEWAY_TOKEN", token)
            }
            Mode::Password => ("password", "CLAWDBOT_GATEWAY_PASSWORD", self.password.trim().to_owned()),
        };
        let auth = match main.as_str() {
            "" if self.tokens.is_empty() => return Err(Error::NoSecret { key, variable, listen }),
            "" => Auth::default(),
            main => Auth::default().with_key(main, Caller::default()),
        };
        self.named(auth, &main, general, secrets)
    }

    /// Behind a proxy that logs users in, a secret would be a second way in, past the proxy.
    fn refuse_secrets(&self) -> Result<(), Error> {
        let set = [
            ("token", !self.token.trim().is_empty()),
            ("tokenFile", self.token_file.is_some()),
            ("password", !self.password.trim().is_empty()),
            ("tokens", !self.tokens.is_empty()),
        ];
        match set.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((key, _)) => {
                let reason = "is set, but in the mode `trusted-proxy` nobody shows a secret; leave it out";
                Err(Error::value(format!("gateway.auth.{key}"), reason))
            }
        }
    }

    /// Adds the named tokens, of which no two may have the same name or secret.
    fn named(&self, mut auth: Auth, main: &str, general: &CallerLimits, files: &mut Secrets) -> Result<Auth, Error> {
        let mut names: Vec<Namespace> = Vec::new();
        let mut secrets: Vec<String> = Vec::new();
        for (index, section) in self.tokens.iter().enumerate() {
            let refused = |field, reason: String| Error::Token { index, field, reason };
            let namespace: Namespace = section.name.parse().map_err(|error| refused("name", format!("{error}")))?;
            if names.contains(&namespace) {
                return Err(refused("name", format!("two tokens are called `{namespace}`")));
            }
            let key = format!("gateway.auth.tokens[{index}].token");
            let secret = files.read(&key, &section.token, section.token_file.as_deref())?;
            if secret.is_empty() {
                return Err(refused("token", "is empty".to_owned()));
            }
            if secret == main {
                return Err(refused("token", "is the same as the main secret".to_owned()));
            }
            if let Some(same) = secrets.iter().position(|other| *other == secret) {
                return Err(refused("token", format!("is the same as gateway.auth.tokens[{same}].token")));
            }
            if section.agents.as_ref().is_some_and(Vec::is_empty) {
                return Err(refused("agents", "is empty; leave it out to allow every agent".to_owned()));
            }
            let caller = Caller::named(namespace.clone(), section.agents.clone());
            let own = section.limits.over(general).map_err(|reason| refused("limits.requestBurst", reason))?;
            auth = auth.with_key(&secret, own.map_or_else(|| caller.clone(), |own| caller.clone().with_limits(own)));
            names.push(namespace);
            secrets.push(secret);
        }
        Ok(auth)
    }
}

impl Default for RateLimitSection {
    fn default() -> Self {
        Self { max_attempts: 10, window_ms: 60_000, lockout_ms: 300_000, exempt_loopback: true }
    }
}

impl std::fmt::Debug for AuthSection {
    /// Leaves out the secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuthSection").field("mode", &self.mode).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
