//! The seam behind which the agent's own tools live.

mod blocking;
pub(crate) mod builtin;
mod function;
pub(crate) mod policy;
mod settings;
pub(crate) mod toolset;

use std::{future::Future, pin::Pin, sync::Arc};

use proto::agent::v1::FunctionTool;
use shared::AgentId;

use crate::agents::ModelName;

pub(crate) use blocking::Caller;
use blocking::blocking;
pub(crate) use settings::Settings;

/// Something that the model can have done.
pub(crate) trait Tool: Send + Sync {
    /// What the model is told of it: its name, what it is for, and the JSON Schema of its arguments.
    fn definition(&self) -> &FunctionTool;

    /// Whether a call has to be alone: what it changes, the calls beside it may need. Calls of one answer are made in
    /// their order as far as one of them is exclusive; the others go on together.
    fn is_exclusive(&self) -> bool;

    /// Does it. Dropping the future stops the work behind it: requests and processes at once, and work on files before it
    /// changes anything, unless it is just about to. How long it may take and how much it may say is the caller's affair.
    fn call<'a>(&'a self, call: Call<'a>) -> Calling<'a>;
}

/// A call under way: what the model is told.
pub(crate) type Calling<'a> = Pin<Box<dyn Future<Output = Result<String, Error>> + Send + 'a>>;

/// One call of a tool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The arguments as the model wrote them: JSON text, not checked. Empty stands for `{}`.
    pub(crate) arguments: &'a str,
    /// The run that the call belongs to.
    pub(crate) run: &'a RunFacts,
}

/// What a tool can know of the run that calls it.
#[derive(Clone, Debug)]
pub(crate) struct RunFacts {
    pub(crate) run_id: Arc<str>,
    pub(crate) agent_id: AgentId,
    /// `None` for a stateless run.
    pub(crate) session_key: Option<Arc<str>>,
    /// The model that is asked first.
    pub(crate) model: ModelName,
    /// How many messages the session had when the run began.
    pub(crate) message_count: u64,
}

/// Why a tool failed, in words for the model. It never holds what the model may not see.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(pub(crate) String);

impl Error {
    /// The work behind a tool's call could not be awaited: it panicked, or the runner ends.
    fn broken_off() -> Self {
        Self("the tool broke off; the log of the runner may say why".to_owned())
    }
}
