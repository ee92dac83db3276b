//! Puts a question to the models that may answer it, one after the other, and passes the answer on as it comes.

use std::time::Duration;

use futures_util::StreamExt;
use proto::agent::v1::run_event::Kind;
use shared::AgentId;
use tracing::{Instrument, Span};

use super::{
    Events, Run,
    answer::{Answer, Answered},
    demand::Demand,
    spans,
    toolbox::Toolbox,
};
use crate::{
    failover::{Candidate, Failover, Plan},
    failure::Failure,
    metrics,
    model::{self, Class},
};

/// How long an answer that has ended is waited for to say what it cost.
const USAGE_WAIT: Duration = Duration::from_secs(2);

/// Where the text of a turn stands, so that two texts with tool calls between them become two paragraphs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Nothing has been said.
    #[default]
    Silent,
    Speaking,
    /// The next text begins a paragraph.
    Paused,
}

impl Voice {
    /// The model turns to its tools.
    pub(super) fn pause(&mut self) {
        if *self == Self::Speaking {
            *self = Self::Paused;
        }
    }

    fn say(&mut self, text: &mut String) {
        if *self == Self::Paused {
            text.insert_str(0, "\n\n");
        }
        *self = Self::Speaking;
    }
}

/// Who hears an answer while it comes.
pub(super) enum Audience<'a> {
    /// The run's readers.
    Readers {
        events: &'a mut Events,
        voice: &'a mut Voice,
    },
    Nobody,
}

/// An answer that did not come to its end.
enum Broken {
    Model {
        error: model::Error,
        /// Whether the readers have heard some of it.
        was_heard: bool,
    },
    Reader(Failure),
}

impl Run {
    /// Asks until a model answers. A model that breaks off after its readers have heard it is not asked again: they would
    /// hear the beginning twice.
    ///
    /// When the conversation is too long and `can_shrink`, that is the outcome at once, since a shorter one may do.
    pub(super) async fn ask(
        &mut self,
        question: &mut model::Request,
        toolbox: &Toolbox,
        can_shrink: &(dyn Fn() -> bool + Sync),
    ) -> Result<Answered, Failure> {
        let audience = Audience::Readers { events: &mut self.events, voice: &mut self.voice };
        let way = Way { agent_id: &self.agent.id, candidates: &self.candidates, can_shrink };
        ask(&self.shared.failover, &way, question, toolbox, audience).await
    }

    /// Asks for something that the run's readers do not hear.
    pub(super) async fn ask_aside(
        &self,
        question: &mut model::Request,
        toolbox: &Toolbox,
    ) -> Result<Answered, Failure> {
        let way = Way { agent_id: &self.agent.id, candidates: &self.candidates, can_shrink: &|| false };
        ask(&self.shared.failover, &way, question, toolbox, Audience::Nobody).await
    }
}

/// Who is asked, and what counts as an outcome.
struct Way<'a> {
    agent_id: &'a AgentId,
    candidates: &'a [Candidate],
    /// Asked only when it matters: the answer takes a walk through the conversation.
    can_shrink: &'a (dyn Fn() -> bool + Sync),
}

async fn ask(
    failover: &Failover,
    way: &Way<'_>,
    question: &mut model::Request,
    toolbox: &Toolbox,
    mut audience: Audience<'_>,
) -> Result<Answered, Failure> {
    let (mut plan, mut attempt) = Plan::new(failover, way.candidates);
    loop {
        if !attempt.pause.is_zero() {
            tokio::time::sleep(attempt.pause).await;
        }
        let candidate = &way.candidates[attempt.candidate];
        let Candidate { name, provided, .. } = candidate;
        question.model.clone_from(&name.model);
        question.profile = provided.profile(&name.model);
        let span = spans::chat(name, question);
        let mut measured = metrics::ModelCall::begin(candidate);
        let stream = span.in_scope(|| provided.keys[attempt.key].stream(question));
        let demand = Demand::of(question.tool_choice.as_ref());
        match listen(stream, demand, toolbox, &mut audience, &mut measured).instrument(span.clone()).await {
            Ok(answered) => {
                spans::answered(&span, &answered.message, answered.reason, &answered.usage);
                measured.answered(way.agent_id, &answered.usage);
                plan.answered();
                return Ok(answered);
            }
            Err(Broken::Reader(failure)) => return Err(failure),
            Err(Broken::Model { error, was_heard }) => {
                let class = error.class();
                measured.failed(class);
                span.record("otel.status_code", "error");
                span.record("error.type", class.name());
                if was_heard {
                    plan.broke_off(&error);
                    return Err(error.into());
                }
                if class == Class::ContextOverflow && (way.can_shrink)() {
                    return Err(error.into());
                }
                let Some(next) = plan.failed(error) else { return Err(plan.failure()) };
                attempt = next;
            }
        }
    }
}

/// Reads the answer to its end. What goes wrong after the model has said why it ended changes nothing any more; only
/// the usage may be missing.
async fn listen(
    mut stream: model::EventStream,
    mut demand: Option<Demand>,
    toolbox: &Toolbox,
    audience: &mut Audience<'_>,
    measured: &mut metrics::ModelCall<'_>,
) -> Result<Answered, Broken> {
    let mut answer = Answer::default();
    let mut was_heard = false;
    loop {
        let event = if answer.has_ended() {
            tokio::time::timeout(USAGE_WAIT, stream.next()).await.unwrap_or(None)
        } else {
            stream.next().await
        };
        match event {
            Some(Ok(event)) => {
                if let Some(took) = measured.heard(&event) {
                    spans::first_token(&Span::current(), took.as_secs_f64());
                }
                let Some(kind) = answer.take(event, toolbox) else { continue };
                let Some(demand) = &mut demand else {
                    was_heard |= audience.hear(kind).await?;
                    continue;
                };
                for kind in demand.hold(kind) {
                    was_heard |= audience.hear(kind).await?;
                }
            }
            Some(Err(error)) if !answer.has_ended() => return Err(Broken::Model { error, was_heard }),
            Some(Err(_)) | None => {
                let broken = |error| Broken::Model { error, was_heard };
                let answered = answer.finished().map_err(broken)?;
                if let Some(demand) = demand {
                    for kind in demand.settle(&answered).map_err(broken)? {
                        audience.hear(kind).await?;
                    }
                }
                return Ok(answered);
            }
        }
    }
}

impl Audience<'_> {
    /// Says whether anybody heard some of the answer. A thought is no part of it: to begin another is to think again.
    async fn hear(&mut self, mut kind: Kind) -> Result<bool, Broken> {
        let Self::Readers { events, voice } = self else { return Ok(false) };
        if let Kind::TextDelta(text) = &mut kind {
            voice.say(text);
        }
        let is_answer = !matches!(kind, Kind::ReasoningDelta(_));
        events.send(kind).await.map_err(Broken::Reader)?;
        Ok(is_answer)
    }
}
