//! Who sent a request: whose sessions it can reach, and which agents it may ask.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use shared::{AgentId, Namespace, SessionKey};
use tracing::Span;

use crate::{
    Gateway, Settings,
    address::{Block, Source},
    brand,
    directory::Agents,
    error::ApiError,
    limits::{CallerLimits, Holder, RateReport},
};

/// Someone who showed a secret of the gateway; by default the main caller, who sees every session and asks every agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    namespace: Namespace,
    agents: Option<Arc<[AgentId]>>,
    /// What the caller may take of the gateway, where it has limits of its own.
    limits: Option<CallerLimits>,
    door: Door,
}

/// How the caller came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Door {
    /// With a secret, or the word of a proxy.
    #[default]
    Known,
    /// From an address, without either.
    Anonymous(Option<Block>),
}

impl Caller {
    /// The bearer of a named token, whose sessions are in the namespace of that name; with `agents` limited to these.
    pub(crate) fn named(namespace: Namespace, agents: Option<Vec<AgentId>>) -> Self {
        Self { namespace, agents: agents.map(Arc::from), ..Self::default() }
    }

    /// A main caller who needed no secret.
    pub(crate) fn anonymous(block: Option<Block>) -> Self {
        Self { door: Door::Anonymous(block), ..Self::default() }
    }

    /// The same with limits of its own.
    pub(crate) fn with_limits(self, limits: CallerLimits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// What the caller may take of the gateway.
    pub(crate) fn limits(&self, settings: &Settings) -> CallerLimits {
        self.limits.unwrap_or(settings.limits.callers)
    }

    /// With whom the caller's use of the gateway is counted.
    pub(crate) fn holder(&self) -> Holder {
        match self.door {
            Door::Known => Holder::Token(self.namespace.clone()),
            Door::Anonymous(block) => Holder::Address(block),
        }
    }

    /// Whether somebody vouches for the caller.
    pub(crate) fn is_known(&self) -> bool {
        self.door == Door::Known
    }

    /// Where the caller's own sessions are.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether the caller may ask this agent, and see its sessions.
    pub(crate) fn may_use(&self, agent_id: &AgentId) -> bool {
        self.agents.as_ref().is_none_or(|agents| agents.contains(agent_id))
    }

    /// Refuses an agent that is not the caller's, whether it exists or not. `param` is where it was asked for.
    pub(crate) fn check(&self, agent_id: &AgentId, param: &str) -> Result<(), ApiError> {
        match &self.agents {
            Some(agents) if !agents.contains(agent_id) => {
                let allowed: Vec<&str> = agents.iter().map(AgentId::as_str).collect();
                let message =
                    format!("this token may not use the agent `{agent_id}`; it may use: {}", allowed.join(", "));
                Err(ApiError::forbidden(message, param))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The model that the headers name in place of the agent's own; empty when they name none. It could be any model of
    /// any provider, so a token that is limited to agents has theirs alone.
    pub(crate) fn model(&self, headers: &HeaderMap) -> Result<String, ApiError> {
        let model = brand::header(headers, brand::MODEL)?.unwrap_or_default();
        if !model.is_empty() && self.agents.is_some() {
            let message = "this token may use some agents only, and so only their models; leave the header out";
            return Err(ApiError::forbidden(message, brand::MODEL[0]));
        }
        Ok(model.to_owned())
    }

    /// The session that the caller calls `text`, and its agent; `param` is where it stands. Only a main caller can name
    /// one of another namespace.
    pub(crate) fn session(&self, text: &str, agents: &Agents, param: &str) -> Result<(SessionKey, AgentId), ApiError> {
        let session_key = SessionKey::from_client(&self.namespace, text, &agents.default_id)
            .map_err(|error| ApiError::invalid_value(param, &error.to_string()))?;
        let agent_id = session_key.agent_id().unwrap_or_else(|| agents.default_id.clone());
        self.check(&agent_id, param)?;
        Ok((session_key, agent_id))
    }

    /// The session of the user `user` of this caller with an agent, through the Responses API.
    pub(crate) fn responses_user_session(&self, agent_id: &AgentId, user: &str) -> Result<SessionKey, ApiError> {
        SessionKey::for_responses_user(&self.namespace, agent_id, user)
            .map_err(|error| ApiError::invalid_value("user", &error.to_string()))
    }

    /// The session of the user `user` of this caller with an agent.
    pub(crate) fn user_session(&self, agent_id: &AgentId, user: &str) -> Result<SessionKey, ApiError> {
        SessionKey::for_user(&self.namespace, agent_id, user)
            .map_err(|error| ApiError::invalid_value("user", &error.to_string()))
    }

    /// The session of a conversation of this caller's with an agent; `param` is the header that names it.
    pub(crate) fn conversation_session(
        &self,
        agent_id: &AgentId,
        conversation: &str,
        param: &str,
    ) -> Result<SessionKey, ApiError> {
        SessionKey::for_conversation(&self.namespace, agent_id, conversation)
            .map_err(|error| ApiError::invalid_value(param, &error.to_string()))
    }
}

/// Every request to an endpoint that takes a [`Caller`] needs a secret, and counts as one of the caller's. The token's
/// name is put on the request's span.
impl FromRequestParts<Gateway> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let settings = gateway.settings();
        let source = parts.extensions.get::<Source>().copied().unwrap_or_default();
        let caller = gateway.authenticate(&parts.headers, source, &settings).await?;
        if !caller.namespace.is_main() {
            Span::current().record("token.name", caller.namespace.as_str());
        }
        gateway.count_request(&caller, &settings, parts.extensions.get::<RateReport>())?;
        Ok(caller)
    }
}
