//! The configuration section `gateway.auth`: the main secret, and the named tokens beside it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;
use shared::{AgentId, Namespace};

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
mod tests {
    use serde_json::{Value, json};
    use shared::config;

    use super::*;

    fn auth_of(section: &AuthSection, proxies: Value) -> Result<Auth, String> {
        let proxies = serde_json::from_value(proxies).expect("valid networks");
        let mut secrets = Secrets::new(super::super::Section::default());
        let listen = ([127, 0, 0, 1], 18789).into();
        let built = section.build(listen, &proxies, &CallerLimits::default(), &mut secrets);
        built.map_err(|error| error.to_string())
    }

    fn build(section: Value) -> Result<Auth, String> {
        auth_of(&serde_json::from_value(section).expect("a valid section"), json!([]))
    }

    fn caller(auth: &Auth, bearer: &str) -> Option<Caller> {
        auth.caller_with(Some(&format!("Bearer {bearer}")))
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let RateLimitSection { max_attempts, window_ms, lockout_ms, exempt_loopback } = RateLimitSection::default();
        let check = |key: &str, value: &dyn ToString| {
            let key = format!("gateway.auth.rateLimit.{key}");
            assert_eq!(config::documented_default(&key), Some(value.to_string().as_str()), "{key}");
        };
        check("maxAttempts", &max_attempts);
        check("windowMs", &window_ms);
        check("lockoutMs", &lockout_ms);
        check("exemptLoopback", &exempt_loopback);
        let allow_loopback = config::documented_default("gateway.auth.trustedProxy.allowLoopback");
        assert_eq!(allow_loopback, Some("false"));
    }

    #[test]
    fn behind_a_proxy_that_logs_users_in_there_is_no_secret() {
        let build = |patch: Value, proxies: Value| {
            let mut section = json!({"mode": "trusted-proxy", "trustedProxy": {"userHeader": "X-User"}});
            for (key, value) in patch.as_object().expect("an object") {
                section[key] = value.clone();
            }
            auth_of(&serde_json::from_value(section).expect("a valid section"), proxies).err()
        };
        assert_eq!(build(json!({}), json!(["10.0.0.0/8"])), None);
        let check = |patch: Value, proxies: Value, expected: &str| {
            let error = build(patch.clone(), proxies).unwrap_or_else(|| panic!("{patch} is taken"));
            assert!(error.starts_with(expected), "{error}");
        };
        let one = || json!(["10.0.0.1"]);
        check(json!({}), json!([]), "gateway.trustedProxies: is empty");
        check(json!({"trustedProxy": {}}), one(), "gateway.auth.trustedProxy.userHeader: is missing");
        check(json!({"token": "t"}), one(), "gateway.auth.token: is set");
        check(json!({"tokenFile": "/t"}), one(), "gateway.auth.tokenFile: is set");
        check(json!({"password": "p"}), one(), "gateway.auth.password: is set");
        check(json!({"tokens": [{"name": "bob", "token": "b"}]}), one(), "gateway.auth.tokens: is set");
    }

    #[test]
    fn the_mode_follows_the_secret_that_is_set() {
        let check = |section: Value, bearer: &str, expected: bool| {
            let auth = build(section.clone()).expect("a secret is set");
            assert_eq!(caller(&auth, bearer).is_some(), expected, "{section} {bearer:?}");
        };
        check(json!({"token": "t"}), "t", true);
        check(json!({"password": "p"}), "p", true);
        check(json!({"token": "t", "password": " "}), "t", true);
        check(json!({"token": "t", "password": "p"}), "t", false);
        check(json!({"token": "t", "password": "p"}), "p", true);
        check(json!({"mode": "token", "token": "t", "password": "p"}), "t", true);
        check(json!({"mode": "token", "token": "t", "password": "p"}), "p", false);
        check(json!({"mode": "password", "token": "t", "password": "p"}), "p", true);
        check(json!({"mode": "none", "token": "t", "password": "p"}), "anything", true);
    }

    #[test]
    fn a_gateway_without_a_secret_is_refused() {
        let refused = |section| build(section).expect_err("no secret is set");
        let expected = "gateway.auth.token: no secret is configured; set it (or CLAWDBOT_GATEWAY_TOKEN";
        assert!(refused(json!({"token": " "})).starts_with(expected));
        assert!(refused(json!({"mode": "password"})).starts_with("gateway.auth.password: no secret"));
    }

    #[test]
    fn each_named_token_is_a_caller_of_its_own() {
        let named = |name: &str, agents| Some(Caller::named(name.parse().expect("a name"), agents));
        let beta = Some(vec!["beta".parse().expect("an id")]);
        let tokens = json!([{"name": "alice", "token": " a "}, {"name": "Bob", "token": "b", "agents": ["Beta"]}]);
        let with_main = build(json!({"token": "t", "tokens": tokens})).expect("valid");
        let without_main = build(json!({"tokens": tokens})).expect("named tokens do without a main secret");
        for auth in [&with_main, &without_main] {
            assert_eq!(caller(auth, "a"), named("alice", None));
            assert_eq!(caller(auth, "b"), named("bob", beta.clone()));
            assert_eq!(caller(auth, "c"), None);
        }
        assert_eq!(caller(&with_main, "t"), Some(Caller::default()));
        assert_eq!(caller(&without_main, "t"), None);
    }

    #[test]
    fn a_bad_token_is_refused_by_its_key() {
        let check = |second: Value, expected: &str| {
            let tokens = json!([{"name": "alice", "token": "a"}, second]);
            let error = build(json!({"token": "t", "tokens": tokens})).expect_err("the second token is bad");
            assert_eq!(error, format!("gateway.auth.tokens[1].{expected}"));
        };
        check(
            json!({"token": "b"}),
            "name: a name is 1 to 64 letters, digits, `_` or `-`, and starts with a letter or digit",
        );
        check(json!({"name": "Alice", "token": "b"}), "name: two tokens are called `alice`");
        check(json!({"name": "bob"}), "token: is empty");
        check(json!({"name": "bob", "token": " t "}), "token: is the same as the main secret");
        check(json!({"name": "bob", "token": "a"}), "token: is the same as gateway.auth.tokens[0].token");
        let no_agents = json!({"name": "bob", "token": "b", "agents": []});
        check(no_agents, "agents: is empty; leave it out to allow every agent");
        let no_burst = json!({"name": "bob", "token": "b", "limits": {"requestsPerMinute": 2, "requestBurst": 3}});
        check(no_burst, "limits.requestBurst: must be from 1 to the 2 of requestsPerMinute");
        let twice = json!({"name": "bob", "token": "b", "tokenFile": "/b"});
        check(twice, "tokenFile: is set beside gateway.auth.tokens[1].token; leave one of them out");
    }

    #[test]
    fn no_secret_is_shown() {
        let section = json!({"token": "hush", "tokens": [{"name": "bob", "token": "hush-too"}]});
        let section: AuthSection = serde_json::from_value(section).expect("a valid section");
        let shown = format!("{section:?}");
        let auth = auth_of(&section, json!([])).expect("valid");
        let shown = format!("{shown} {auth:?}");
        assert!(shown.contains("bob") && !shown.contains("hush"), "{shown}");
    }
}
