//! Which agent a request is for, and which session it belongs to.

use http::{HeaderMap, HeaderName};
use shared::{AgentId, SessionKey};
use uuid::Uuid;

use crate::{brand, caller::Caller, directory::Agents, error::ApiError};

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
    /// then from the model. The session comes from the key, then from the first of `session_headers` that is there,
    /// then from the user, and else the request, known by its `id`, is stateless. The session is one of the caller's own, unless a main caller names another, and its agent is
    /// one that the caller may use.
    pub(crate) fn resolve(
        headers: &HeaderMap,
        session_headers: &[HeaderName],
        model: &str,
        user: Option<&str>,
        id: Uuid,
        caller: &Caller,
        agents: &Agents,
    ) -> Result<Self, ApiError> {
        if let Some(key) = brand::header(headers, brand::SESSION_KEY)? {
            let (session_key, agent_id) = caller.session(key, agents, brand::SESSION_KEY[0])?;
            let agent_id = known(agent_id, caller, agents, brand::SESSION_KEY[0])?;
            return Ok(Self { agent_id, session_key, stateless: false });
        }
        let agent_id = match from_headers(headers, caller, agents)? {
            Some(agent_id) => agent_id,
            None => from_model(model, caller, agents)?,
        };
        for name in session_headers {
            if let Some(conversation) = brand::value(headers, name)? {
                let session_key = caller.conversation_session(&agent_id, conversation, name.as_str())?;
                return Ok(Self { agent_id, session_key, stateless: false });
            }
        }
        match user.map(str::trim).filter(|user| !user.is_empty()) {
            Some(user) => {
                let session_key = caller.user_session(&agent_id, user)?;
                Ok(Self { agent_id, session_key, stateless: false })
            }
            None => Ok(Self { session_key: SessionKey::stateless(&agent_id, id), agent_id, stateless: true }),
        }
    }
}

fn from_headers(headers: &HeaderMap, caller: &Caller, agents: &Agents) -> Result<Option<AgentId>, ApiError> {
    let value = match brand::header(headers, brand::AGENT_ID)? {
        Some(value) => Some(value),
        None => brand::header(headers, brand::AGENT)?,
    };
    let Some(value) = value else { return Ok(None) };
    let agent_id = AgentId::normalise(value).ok_or_else(|| agents.unknown(value, caller, brand::AGENT_ID[0]))?;
    known(agent_id, caller, agents, brand::AGENT_ID[0]).map(Some)
}

/// `clawdbot:<id>`, `clawdbot/<id>` and `agent:<id>` name an agent, `clawdbot/default` the default one, the same under
/// upstream's other names. Any other model does not name an agent, so the default one answers.
fn from_model(model: &str, caller: &Caller, agents: &Agents) -> Result<AgentId, ApiError> {
    let model = model.trim().to_ascii_lowercase();
    let id = ["clawdbot:", "clawdbot/", "openclaw:", "openclaw/", "moltbot:", "moltbot/", "agent:"]
        .iter()
        .find_map(|prefix| model.strip_prefix(prefix));
    let is_default_asked_for = id == Some("default") && !agents.ids.iter().any(|known| known.as_str() == "default");
    match id.map(str::parse::<AgentId>) {
        Some(Ok(agent_id)) if !is_default_asked_for => known(agent_id, caller, agents, "model"),
        Some(Ok(_) | Err(_)) | None => known(agents.default_id.clone(), caller, agents, "model"),
    }
}

fn known(agent_id: AgentId, caller: &Caller, agents: &Agents, param: &str) -> Result<AgentId, ApiError> {
    caller.check(&agent_id, param)?;
    if agents.ids.contains(&agent_id) { Ok(agent_id) } else { Err(agents.unknown(agent_id.as_str(), caller, param)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents() -> Agents {
        let id = |id: &str| id.parse().expect("a valid id");
        Agents { ids: vec![id("alpha"), id("beta"), id("main")], default_id: id("main") }
    }

    fn session_headers() -> [HeaderName; 2] {
        ["x-chat", "x-thread"].map(HeaderName::from_static)
    }

    /// A main caller's session key, without what is random about it.
    fn resolve(headers: &[(&'static str, &str)], model: &str, user: Option<&str>) -> Result<String, String> {
        resolve_for(&Caller::default(), headers, model, user)
    }

    fn resolve_for(
        caller: &Caller,
        headers: &[(&'static str, &str)],
        model: &str,
        user: Option<&str>,
    ) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header value"));
        }
        let target = Target::resolve(&map, &session_headers(), model, user, Uuid::nil(), caller, &agents())
            .map_err(|error| error.to_json())?;
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
    fn a_listed_header_names_a_conversation() {
        let check = |headers: &[(&'static str, &str)], user, expected: &str| {
            assert_eq!(resolve(headers, "clawdbot:beta", user).as_deref(), Ok(expected), "{headers:?} {user:?}");
        };
        check(&[("x-chat", " Ab-1 ")], None, "agent:beta:openai-conversation:Ab-1");
        check(&[("x-chat", "1")], Some("alice"), "agent:beta:openai-conversation:1");
        check(&[("x-thread", "2"), ("x-chat", "1")], None, "agent:beta:openai-conversation:1");
        check(&[("x-thread", "2"), ("x-chat", " ")], None, "agent:beta:openai-conversation:2");
        check(&[("x-other", "3")], Some("alice"), "agent:beta:openai-user:alice");
        check(&[("x-chat", "1"), ("x-clawdbot-session-key", "mine")], None, "agent:main:mine");
        let bob = Caller::named("bob".parse().expect("a name"), None);
        let key = resolve_for(&bob, &[("x-chat", "1")], "clawdbot", None);
        assert_eq!(key.as_deref(), Ok("@bob:agent:main:openai-conversation:1"));
        let error = resolve(&[("x-chat", &"1".repeat(512))], "clawdbot", None).expect_err("too long");
        assert!(error.contains(r#""param":"x-chat""#), "{error}");
    }

    #[test]
    fn a_named_token_reaches_its_own_sessions_only() {
        let bob = Caller::named("bob".parse().expect("a name"), None);
        let check = |headers: &[(&'static str, &str)], user, expected: &str| {
            assert_eq!(resolve_for(&bob, headers, "clawdbot", user).as_deref(), Ok(expected), "{headers:?} {user:?}");
        };
        check(&[], Some("alice"), "@bob:agent:main:openai-user:alice");
        for (key, expected) in [
            ("agent:beta:x", "@bob:agent:beta:x"),
            ("@alice:agent:beta:x", "@bob:agent:main:@alice:agent:beta:x"),
            ("@:agent:beta:x", "@bob:agent:main:@:agent:beta:x"),
        ] {
            check(&[("x-clawdbot-session-key", key)], Some("alice"), expected);
        }
    }

    #[test]
    fn a_limited_token_may_use_its_agents_only() {
        let bob = Caller::named("bob".parse().expect("a name"), Some(vec!["beta".parse().expect("an id")]));
        let user = Some("x");
        assert_eq!(resolve_for(&bob, &[], "clawdbot:beta", user).as_deref(), Ok("@bob:agent:beta:openai-user:x"));
        for (headers, model, param) in [
            (&[][..], "clawdbot", "model"),
            (&[], "gpt-4o", "model"),
            (&[], "clawdbot:alpha", "model"),
            (&[], "clawdbot:gamma", "model"),
            (&[("x-clawdbot-agent", "alpha")], "clawdbot:beta", "x-clawdbot-agent-id"),
            (&[("x-clawdbot-session-key", "agent:alpha:x")], "clawdbot:beta", "x-clawdbot-session-key"),
            (&[("x-clawdbot-session-key", "bare")], "clawdbot:beta", "x-clawdbot-session-key"),
        ] {
            let error = resolve_for(&bob, headers, model, user).expect_err("beta only");
            assert!(error.contains("it may use: beta") && error.contains(r#""code":"forbidden""#), "{error}");
            assert!(error.contains(&format!(r#""param":"{param}""#)), "{error}");
        }
    }

    #[test]
    fn a_reserved_namespace_is_refused_and_named() {
        let error = resolve(&[("x-clawdbot-session-key", "cron:daily")], "clawdbot", None).expect_err("reserved");
        assert!(error.contains("cron:") && error.contains(r#""param":"x-clawdbot-session-key""#), "{error}");
    }
}
