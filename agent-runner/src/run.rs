//! One run: a task that takes a turn, asks the model, streams what happens, and keeps the turn or gives it up.

mod answer;
mod events;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use proto::{
    agent::v1::{Failed, Finished, RunRequest, Started, run_event::Kind},
    session::v1::Message,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    agents::{Agent, ModelName},
    failure::Failure,
    model::{self, Model},
    prompt,
    turn::{Store, Transcript, Turn},
};
use answer::Answer;

pub(crate) use events::{Events, channel};

/// How long an answer that has ended is waited for to say what it cost.
const USAGE_WAIT: Duration = Duration::from_secs(2);

/// A run that has not begun.
pub(crate) struct Run {
    request: RunRequest,
    agent: Arc<Agent>,
    model_name: ModelName,
    model: Arc<dyn Model>,
    session: Option<Session>,
    events: Events,
}

/// The session that a run belongs to, and its turn once that has begun.
pub(crate) struct Session {
    store: Store,
    turn: Option<Turn>,
}

impl Session {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, turn: None }
    }
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
    /// What is new to the transcript before the answer.
    messages: Vec<Message>,
    answer: Answer,
}

/// A run that is over, whose callers are still to be told.
pub(crate) struct Ended {
    events: Events,
    pub(crate) outcome: Result<Finished, Failure>,
}

impl Ended {
    /// Sends the last event.
    pub(crate) fn tell(self) {
        self.events.end(match self.outcome {
            Ok(finished) => Kind::Finished(finished),
            Err(failure) => Kind::Failed(Failed::from(&failure)),
        });
    }
}

impl Run {
    pub(crate) fn new(
        request: RunRequest,
        agent: Arc<Agent>,
        model_name: ModelName,
        model: Arc<dyn Model>,
        session: Option<Session>,
        events: Events,
    ) -> Self {
        Self { request, agent, model_name, model, session, events }
    }

    /// The span that the run happens in, a child of the current one.
    pub(crate) fn span(&self) -> Span {
        tracing::info_span!(
            "run",
            otel.name = format_args!("invoke_agent {}", self.agent.id),
            otel.status_code = Empty,
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.id = self.agent.id.as_str(),
            gen_ai.conversation.id = (!self.request.stateless).then_some(self.request.session_key.as_str()),
            run.id = self.request.run_id,
        )
    }

    /// Runs to the end, whatever it is. Afterwards the turn is kept or given up; the last event is still to be told.
    ///
    /// A run can be cancelled or time out only while it answers; a whole answer is always kept.
    pub(crate) async fn execute(mut self, timeout: Duration, cancelled: Cancelled) -> Ended {
        let outcome = match self.answer(timeout, &cancelled).await {
            Ok(answered) => self.keep(answered).await,
            Err(failure) => Err(failure),
        };
        if let Some(turn) = self.session.as_mut().and_then(|session| session.turn.take()) {
            turn.abandon().await;
        }
        if let Err(failure) = &outcome {
            log(&self.request.run_id, failure);
        }
        Ended { events: self.events, outcome }
    }

    async fn answer(&mut self, timeout: Duration, cancelled: &Cancelled) -> Result<Answered, Failure> {
        let drive = async {
            let transcript = self.begin().await?;
            self.drive(transcript).await
        };
        tokio::select! {
            biased;
            failure = cancelled.wait() => Err(failure),
            answered = tokio::time::timeout(timeout, drive) => answered.unwrap_or(Err(Failure::TimedOut(timeout))),
        }
    }

    async fn keep(&mut self, answered: Answered) -> Result<Finished, Failure> {
        let Answered { mut messages, answer } = answered;
        let (message, reason, usage) = answer.into_parts();
        let finished = Finished { reason: reason.into(), usage: Some(usage) };
        if let Some(turn) = self.session.as_mut().and_then(|session| session.turn.take()) {
            messages.push(message);
            turn.commit(messages, usage, self.events.outcome(&Kind::Finished(finished))).await?;
        }
        Ok(finished)
    }

    /// Begins the session's turn and returns its transcript; without a session there is none. A call that is dropped
    /// leaves the session's line, and the store takes back a lease that it has granted meanwhile.
    async fn begin(&mut self) -> Result<Transcript, Failure> {
        let Some(session) = &mut self.session else { return Ok(Transcript::default()) };
        let begin = session.store.begin(&self.request.session_key, self.agent.id.as_str(), &self.request.run_id);
        let (turn, transcript) = begin.await?;
        session.turn = Some(turn);
        Ok(transcript)
    }

    async fn drive(&mut self, transcript: Transcript) -> Result<Answered, Failure> {
        let model = self.model_name.to_string();
        self.events.send(Kind::Started(Started { model, started_at_ms: now_ms() })).await?;
        let new = self.new_messages(transcript.message_count == 0);
        if new.is_empty() {
            let reason = "nothing follows the last assistant message".to_owned();
            return Err(Failure::Invalid { param: "messages", reason });
        }
        let question = model::Request {
            model: self.model_name.model.clone(),
            messages: prompt::build(&self.agent.system_prompt, &self.request.instructions, &transcript.window, &new),
            options: self.request.options.take().unwrap_or_default(),
            tools: std::mem::take(&mut self.request.tools).into(),
            tool_choice: self.request.tool_choice.take(),
            profile: Arc::default(),
        };
        let answer = self.ask_holding_the_lease(question).await?;
        Ok(Answered { messages: new, answer })
    }

    /// What this turn adds before the answer. The client's history counts only where nothing is kept yet: a client
    /// that sends it again does not double it.
    fn new_messages(&mut self, is_transcript_empty: bool) -> Vec<Message> {
        let history = std::mem::take(&mut self.request.history);
        let input = std::mem::take(&mut self.request.input);
        if is_transcript_empty { history.into_iter().chain(input).collect() } else { input }
    }

    async fn ask_holding_the_lease(&mut self, question: model::Request) -> Result<Answer, Failure> {
        let span = self.chat_span();
        let stream = span.in_scope(|| self.model.stream(&question));
        let ask = ask(stream, &mut self.events).instrument(span.clone());
        let answer = match self.session.as_ref().and_then(|session| session.turn.as_ref()) {
            None => ask.await,
            Some(turn) => {
                let ask = pin!(ask);
                tokio::select! {
                    biased;
                    answer = ask => answer,
                    failure = turn.keep() => Err(failure),
                }
            }
        };
        match &answer {
            Ok(answer) => answer.record(&span),
            Err(_) => {
                span.record("otel.status_code", "error");
            }
        }
        answer
    }

    fn chat_span(&self) -> Span {
        tracing::info_span!(
            "chat",
            otel.name = format_args!("chat {}", self.model_name.model),
            otel.kind = "client",
            otel.status_code = Empty,
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = self.model_name.provider,
            gen_ai.request.model = self.model_name.model,
            gen_ai.response.finish_reasons = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
        )
    }
}

/// Reads the answer to its end. What goes wrong after the model has said why it ended changes nothing any more; only
/// the usage may be missing.
async fn ask(mut stream: model::EventStream, events: &mut Events) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    loop {
        let event = if answer.has_ended() {
            tokio::time::timeout(USAGE_WAIT, stream.next()).await.unwrap_or(None)
        } else {
            stream.next().await
        };
        match event {
            Some(Ok(event)) => {
                if let Some(kind) = answer.take(event) {
                    events.send(kind).await?;
                }
            }
            Some(Err(_)) if answer.has_ended() => return answer.finished(),
            Some(Err(error)) => return Err(error.into()),
            None => return answer.finished(),
        }
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Says in the log why a run failed, and marks the current span.
pub(crate) fn log(run_id: &str, failure: &Failure) {
    Span::current().record("otel.status_code", "error");
    match failure {
        Failure::Cancelled | Failure::ShuttingDown => tracing::info!(run.id = run_id, "{failure}"),
        Failure::Invalid { .. } | Failure::AlreadyCommitted => {
            tracing::info!(run.id = run_id, %failure, "the run was refused");
        }
        Failure::Store(status) => tracing::error!(run.id = run_id, %status, "the session store failed a run"),
        // The message may quote the provider, and the provider the prompt.
        Failure::Model(_)
        | Failure::SessionBusy(_)
        | Failure::StoreOverloaded
        | Failure::LeaseLost
        | Failure::TimedOut(_) => {
            tracing::warn!(run.id = run_id, error.code = failure.code().as_str_name(), "the run failed");
        }
    }
}
