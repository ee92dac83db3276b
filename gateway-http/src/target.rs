//! Which agent a request is for, and which session it belongs to.

use http::HeaderMap;
use shared::{AgentId, Namespace, SessionKey};
use uuid::Uuid;

use crate::{brand, directory::Agents, error::ApiError};

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) agent_id: AgentId,
    pub(crate) session_key: SessionKey,
    /// Whether nothing of the request is kept.
    pub(crate) stateless: bool,
}

impl Target {
    /// Resolves a request. A session key of the client's names its agent itself; else the agent comes from the header,
    /// then from the model. The session comes from the key, then from the user, and else the request, known by
    /// its `id`, is stateless.
    pub(crate) fn resolve(
        headers: &HeaderMap,
        model: &str,
        user: Option<&str>,
        id: Uuid,
        agents: &Agents,
    ) -> Result<Self, ApiError> {
        if let Some(key) = brand::header(headers, brand::SESSION_KEY)? {
            let session_key = SessionKey::from_client(&Namespace::MAIN, key, &agents.default_id)
                .map_err(|error| ApiError::invalid_value(brand::SESSION_KEY[0], &error.to_string()))?;
            let agent_id = session_key.agent_id().unwrap_or_else(|| agents.default_id.clone());
            return Ok(Self {
                agent_id: known(agent_id, agents, brand::SESSION_KEY[0])?,
                session_key,
                stateless: false,
            });
        }
        let agent_id = match from_headers(headers, agents)? {
            Some(agent_id) => agent_id,
            None => from_model(model, agents)?,
        };
        match user.map(str::trim).filter(|user| !user.is_empty()) {
            Some(user) => {
                let session_key = SessionKey::for_user(&Namespace::MAIN, &agent_id, user)
                    .map_err(|error| ApiError::invalid_value("user", &error.to_string()))?;
                Ok(Self { agent_id, session_key, stateless: false })
            }
            None => Ok(Self { session_key: SessionKey::stateless(&agent_id, id), agent_id, stateless: true }),
        }
    }
}

fn from_headers(headers: &HeaderMap, agents: &Agents) -> Result<Option<AgentId>, ApiError> {
    let value = match brand::header(headers, brand::AGENT_ID)? {
        Some(value) => Some(value),
        None => brand::header(headers, brand::AGENT)?,
    };
    let Some(value) = value else { return Ok(None) };
    let agent_id = AgentId::normalise(value).ok_or_else(|| agents.unknown(value, brand::AGENT_ID[0]))?;
    known(agent_id, agents, brand::AGENT_ID[0]).map(Some)
}

/// `clawdbot:<id>`, `clawdbot/<id>` and `agent:<id>` name an agent, `clawdbot/default` the default one, the same under
/// upstream's other names. Any other model does not name an agent, so the default one answers.
fn from_model(model: &str, agents: &Agents) -> Result<AgentId, ApiError> {
    let model = model.trim().to_ascii_lowercase();
    let id = ["clawdbot:", "clawdbot/", "openclaw:", "openclaw/", "moltbot:", "moltbot/", "agent:"]
        .iter()
        .find_map(|prefix| model.strip_prefix(prefix));
    let is_default_asked_for = id == Some("default") && !agents.ids.iter().any(|known| known.as_str() == "default");
    match id.map(str::parse::<AgentId>) {
        Some(Ok(agent_id)) if !is_default_asked_for => known(agent_id, agents, "model"),
        Some(Ok(_) | Err(_)) | None => Ok(agents.default_id.clone()),
    }
}

fn known(agent_id: AgentId, agents: &Agents, param: &str) -> Result<AgentId, ApiError> {
    if agents.ids.contains(&agent_id) { Ok(agent_id) } else { Err(agents.unknown(agent_id.as_str(), param)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents() -> Agents {
        let id = |id: &str| id.parse().expect("a valid id");
        Agents { ids: vec![id("alpha"), id("beta"), id("main")], default_id: id("main") }
    }

    /// The session key, without what is random about it.
    fn resolve(headers: &[(&'static str, &str)], model: &str, user: Option<&str>) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header value"));
        }
        let target = Target::resolve(&map, model, user, Uuid::nil(), &agents()).map_err(|error| error.to_json())?;
        assert_eq!(target.session_key.agent_id().as_ref(), Some(&target.agent_id));
        let key = target.session_key.to_string();
        Ok(if target.stateless { key.rsplit_once(':').expect("a key").0.to_owned() } else { key })
    }

    #[test]
    fn the_model_names_the_agent_or_the_default_answers() {
        let check = |model: &str, expected: &str| {
            assert_eq!(resolve(&[], model, None), Ok(format!("agent:{expected}:openai")), "{model:?}");
        };
        for model in
            ["clawdbot:beta", "clawdbot/beta", "agent:beta", "openclaw/beta", "moltbot:beta", " CLAWDBOT:Beta "]
        {
            check(model, "beta");
        }
        for model in ["clawdbot", "clawdbot/default", "openclaw/default", "gpt-4o", "", "agent/beta", "clawdbot:bad id"]
        {
            check(model, "main");
        }
    }

    #[test]
    fn a_header_goes_before_the_model() {
        let check = |name, value, expected: &str| {
            let key = resolve(&[(name, value)], "clawdbot:beta", None);
            assert_eq!(key, Ok(format!("agent:{expected}:openai")), "{name} {value}");
        };
        for name in brand::AGENT_ID.into_iter().chain(brand::AGENT) {
            check(name, "alpha", "alpha");
            check(name, " ALPHA! ", "alpha");
            check(name, " ", "beta");
        }
    }

    #[test]
    fn an_unknown_agent_is_an_error_that_names_the_known_ones() {
        let expected = "there is no agent `gamma`; there are: alpha, beta, main";
        for result in [
            resolve(&[], "clawdbot:gamma", None),
            resolve(&[("x-clawdbot-agent-id", "gamma")], "clawdbot", None),
            resolve(&[("x-clawdbot-session-key", "agent:gamma:x")], "clawdbot", None),
        ] {
            let error = result.expect_err("there is no such agent");
            assert!(error.contains(expected) && error.contains("model_not_found"), "{error}");
        }
    }

    #[test]
    fn the_session_is_the_key_then_the_user() {
        let check = |headers: &[(&'static str, &str)], user, expected: &str| {
            assert_eq!(resolve(headers, "clawdbot", user).as_deref(), Ok(expected), "{headers:?} {user:?}");
        };
        check(&[], Some("Alice"), "agent:main:openai-user:alice");
        check(&[], Some("  "), "agent:main:openai");
        check(&[("x-clawdbot-session-key", "agent:beta:openai:custom")], Some("alice"), "agent:beta:openai:custom");
        check(&[("x-openclaw-session-key", "mine")], None, "agent:main:mine");
        check(&[("x-moltbot-session-key", "agent:beta:x"), ("x-clawdbot-agent", "alpha")], None, "agent:beta:x");
    }

    #[test]
    fn a_reserved_namespace_is_refused_and_named() {
        let error = resolve(&[("x-clawdbot-session-key", "cron:daily")], "clawdbot", None).expect_err("reserved");
        assert!(error.contains("cron:") && error.contains(r#""param":"x-clawdbot-session-key""#), "{error}");
    }
}
