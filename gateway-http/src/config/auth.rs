//! The configuration section `gateway.auth`: the main secret, and the named tokens beside it.

use std::net::SocketAddr;

use serde::Deserialize;
use shared::{AgentId, Namespace};

use super::Error;
use crate::{auth::Auth, caller::Caller};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthSection {
    mode: Option<Mode>,
    token: String,
    password: String,
    tokens: Vec<TokenSection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Token,
    Password,
    None,
}

/// One of the named tokens.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenSection {
    name: String,
    token: String,
    agents: Option<Vec<AgentId>>,
}

impl AuthSection {
    /// The mode is the one that is named, else follows the secret that is set; a password goes before a token.
    fn mode(&self) -> Mode {
        let followed = if self.password.trim().is_empty() { Mode::Token } else { Mode::Password };
        self.mode.unwrap_or(followed)
    }

    /// Whether there is no main secret, and a token would be one.
    pub(super) fn lacks_a_main_token(&self) -> bool {
        self.mode() == Mode::Token && self.token.trim().is_empty()
    }

    /// Named tokens do without a main secret; then nobody is a main caller.
    pub(super) fn build(self, listen: SocketAddr) -> Result<Auth, Error> {
        let (key, variable, main) = match self.mode() {
            Mode::None => return named(Auth::open(), self.tokens, ""),
            Mode::Token => ("token", "CLAWDBOT_GATEWAY_TOKEN", self.token.trim()),
            Mode::Password => ("password", "CLAWDBOT_GATEWAY_PASSWORD", self.password.trim()),
        };
        let auth = match main {
            "" if self.tokens.is_empty() => return Err(Error::NoSecret { key, variable, listen }),
            "" => Auth::default(),
            main => Auth::default().with_key(main, Caller::default()),
        };
        named(auth, self.tokens, main)
    }
}

/// Adds the named tokens, of which no two may have the same name or secret.
fn named(mut auth: Auth, tokens: Vec<TokenSection>, main: &str) -> Result<Auth, Error> {
    let mut names: Vec<Namespace> = Vec::new();
    let mut secrets: Vec<String> = Vec::new();
    for (index, section) in tokens.into_iter().enumerate() {
        let refused = |field, reason: String| Err(Error::Token { index, field, reason });
        let namespace: Namespace = match section.name.parse() {
            Ok(namespace) if names.contains(&namespace) => {
                return refused("name", format!("two tokens are called `{namespace}`"));
            }
            Ok(namespace) => namespace,
            Err(error) => return refused("name", error.to_string()),
        };
        let secret = section.token.trim();
        if secret.is_empty() {
            return refused("token", "is empty".to_owned());
        }
        if secret == main {
            return refused("token", "is the same as the main secret".to_owned());
        }
        if let Some(same) = secrets.iter().position(|other| other == secret) {
            return refused("token", format!("is the same as gateway.auth.tokens[{same}].token"));
        }
        if section.agents.as_ref().is_some_and(Vec::is_empty) {
            return refused("agents", "is empty; leave it out to allow every agent".to_owned());
        }
        auth = auth.with_key(secret, Caller::named(namespace.clone(), section.agents));
        names.push(namespace);
        secrets.push(secret.to_owned());
    }
    Ok(auth)
}

impl std::fmt::Debug for AuthSection {
    /// Leaves out the secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuthSection").field("mode", &self.mode).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header::AUTHORIZATION};
    use serde_json::{Value, json};

    use super::*;

    fn build(section: Value) -> Result<Auth, String> {
        let section: AuthSection = serde_json::from_value(section).expect("a valid section");
        section.build(([127, 0, 0, 1], 18789).into()).map_err(|error| error.to_string())
    }

    fn caller(auth: &Auth, bearer: &str) -> Option<Caller> {
        let headers = [(AUTHORIZATION, format!("Bearer {bearer}").parse().expect("a header value"))];
        auth.check(&HeaderMap::from_iter(headers)).ok()
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
    }

    #[test]
    fn no_secret_is_shown() {
        let section = json!({"token": "hush", "tokens": [{"name": "bob", "token": "hush-too"}]});
        let section: AuthSection = serde_json::from_value(section).expect("a valid section");
        let shown = format!("{section:?}");
        let auth = section.build(([127, 0, 0, 1], 18789).into()).expect("valid");
        let shown = format!("{shown} {auth:?}");
        assert!(shown.contains("bob") && !shown.contains("hush"), "{shown}");
    }
}
