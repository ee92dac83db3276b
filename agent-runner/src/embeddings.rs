//! Which model makes an agent's embeddings, and asking it.

use std::{collections::HashMap, time::Duration};

use proto::agent::v1::{EmbedRequest, EmbedResponse, Embedding};
use serde::Deserialize;
use shared::{
    AgentId,
    config::{self, Document},
};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    agents::ModelName,
    config::Models,
    failover::{Candidate, Failover, Plan},
    failure::Failure,
    metrics,
    model::{Embedded, Texts},
};

/// The most texts of one call.
pub(crate) const MAX_TEXTS: usize = 2048;

/// The embedding models of all agents.
#[derive(Debug)]
pub(crate) struct Embeddings {
    defaults: Choice,
    own: HashMap<AgentId, Choice>,
    timeout: Duration,
}

/// What is said of an embedding model, under Clawdbot's own names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Choice {
    provider: Option<String>,
    model: Option<String>,
}

/// No model makes embeddings for an agent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; see `agents.defaults.memorySearch.provider` and `agents.defaults.memorySearch.model`")]
pub(crate) struct NotConfigured(String);

#[derive(Default, Deserialize)]
#[serde(default)]
struct AgentsSection {
    defaults: Searching,
    list: Vec<ListedAgent>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Searching {
    memory_search: Choice,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedAgent {
    id: AgentId,
    #[serde(default)]
    memory_search: Choice,
}

impl Embeddings {
    /// Reads what is said of the agents. `timeout` is the longest that one call may take.
    pub(crate) fn load(document: &Document, timeout: Duration) -> Result<Self, config::Error> {
        let AgentsSection { defaults, list } = document.section("agents")?;
        let own = list.into_iter().map(|agent| (agent.id, agent.memory_search)).collect();
        Ok(Self { defaults: defaults.memory_search, own, timeout })
    }

    /// Those of agents of which nothing is said.
    #[cfg(test)]
    pub(crate) fn with(timeout: Duration) -> Self {
        Self { defaults: Choice::default(), own: HashMap::new(), timeout }
    }

    /// The model of an agent, which is at one of these providers.
    pub(crate) fn model(&self, agent_id: &AgentId, models: &Models) -> Result<Candidate, NotConfigured> {
        let choice = self.own.get(agent_id).cloned().unwrap_or_default().or(&self.defaults);
        let name = choice.name(models)?;
        let provided = models.get(&name.provider);
        let provided = provided
            .ok_or_else(|| {
                NotConfigured(format!("no embedding model: there is no model provider `{}`", name.provider))
            })?
            .clone();
        Ok(Candidate { name, provided, is_configured: true })
    }

    /// Asks a model, with one of its provider's keys after the other.
    pub(crate) async fn ask(
        &self,
        failover: &Failover,
        agent_id: &AgentId,
        candidate: &Candidate,
        request: EmbedRequest,
    ) -> Result<EmbedResponse, Failure> {
        let name = &candidate.name;
        let texts = Texts {
            model: name.model.clone(),
            texts: request.input,
            dimensions: Some(request.dimensions).filter(|&dimensions| dimensions > 0),
            profile: candidate.provided.profile(&name.model),
        };
        let asked = tokio::time::timeout(self.timeout, ask(failover, agent_id, candidate, &texts)).await;
        let Embedded { vectors, usage } = asked.unwrap_or(Err(Failure::TimedOut(self.timeout)))?;
        let embeddings = vectors.into_iter().map(|values| Embedding { values }).collect();
        Ok(EmbedResponse { embeddings, usage: Some(usage), model: name.to_string() })
    }
}

async fn ask(
    failover: &Failover,
    agent_id: &AgentId,
    candidate: &Candidate,
    texts: &Texts,
) -> Result<Embedded, Failure> {
    let (mut plan, mut attempt) = Plan::new(failover, std::slice::from_ref(candidate));
    loop {
        if !attempt.pause.is_zero() {
            tokio::time::sleep(attempt.pause).await;
        }
        let span = embeddings_span(&candidate.name);
        let measured = metrics::ModelCall::begin(candidate);
        let asking = span.in_scope(|| candidate.provided.keys[attempt.key].embed(texts));
        match asking.instrument(span.clone()).await {
            Ok(embedded) => {
                span.record("gen_ai.usage.input_tokens", embedded.usage.prompt_tokens.cast_signed());
                measured.answered(agent_id, &embedded.usage);
                plan.answered();
                return Ok(embedded);
            }
            Err(error) => {
                let class = error.class();
                measured.failed(class);
                span.record("otel.status_code", "error");
                span.record("error.type", class.name());
                let Some(next) = plan.failed(error) else { return Err(plan.failure()) };
                attempt = next;
            }
        }
    }
}

impl Choice {
    fn or(self, other: &Self) -> Self {
        // A model is one of its provider's.
        if self.provider.is_some() {
            return self;
        }
        Self { provider: other.provider.clone(), model: self.model.or_else(|| other.model.clone()) }
    }

    fn name(self, models: &Models) -> Result<ModelName, NotConfigured> {
        // Clawdbot has a name of its own for Google, and one for whatever there is.
        let provider = match self.provider.as_deref() {
            Some("gemini") if !models.contains_key("gemini") => "google",
            None | Some("auto" | "") => "openai",
            Some(provider) => provider,
        };
        let model = match (self.model, provider) {
            (Some(model), _) if !model.is_empty() => model,
            (_, "openai") => "text-embedding-3-small".to_owned(),
            (_, "google") => "gemini-embedding-001".to_owned(),
            (_, other) => {
                return Err(NotConfigured(format!("no embedding model of the provider `{other}` is named")));
            }
        };
        Ok(ModelName { provider: provider.to_owned(), model })
    }
}

fn embeddings_span(ModelName { provider, model }: &ModelName) -> Span {
    tracing::info_span!(
        "embeddings",
        otel.name = format_args!("embeddings {model}"),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        gen_ai.operation.name = "embeddings",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.usage.input_tokens = Empty,
    )
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use shared::config::Sources;

    use super::*;
    use crate::{
        config::Provided,
        model::{EventStream, Model, Request},
    };

    struct Never;

    impl Model for Never {
        fn stream(&self, _: &Request) -> EventStream {
            Box::pin(futures_util::stream::empty())
        }
    }

    fn model(agents: &str, providers: &[&str]) -> Result<String, String> {
        let text = format!("{{agents: {agents}}}");
        let document = Document::from_text(&text, Path::new("clawdbot.json"), &Sources::default()).expect("readable");
        let embeddings = Embeddings::load(&document, Duration::from_secs(1)).expect("usable");
        let provided = |id: &&str| ((*id).to_owned(), Provided::of(Arc::new(Never)));
        let models: Models = providers.iter().map(provided).collect();
        let found = embeddings.model(&"main".parse().expect("an id"), &models);
        found.map(|candidate| candidate.name.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_model_is_the_agents_or_that_of_all() {
        let check = |agents: &str, providers: &[&str], expected: &str| {
            assert_eq!(model(agents, providers).as_deref(), Ok(expected), "{agents}");
        };
        check("{}", &["openai"], "openai/text-embedding-3-small");
        check(
            "{defaults: {memorySearch: {provider: 'auto', enabled: true}}}",
            &["openai"],
            "openai/text-embedding-3-small",
        );
        check("{defaults: {memorySearch: {model: 'm'}}}", &["openai"], "openai/m");
        check("{defaults: {memorySearch: {provider: 'gemini'}}}", &["google"], "google/gemini-embedding-001");
        check("{defaults: {memorySearch: {provider: 'gemini', model: 'm'}}}", &["gemini"], "gemini/m");
        let defaults = "defaults: {memorySearch: {provider: 'a', model: 'm'}}";
        check(&format!("{{{defaults}, list: [{{id: 'main'}}]}}"), &["a"], "a/m");
        check(&format!("{{{defaults}, list: [{{id: 'main', memorySearch: {{model: 'n'}}}}]}}"), &["a"], "a/n");
        let own = "list: [{id: 'main', memorySearch: {provider: 'b', model: 'n'}}, {id: 'other'}]";
        check(&format!("{{{defaults}, {own}}}"), &["a", "b"], "b/n");
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |agents: &str, expected: &str| {
            let error = model(agents, &["a"]).expect_err(agents);
            assert!(
                error.starts_with(expected) && error.contains("`agents.defaults.memorySearch.provider`"),
                "{error}"
            );
        };
        check("{}", "no embedding model: there is no model provider `openai`");
        check("{defaults: {memorySearch: {provider: 'local'}}}", "no embedding model of the provider `local` is named");
        check(
            "{list: [{id: 'main', memorySearch: {provider: 'a'}}]}",
            "no embedding model of the provider `a` is named",
        );
    }
}
