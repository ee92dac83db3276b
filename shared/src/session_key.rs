//! The name of a session, by upstream's rules.

use std::fmt;

use uuid::Uuid;

use crate::{AgentId, Namespace};

const MAX_BYTES: usize = 512;
const RESERVED: [&str; 3] = ["subagent:", "cron:", "acp:"];

/// A session's key: what names a conversation to everything behind the gateway; 1 to 512 bytes.
///
/// `agent:<agent>:<name>`, or `@<namespace>:agent:<agent>:<name>` for a session of a namespace other than the main one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey(String);

/// Why a session key cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSessionKey {
    /// Nothing is left when spaces are trimmed.
    #[error("session key is empty")]
    Empty,
    /// The key would be too long.
    #[error("session key longer than 512 bytes")]
    TooLong,
    /// Keys hold no control characters.
    #[error("session key has a control character")]
    ControlCharacter,
    /// The namespace is for the gateway's own sessions.
    #[error("session key uses the reserved namespace `{0}`")]
    Reserved(&'static str),
}

impl SessionKey {
    /// The key of a request that keeps nothing: `agent:<id>:openai:<uuid>`.
    pub fn stateless(agent_id: &AgentId, id: Uuid) -> Self {
        Self(format!("agent:{agent_id}:openai:{id}"))
    }

    /// The key of a user's conversation with an agent: `agent:<id>:openai-user:<user, lower case>`.
    pub fn for_user(namespace: &Namespace, agent_id: &AgentId, user: &str) -> Result<Self, InvalidSessionKey> {
        let user = non_empty(user)?.to_lowercase();
        checked(namespace.key(&format!("agent:{agent_id}:openai-user:{user}")))
    }

    /// The key of a conversation that a client names otherwise: `agent:<id>:openai-conversation:<conversation>`.
    pub fn for_conversation(
        namespace: &Namespace,
        agent_id: &AgentId,
        conversation: &str,
    ) -> Result<Self, InvalidSessionKey> {
        let conversation = non_empty(conversation)?;
        checked(namespace.key(&format!("agent:{agent_id}:openai-conversation:{conversation}")))
    }

    /// The key of a user's conversation through the Responses API: `agent:<id>:openresponses-user:<user, lower case>`.
    pub fn for_responses_user(
        namespace: &Namespace,
        agent_id: &AgentId,
        user: &str,
    ) -> Result<Self, InvalidSessionKey> {
        let user = non_empty(user)?.to_lowercase();
        checked(namespace.key(&format!("agent:{agent_id}:openresponses-user:{user}")))
    }

    /// The key of a conversation that begins with a response: `agent:<id>:openresponses:<uuid>`.
    pub fn for_response(namespace: &Namespace, agent_id: &AgentId, id: Uuid) -> Self {
        Self(namespace.key(&format!("agent:{agent_id}:openresponses:{id}")))
    }

    /// A key that the client gives in full. A bare one becomes `agent:<default agent>:<key>`; the namespaces of the
    /// gateway's own sessions are refused. Only in the main namespace may the key name another one.
    pub fn from_client(namespace: &Namespace, text: &str, default_agent: &AgentId) -> Result<Self, InvalidSessionKey> {
        let (named, text) = if namespace.is_main() { Namespace::split(text.trim()) } else { ("", text) };
        let namespace = named.parse().unwrap_or_else(|_| namespace.clone());
        let text = non_empty(text)?;
        let key = match split(text) {
            Some(_) => text.to_owned(),
            None => format!("agent:{default_agent}:{text}"),
        };
        let (_, name) = split(&key).ok_or(InvalidSessionKey::Empty)?;
        let lower_case = name.to_ascii_lowercase();
        match RESERVED.into_iter().find(|reserved| lower_case.starts_with(reserved)) {
            Some(reserved) => Err(InvalidSessionKey::Reserved(reserved)),
            None => checked(namespace.key(&key)),
        }
    }

    /// A key as the session store or a runner gave it back.
    pub fn of_store(key: String) -> Self {
        Self(key)
    }

    /// The agent that the key names.
    pub fn agent_id(&self) -> Option<AgentId> {
        split(Namespace::split(&self.0).1).map(|(agent_id, _)| agent_id)
    }

    /// The key as it is known in a namespace: without the namespace's name if it is in it, and in full elsewhere.
    pub fn seen_from(&self, namespace: &Namespace) -> &str {
        namespace.view(&self.0)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn non_empty(text: &str) -> Result<&str, InvalidSessionKey> {
    let text = text.trim();
    if text.is_empty() { Err(InvalidSessionKey::Empty) } else { Ok(text) }
}

fn checked(key: String) -> Result<SessionKey, InvalidSessionKey> {
    if key.len() > MAX_BYTES {
        Err(InvalidSessionKey::TooLong)
    } else if key.chars().any(char::is_control) {
        Err(InvalidSessionKey::ControlCharacter)
    } else {
        Ok(SessionKey(key))
    }
}

/// Takes `agent:<id>:<name>` apart; `None` when the text is not of that form.
fn split(key: &str) -> Option<(AgentId, &str)> {
    let (agent_id, name) = key.strip_prefix("agent:")?.split_once(':')?;
    if name.is_empty() {
        return None;
    }
    Some((agent_id.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main() -> AgentId {
        "main".parse().expect("a valid id")
    }

    #[test]
    fn a_user_always_has_the_same_key() {
        let key = |user: &str| SessionKey::for_user(&Namespace::MAIN, &main(), user).map(|key| key.to_string());
        assert_eq!(key("alice"), Ok("agent:main:openai-user:alice".to_owned()));
        assert_eq!(key(" Alice "), key("alice"));
        assert_eq!(key("  "), Err(InvalidSessionKey::Empty));
        assert_eq!(key(&"a".repeat(512)), Err(InvalidSessionKey::TooLong));
        assert_eq!(key("a\nb"), Err(InvalidSessionKey::ControlCharacter));
    }

    #[test]
    fn a_conversation_keeps_its_name() {
        let key = |name: &str| SessionKey::for_conversation(&Namespace::MAIN, &main(), name).map(|key| key.to_string());
        assert_eq!(key(" Chat-1 "), Ok("agent:main:openai-conversation:Chat-1".to_owned()));
        assert_eq!(key(" "), Err(InvalidSessionKey::Empty));
        assert_eq!(key(&"a".repeat(512)), Err(InvalidSessionKey::TooLong));
    }

    #[test]
    fn a_client_may_give_any_key_but_a_reserved_one() {
        let check = |text: &str, expected: Result<&str, InvalidSessionKey>| {
            let key = SessionKey::from_client(&Namespace::MAIN, text, &main()).map(|key| key.to_string());
            assert_eq!(key, expected.map(str::to_owned), "{text:?}");
        };
        check("agent:beta:openai:custom", Ok("agent:beta:openai:custom"));
        check("Custom Key", Ok("agent:main:Custom Key"));
        check("agent:beta", Ok("agent:main:agent:beta"));
        check("agent:beta:", Ok("agent:main:agent:beta:"));
        check(" ", Err(InvalidSessionKey::Empty));
        check("cron:daily", Err(InvalidSessionKey::Reserved("cron:")));
        check("agent:beta:subagent:x", Err(InvalidSessionKey::Reserved("subagent:")));
        check("agent:beta:ACP:x", Err(InvalidSessionKey::Reserved("acp:")));
        check(" @bob:mine", Ok("@bob:agent:main:mine"));
        check("@bob:agent:beta:acp:x", Err(InvalidSessionKey::Reserved("acp:")));
    }

    #[test]
    fn nobody_names_a_key_of_another_namespace() {
        let bob: Namespace = "bob".parse().expect("a name");
        let check = |text: &str, expected: &str| {
            let key = SessionKey::from_client(&bob, text, &main()).expect("a valid key");
            assert_eq!((key.as_str(), key.agent_id().is_some()), (format!("@bob:{expected}").as_str(), true), "{text}");
            assert_eq!((key.seen_from(&bob), key.seen_from(&Namespace::MAIN)), (expected, key.as_str()));
        };
        check("agent:beta:x", "agent:beta:x");
        check("mine", "agent:main:mine");
        check("@alice:agent:beta:x", "agent:main:@alice:agent:beta:x");
        check("@bob:agent:beta:x", "agent:main:@bob:agent:beta:x");
        let user = SessionKey::for_user(&bob, &main(), "alice").expect("a valid key");
        assert_eq!(user.as_str(), "@bob:agent:main:openai-user:alice");
        assert_eq!(user.agent_id(), Some(main()));
    }

    #[test]
    fn a_key_names_its_agent() {
        let key = SessionKey::from_client(&Namespace::MAIN, "agent:Beta:x", &main()).expect("a valid key");
        assert_eq!(key.agent_id(), "beta".parse().ok());
    }
}
