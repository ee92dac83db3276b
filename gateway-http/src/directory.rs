//! Which agents there are, as far as the gateway knows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use proto::agent::v1::{ListAgentsRequest, ListAgentsResponse, agent_runner_client::AgentRunnerClient};
use shared::{AgentId, transport::Transport};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use crate::{caller::Caller, error::ApiError};

/// An agent that is new at the runner is known here before a second has passed since its configuration was written.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The runner's agents, asked for again and again.
pub(crate) struct Directory {
    runner: AgentRunnerClient<Transport>,
    latest: ArcSwapOption<Agents>,
    reachable: AtomicBool,
}

/// The agents at one time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agents {
    /// Every agent, in the configured order.
    pub(crate) ids: Vec<AgentId>,
    /// The one that answers when none is asked for.
    pub(crate) default_id: AgentId,
}

impl Directory {
    pub(crate) fn new(runner: AgentRunnerClient<Transport>) -> Self {
        Self { runner, latest: ArcSwapOption::empty(), reachable: false.into() }
    }

    /// The agents as last heard of; before the first time, the runner is asked now.
    pub(crate) async fn agents(&self) -> Result<Arc<Agents>, ApiError> {
        match self.latest.load_full() {
            Some(agents) => Ok(agents),
            None => self.refresh().await.map_err(|status| {
                tracing::error!(%status, "the agent runner cannot be reached");
                ApiError::unavailable("the agent runner cannot be reached; try again later")
            }),
        }
    }

    /// Whether the runner answered when it was last asked.
    pub(crate) fn is_runner_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Keeps asking until `stop` is cancelled.
    pub(crate) async fn watch(&self, stop: &CancellationToken) {
        let watching = async {
            let mut was_reachable = None;
            loop {
                let refreshed = self.refresh().await;
                let is_reachable = self.is_runner_reachable();
                if was_reachable.replace(is_reachable) != Some(is_reachable) {
                    match &refreshed {
                        Err(status) if !is_reachable => tracing::warn!(%status, "the agent runner cannot be reached"),
                        Ok(_) | Err(_) => tracing::info!("the agent runner can be reached"),
                    }
                }
                tokio::time::sleep(if is_reachable { REFRESH_INTERVAL } else { RETRY_INTERVAL }).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
        }
    }

    async fn refresh(&self) -> Result<Arc<Agents>, Status> {
        let mut request = Request::new(ListAgentsRequest {});
        request.set_timeout(CALL_TIMEOUT);
        let listed = self.runner.clone().list_agents(request).await;
        // A runner that has enough to do is there all the same.
        let is_reachable = listed.as_ref().err().is_none_or(|status| status.code() == Code::ResourceExhausted);
        self.reachable.store(is_reachable, Ordering::Relaxed);
        let agents = Arc::new(Agents::try_from(listed?.into_inner())?);
        self.latest.store(Some(agents.clone()));
        Ok(agents)
    }
}

impl Agents {
    /// The error for an agent that does not exist, which names those that the caller may use.
    /// `param` is where it was asked for.
    pub(crate) fn unknown(&self, asked_for: &str, caller: &Caller, param: &str) -> ApiError {
        let known: Vec<&str> = self.ids.iter().filter(|id| caller.may_use(id)).map(AgentId::as_str).collect();
        let message = format!("there is no agent `{asked_for}`; there are: {}", known.join(", "));
        ApiError::model_not_found(message, param)
    }
}

impl TryFrom<ListAgentsResponse> for Agents {
    type Error = Status;

    fn try_from(listed: ListAgentsResponse) -> Result<Self, Status> {
        let parse = |id: &str| id.parse().map_err(|_| Status::internal(format!("the runner has an agent `{id}`")));
        Ok(Self {
            ids: listed.agents.iter().map(|agent| parse(&agent.id)).collect::<Result<_, _>>()?,
            default_id: parse(&listed.default_agent_id)?,
        })
    }
}
