//! What a model would be sent. Nothing is begun: the transcript is read as it is, whoever holds the session's turn.

use proto::agent::v1::{PreviewPromptRequest, PreviewPromptResponse};
use tonic::Status;

use super::{Service, check};
use crate::{
    conversation::Conversation,
    failure::{Failure, invalid_argument},
    prompt::{self, Parts},
    run::{self, Toolbox},
    turn::Transcript,
};

impl Service {
    /// Builds the prompt that the run would have. A request that says nothing new is taken too: it shows what every run
    /// would begin with.
    pub(super) async fn preview(&self, request: PreviewPromptRequest) -> Result<PreviewPromptResponse, Status> {
        let mut run = request.run.unwrap_or_default();
        check(&run)?;
        let configured = self.configured();
        let shared = &configured.shared;
        let agent = configured.agent(&run.agent_id)?;
        let candidates = configured.candidates(agent, &run.model)?;
        let model = &candidates[0].name;
        let transcript = if run.stateless {
            Transcript::default()
        } else {
            let read = self.inner.store.read(&run.session_key, shared.settings.window_messages).await;
            read.map_err(|failure| refused(&run.run_id, &failure))?
        };
        let says_nothing = run.input.is_empty() && run.history.is_empty();
        let new = if says_nothing {
            Vec::new()
        } else {
            let new = prompt::new_messages(&mut run, transcript.message_count == 0);
            new.map_err(|failure| refused(&run.run_id, &failure))?
        };
        let own = shared.tools.for_run(&agent.id, candidates.iter().map(|candidate| &candidate.name)).await;
        let toolbox = Toolbox::new(own, run.tools, run.tool_choice);
        let toolbox = toolbox.map_err(|failure| refused(&run.run_id, &failure))?;
        let tools = toolbox.definitions();
        let system = shared.prompts.system(&Parts { agent, model, tools, instructions: &run.instructions });
        let mut conversation = Conversation::new(transcript.window, 0);
        for message in new {
            conversation.push(message);
        }
        let messages = prompt::build(&system, conversation.visible());
        Ok(PreviewPromptResponse { model: model.to_string(), messages, tools: tools.to_vec() })
    }
}

fn refused(run_id: &str, failure: &Failure) -> Status {
    if let Failure::Invalid { param, reason } = failure {
        return invalid_argument(param, reason);
    }
    run::log(run_id, failure);
    Status::unavailable(failure.to_string())
}
