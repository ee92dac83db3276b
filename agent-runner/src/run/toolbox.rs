//! The tools of one run: the agent's own and the client's, and whose a call is.

use std::{collections::HashSet, sync::Arc};

use proto::agent::v1::{FunctionTool, ToolChoice, tool_choice::Mode};

use crate::{
    failure::Failure,
    tool::{Tool, toolset::Toolset},
};

/// Whose tool a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The agent's: it is called here, and the model gets the result.
    Agent,
    /// The client's: the call ends the turn.
    Client,
}

/// Which tools a question offers to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// As the client asked.
    AsAsked,
    /// Whatever the model wants; what the client asked for was seen to.
    Any,
    /// None: the model has to answer.
    None,
}

/// What the model can call in one run.
#[derive(Default)]
pub(crate) struct Toolbox {
    own: Arc<Toolset>,
    client: HashSet<String>,
    definitions: Arc<[FunctionTool]>,
    choice: Option<ToolChoice>,
}

impl Toolbox {
    /// Fails when the client's tools have a name twice, or one of the agent's.
    pub(crate) fn new(
        own: Arc<Toolset>,
        client: Vec<FunctionTool>,
        choice: Option<ToolChoice>,
    ) -> Result<Self, Failure> {
        let invalid = |reason: String| Failure::Invalid { param: "tools", reason };
        if own.is_empty() {
            // Without tools of its own the agent has no say in what the client's are called.
            return Ok(Self { own, client: HashSet::new(), definitions: client.into(), choice });
        }
        let mut names = HashSet::with_capacity(client.len());
        for tool in &client {
            if own.get(&tool.name).is_some() {
                return Err(invalid(format!("the agent has a tool called `{}` itself", tool.name)));
            }
            if !names.insert(tool.name.clone()) {
                return Err(invalid(format!("two tools are called `{}`", tool.name)));
            }
        }
        // The client speaks of its own tools: if it wants none of them called, the agent's are still there.
        let wants_none = choice.as_ref().is_some_and(|choice| choice.mode() == Mode::None);
        let (client, choice) = if wants_none { (Vec::new(), None) } else { (client, choice) };
        let definitions = own.definitions().iter().cloned().chain(client).collect();
        Ok(Self { own, client: names, definitions, choice })
    }

    /// What the model is told of all tools.
    pub(crate) fn definitions(&self) -> &Arc<[FunctionTool]> {
        &self.definitions
    }

    /// Which tool the model may or must call.
    pub(crate) fn choice(&self, offer: Offer) -> Option<ToolChoice> {
        match offer {
            Offer::AsAsked => self.choice.clone(),
            // A call that was demanded has been made; to demand it again would never end.
            Offer::Any => self.choice.clone().filter(|choice| matches!(choice.mode(), Mode::Auto | Mode::None)),
            Offer::None if self.definitions.is_empty() => None,
            Offer::None => Some(ToolChoice { mode: Mode::None.into(), ..ToolChoice::default() }),
        }
    }

    /// Whose tool it is. A name that nobody knows is the agent's to answer for, if it has tools at all.
    pub(crate) fn owner(&self, name: &str) -> Owner {
        if self.own.is_empty() || self.client.contains(name) { Owner::Client } else { Owner::Agent }
    }

    /// A tool of the agent's own.
    pub(crate) fn own(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.own.get(name)
    }
}
