//! One run: a task that takes a turn, drives the agent loop, streams what happens, and keeps the turn or gives it up.

mod again;
mod answer;
mod ask;
mod call;
mod demand;
mod events;
mod machine;
mod spans;
mod sum_up;
mod toolbox;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::{
    agent::v1::{Failed, FinishReason, Finished, RunRequest, Started, run_event::Kind},
    session::v1::{Message, TurnEnd, Usage},
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    agents::Agent,
    conversation::{self, Conversation, Room},
    embeddings::Embeddings,
    failover::{Candidate, Failover},
    failure::Failure,
    images::{self, Gallery, Images},
    metrics, model,
    prompt::{self, Parts, Prompts},
    slots::Ticket,
    tool::{RunFacts, toolset::Tools},
    turn::{Store, Transcript, Turn},
};
use machine::{Action, Input, Machine};

#[cfg(test)]
pub(crate) use answer::Answer;
pub(crate) use ask::Voice;
pub(crate) use call::ToolLimits;
pub(crate) use events::{Events, channel};
pub(crate) use machine::Limits;
pub(crate) use toolbox::Toolbox;

/// What all runs of a runner share.
pub(crate) struct Shared {
    pub(crate) failover: Failover,
    pub(crate) prompts: Prompts,
    pub(crate) tools: Tools,
    pub(crate) images: Images,
    pub(crate) embeddings: Embeddings,
    pub(crate) settings: Settings,
}

/// How runs behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The longest that a run may take.
    pub(crate) run_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) tools: ToolLimits,
    /// Tokens of a model's context that are left free; at most a quarter of it.
    pub(crate) reserve_tokens: u64,
    /// Tokens of the newest messages that are never summed up; at most a quarter of the context.
    pub(crate) keep_recent_tokens: u64,
    /// The most messages of a transcript that a model sees.
    pub(crate) window_messages: u32,
}

impl Settings {
    /// How much of a conversation a model takes.
    fn room(&self, profile: &model::Profile) -> Room {
        let context = profile.context_window;
        let at_most_a_quarter = |tokens: u64| tokens.min(context / 4);
        Room {
            context,
            reserve: at_most_a_quarter(self.reserve_tokens),
            keep: at_most_a_quarter(self.keep_recent_tokens),
        }
    }
}

/// A run that has not begun.
pub(crate) struct Run {
    pub(crate) request: RunRequest,
    pub(crate) agent: Arc<Agent>,
    /// The models that may answer, in the order in which they are asked; never empty.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ticket: Ticket,
    /// The session store, unless the run is stateless.
    pub(crate) store: Option<Store>,
    pub(crate) events: Events,
    pub(crate) voice: Voice,
}

/// What ends a run before its time.
#[derive(Clone, Debug)]
pub(crate) struct Cancelled {
    /// Somebody cancelled this run, or hung up.
    pub(crate) run: CancellationToken,
    /// The runner shuts down.
    pub(crate) runner: CancellationToken,
}

impl Cancelled {
    async fn wait(&self) -> Failure {
        tokio::select! {
            biased;
            () = self.runner.cancelled() => Failure::ShuttingDown,
            () = self.run.cancelled() => Failure::Cancelled,
        }
    }
}

/// A run that has its answer.
struct Answered {
    /// What is new to the transcript.
    messages: Vec<Message>,
    reason: FinishReason,
    usage: Usage,
}

/// A run that is over, whose callers are still to be told.
pub(crate) struct Ended {
    events: Events,
    pub(crate) outcome: Result<Finished, Failure>,
}

impl Ended {
    /// The last event.
    pub(crate) fn last(&self) -> Kind {
        match &self.outcome {
            Ok(finished) => Kind::Finished(*finished),
            Err(failure) => Kind::Failed(Failed::from(failure)),
        }
    }

    /// Sends the last event.
    pub(crate) fn tell(self) {
        let last = self.last();
        self.events.end(last);
    }
}

impl Run {
    /// The span that the run happens in, a child of the current one.
    pub(crate) fn span(&self) -> Span {
        spans::run(&self.request, &self.agent, &self.candidates[0].name)
    }

    /// Runs to the end, whatever it is. Afterwards the turn is kept or given up; the last event is still to be told.
    ///
    /// A run can be cancelled or time out only while it answers; a whole answer is always kept.
    pub(crate) async fn execute(mut self, cancelled: Cancelled) -> Ended {
        let mut turn = None;
        let outcome = match self.answer(&mut turn, &cancelled).await {
            Ok(answered) => self.keep(turn.take(), answered).await,
            Err(Failure::AlreadyCommitted) => self.tell_again().await,
            Err(failure) => Err(failure),
        };
        if let Some(turn) = turn {
            turn.abandon().await;
        }
        match &outcome {
            Ok(finished) => spans::finished(&Span::current(), finished),
            Err(failure) => log(&self.request.run_id, failure),
        }
        metrics::run_ended(&self.agent.id, outcome.as_ref().err());
        Ended { events: self.events, outcome }
    }

    async fn answer(&mut self, turn: &mut Option<Turn>, cancelled: &Cancelled) -> Result<Answered, Failure> {
        tokio::select! {
            biased;
            failure = cancelled.wait() => Err(failure),
            answered = self.take_turn(turn) => answered,
        }
    }

    async fn keep(&mut self, turn: Option<Turn>, answered: Answered) -> Result<Finished, Failure> {
        let Answered { mut messages, reason, usage } = answered;
        if let Some(last) = messages.last_mut() {
            last.turn_end = Some(TurnEnd { reason: reason.into(), usage: Some(usage) });
        }
        let finished = Finished { reason: reason.into(), usage: Some(usage) };
        if let Some(turn) = turn {
            turn.commit(messages, usage, self.events.outcome(&Kind::Finished(finished))).await?;
        }
        Ok(finished)
    }

    /// Begins the session's turn, and drives the loop for as long as the turn's lease can be kept.
    ///
    /// A `begin` that is dropped leaves the session's line, and the store takes back a lease that it has granted
    /// meanwhile.
    async fn take_turn(&mut self, turn: &mut Option<Turn>) -> Result<Answered, Failure> {
        let toolbox = self.toolbox().await?;
        let Some(store) = &self.store else { return self.drive(Transcript::default(), toolbox).await };
        let begin = store.begin(&self.request.session_key, self.agent.id.as_str(), &self.request.run_id);
        let (taken, transcript) = begin.await?;
        let turn = turn.insert(taken);
        let after = &self.request.after_run_id;
        if !after.is_empty() && store.newest_run(&self.request.session_key).await?.as_ref() != Some(after) {
            return Err(Failure::SessionMoved);
        }
        tokio::select! {
            biased;
            answered = self.drive(transcript, toolbox) => answered,
            failure = turn.keep() => Err(failure),
        }
    }

    async fn toolbox(&mut self) -> Result<Toolbox, Failure> {
        let models = self.candidates.iter().map(|candidate| &candidate.name);
        let own = self.shared.tools.for_run(&self.agent.id, models).await;
        let client = std::mem::take(&mut self.request.tools);
        Toolbox::new(own, client, self.request.tool_choice.take())
    }

    /// Drives the loop once there is a place for it, for as long as a run may take.
    async fn drive(&mut self, transcript: Transcript, toolbox: Toolbox) -> Result<Answered, Failure> {
        let _slot = self.ticket.slot().await;
        let timeout = self.shared.settings.run_timeout;
        let answered = tokio::time::timeout(timeout, self.drive_loop(transcript, toolbox)).await;
        answered.unwrap_or(Err(Failure::TimedOut(timeout)))
    }

    /// What is shown of the conversation's pictures; nothing when no model sees any.
    async fn gallery(
        &self,
        transcript: &Transcript,
        new: &mut [Message],
        input_count: usize,
    ) -> Result<Gallery, Failure> {
        if !self.candidates.iter().any(images::takes_images) {
            return Ok(Gallery::default());
        }
        Ok(self.shared.images.gallery(&transcript.window, new, input_count).await?)
    }

    /// The loop's shell: does what the machine says, and tells it what came of it.
    async fn drive_loop(&mut self, transcript: Transcript, toolbox: Toolbox) -> Result<Answered, Failure> {
        let input_count = self.request.input.len();
        let mut new = prompt::new_messages(&mut self.request, transcript.message_count == 0)?;
        let input = &new[new.len() - input_count..];
        self.candidates = images::seeing(std::mem::take(&mut self.candidates), input)?;
        let gallery = self.gallery(&transcript, &mut new, input_count).await?;
        let first = self.candidates[0].name.clone();
        self.events.send(Kind::Started(Started { model: first.to_string(), started_at_ms: now_ms() })).await?;
        let facts = RunFacts {
            run_id: self.request.run_id.as_str().into(),
            agent_id: self.agent.id.clone(),
            session_key: (!self.request.stateless).then(|| self.request.session_key.as_str().into()),
            model: first.clone(),
            message_count: transcript.message_count,
        };
        let system = self.shared.prompts.system(&Parts {
            agent: &self.agent,
            model: &first,
            tools: toolbox.definitions(),
            instructions: &self.request.instructions,
        });
        let mut conversation = Conversation::new(transcript.window, overhead(&system, &toolbox));
        for message in new {
            conversation.push(message);
        }
        let profile = self.candidates[0].provided.profile(&first.model);
        let settings = self.shared.settings;
        let room = settings.room(&profile);
        let mut machine = Machine::new(conversation, settings.limits, room);
        let mut question = model::Request {
            options: self.request.options.take().unwrap_or_default(),
            tools: toolbox.definitions().clone(),
            profile,
            ..model::Request::default()
        };
        let mut usage = Usage::default();
        let mut action = machine.begin();
        loop {
            action = match action {
                Action::Ask(offer) => {
                    question.messages = prompt::build(&system, machine.conversation().visible());
                    gallery.hang(&mut question.messages);
                    question.tool_choice = toolbox.choice(offer);
                    let asked = self.ask(&mut question, &toolbox, &|| machine.can_shrink()).await;
                    machine.step(match asked {
                        Ok(answered) => {
                            add(&mut usage, &answered.usage);
                            Input::Answered(answered)
                        }
                        Err(failure) if failure.is_context_overflow() => Input::Overflowed(failure),
                        Err(failure) => Input::Stopped(failure),
                    })
                }
                Action::Call(pending) => {
                    self.voice.pause();
                    self.events.send(Kind::Usage(usage)).await?;
                    self.call(&mut machine, pending, &toolbox, &facts).await?
                }
                Action::SumUp { keep } => {
                    let summed_up = self.sum_up(machine.conversation(), keep, room, &mut usage).await;
                    machine.step(match summed_up {
                        Ok(summary) => Input::SummedUp(summary),
                        Err(failure) => {
                            tracing::warn!(
                                run.id = self.request.run_id,
                                error.code = failure.code().as_str_name(),
                                "a conversation could not be summed up"
                            );
                            Input::NotSummedUp
                        }
                    })
                }
                Action::Wait => return Err(Failure::Internal("the agent loop waits for nothing")),
                Action::Finish(reason) => {
                    let window = usize::try_from(settings.window_messages).unwrap_or(usize::MAX);
                    let messages = machine.into_conversation().into_turn(window);
                    return Ok(Answered { messages, reason, usage });
                }
                Action::Fail(failure) => return Err(failure),
            };
        }
    }
}

/// About how many tokens every prompt has beside its conversation.
fn overhead(system: &str, toolbox: &Toolbox) -> u64 {
    let tools = toolbox.definitions().iter().flat_map(|tool| [&tool.name, &tool.description, &tool.parameters]);
    conversation::text_tokens(system) + tools.map(|text| conversation::text_tokens(text)).sum::<u64>()
}

fn add(sum: &mut Usage, usage: &Usage) {
    sum.prompt_tokens += usage.prompt_tokens;
    sum.completion_tokens += usage.completion_tokens;
    sum.cached_tokens += usage.cached_tokens;
    sum.reasoning_tokens += usage.reasoning_tokens;
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Says in the log why a run failed, and marks the current span.
pub(crate) fn log(run_id: &str, failure: &Failure) {
    spans::failed(&Span::current(), failure.code());
    match failure {
        Failure::Cancelled | Failure::ShuttingDown => tracing::info!(run.id = run_id, "{failure}"),
        Failure::Invalid { .. } | Failure::Image(_) | Failure::AlreadyCommitted | Failure::SessionMoved => {
            tracing::info!(run.id = run_id, %failure, "the run was refused");
        }
        Failure::Internal(fault) => tracing::error!(run.id = run_id, fault, "the run met a fault of ours"),
        Failure::Store(status) => tracing::error!(run.id = run_id, %status, "the session store failed a run"),
        // The message may quote the provider, and the provider the prompt.
        Failure::Model(_)
        | Failure::AllModels { .. }
        | Failure::SessionBusy(_)
        | Failure::StoreOverloaded
        | Failure::LeaseLost
        | Failure::TimedOut(_) => {
            tracing::warn!(run.id = run_id, error.code = failure.code().as_str_name(), "the run failed");
        }
    }
}
