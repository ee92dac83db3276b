//! One answer, from its place in the line to its last token, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proto::{agent::v1::FinishReason, session::v1::Usage};
use tokio::sync::mpsc;

use super::{
    ANSWER_ROOM_TOKENS, CONTEXT_TOKENS, DEFAULT_ANSWER_TOKENS,
    deltas::Deltas,
    instructions::Instructions,
    llama::{Cache, GivenUp, LastState, Llama},
    prompt::{self, Prompt},
    queue::{Abandon, Queue},
    sampler::Sampler,
    vocabulary::Vocabulary,
};
use crate::model::{Error, Event, Request};

/// A request and who waits for its answer.
pub(super) struct Job {
    request: Request,
    events: mpsc::Sender<Result<Event, Error>>,
}

impl Job {
    /// A job and the end of its channel where the answer appears.
    ///
    /// The channel holds the longest answer, so that a slow reader does not keep a thread from the next job.
    pub(super) fn new(request: Request) -> (Self, mpsc::Receiver<Result<Event, Error>>) {
        let (events, answer) = mpsc::channel(CONTEXT_TOKENS + 3);
        (Self { request, events }, answer)
    }

    /// Ends the answer with an error.
    pub(super) fn fail(&self, error: Error) {
        // Nobody waits for the answer any more if this is not possible.
        let _ = self.events.try_send(Err(error));
    }
}

impl Abandon for Job {
    fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }
}

/// What all threads share.
pub(super) struct Engine {
    pub(super) llama: Llama,
    pub(super) vocabulary: Vocabulary,
    pub(super) instructions: Instructions,
    pub(super) queue: Queue<Job>,
}

/// Why an answer broke off.
enum End {
    Failed(Error),
    GivenUp,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<GivenUp> for End {
    fn from(_: GivenUp) -> Self {
        Self::GivenUp
    }
}

/// The error of every answer that the model's end cuts off.
pub(super) fn shut_down() -> Error {
    Error::Failed("the embedded model was shut down".to_owned())
}

impl Engine {
    /// Answers one job after the other until the queue is closed.
    pub(super) fn work(&self) {
        while let Some(job) = self.queue.pop() {
            // A thread that died would be missing until the next start.
            match catch_unwind(AssertUnwindSafe(|| self.answer(&job))) {
                Ok(Ok(())) => {}
                Ok(Err(End::GivenUp)) if self.queue.is_closed() => job.fail(shut_down()),
                Ok(Err(End::GivenUp)) => tracing::debug!("an answer of the embedded model was given up"),
                Ok(Err(End::Failed(error))) => job.fail(error),
                Err(_) => job.fail(Error::Failed("the embedded model broke down".to_owned())),
            }
            self.queue.done();
        }
    }

    fn answer(&self, job: &Job) -> Result<(), End> {
        let Request { messages, options, .. } = &job.request;
        let most = options.max_tokens.map_or(DEFAULT_ANSWER_TOKENS, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let given_up = || job.is_abandoned() || self.queue.is_closed();
        if given_up() {
            return Err(End::GivenUp);
        }
        let prompt = prompt::render(&self.vocabulary, messages, most.min(ANSWER_ROOM_TOKENS))?;
        let (mut cache, mut state, cached) = self.read_prompt(&prompt, &given_up)?;

        let most = most.min(CONTEXT_TOKENS - prompt.tokens.len());
        let mut sampler = Sampler::new(options);
        let mut deltas = Deltas::new(&options.stop);
        let mut written = 0;
        let finish_reason = loop {
            if written == most {
                break FinishReason::Length;
            }
            let token = sampler.draw(&self.llama.scores(&state));
            if self.vocabulary.ends_answer(token) {
                break FinishReason::Stop;
            }
            written += 1;
            let delta = deltas.push(self.vocabulary.bytes(token));
            send_text(job, delta.text)?;
            if delta.stopped {
                break FinishReason::Stop;
            }
            if written < most {
                state = self.llama.read_next(token, &mut cache, &given_up)?;
            }
        };
        send_text(job, deltas.finish())?;
        let usage = Usage {
            prompt_tokens: count(prompt.tokens.len()),
            completion_tokens: count(written),
            cached_tokens: count(cached),
            reasoning_tokens: 0,
        };
        send(job, Event::Usage(usage))?;
        send(job, Event::Finished(finish_reason))
    }

    /// Reads the prompt as far as it is not known, and says how many tokens were.
    fn read_prompt(&self, prompt: &Prompt, given_up: &impl Fn() -> bool) -> Result<(Cache, LastState, usize), GivenUp> {
        let (instructions, conversation) = prompt.tokens.split_at(prompt.instructions);
        let mut cache = self.instructions.read_of(instructions).unwrap_or_else(|| self.llama.empty_cache());
        let cached = cache.len();
        if cached < instructions.len() {
            self.llama.read(&instructions[cached..], &mut cache, given_up)?;
            self.instructions.keep(instructions, cache.clone());
        }
        let state = self.llama.read(conversation, &mut cache, given_up)?;
        Ok((cache, state, cached))
    }
}

fn send_text(job: &Job, text: String) -> Result<(), End> {
    if text.is_empty() { Ok(()) } else { send(job, Event::Text(text)) }
}

fn send(job: &Job, event: Event) -> Result<(), End> {
    job.events.try_send(Ok(event)).map_err(|_| End::GivenUp)
}

fn count(tokens: usize) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}
