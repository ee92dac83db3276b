//! An answer's bytes turned into events: what all protocols have in common.

use std::{
    borrow::Cow,
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use proto::agent::v1::ToolCallDelta;
use serde::Deserialize;

use super::{
    Error, Event,
    http::Body,
    sse::{Decoder, TooLong},
};

/// One protocol's reading of an answer.
pub(super) trait Answer: Send + Unpin + 'static {
    /// Takes the data of one server-sent event, and puts what it says into `said`.
    fn take(&mut self, data: &[u8], said: &mut VecDeque<Event>) -> Result<Flow, Error>;
}

/// Whether more of an answer is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    Done,
}

/// The events of one answer. At most one of them is [`Event::Finished`], and without it the stream ends with an error.
pub(super) struct Events<A> {
    bytes: Body,
    decoder: Decoder,
    answer: A,
    said: VecDeque<Event>,
    has_finished: bool,
    state: State,
}

enum State {
    Reading,
    /// The provider is done; what was said is still to be taken.
    Ended,
    /// Likewise, with an error behind it.
    Failed(Error),
    Over,
}

impl<A: Answer> Events<A> {
    pub(super) fn new(bytes: Body, answer: A) -> Self {
        let (decoder, said) = (Decoder::default(), VecDeque::new());
        Self { bytes, decoder, answer, said, has_finished: false, state: State::Reading }
    }

    /// Reads on; what an event says is in `said` afterwards.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Flow, Error>> {
        if let Some(data) = self.decoder.next()? {
            return Poll::Ready(self.answer.take(&data, &mut self.said));
        }
        if let Some(bytes) = ready!(self.bytes.as_mut().poll_next(context)) {
            self.decoder.push(&bytes?);
            return Poll::Ready(Ok(Flow::More));
        }
        if let Some(data) = self.decoder.finish()? {
            self.answer.take(&data, &mut self.said)?;
        }
        Poll::Ready(Ok(Flow::Done))
    }

    /// Whether an event may be passed on; nothing but the cost is said after the end.
    fn admits(&mut self, event: &Event) -> bool {
        let admitted = !self.has_finished || matches!(event, Event::Usage(_));
        self.has_finished |= matches!(event, Event::Finished(_));
        admitted
    }
}

impl<A: Answer> Stream for Events<A> {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.said.pop_front() {
                if self.admits(&event) {
                    return Poll::Ready(Some(Ok(event)));
                }
                continue;
            }
            if matches!(self.state, State::Reading) {
                match ready!(self.poll_read(context)) {
                    Ok(Flow::More) => {}
                    Ok(Flow::Done) => self.state = State::Ended,
                    Err(error) => self.state = State::Failed(error),
                }
                continue;
            }
            let error = match mem::replace(&mut self.state, State::Over) {
                // What goes wrong after the end of an answer takes nothing from it.
                _ if self.has_finished => return Poll::Ready(None),
                State::Reading | State::Over => return Poll::Ready(None),
                State::Ended => Error::Failed("it broke off in the middle of its answer".to_owned()),
                State::Failed(error) => error,
            };
            return Poll::Ready(Some(Err(error)));
        }
    }
}

impl From<TooLong> for Error {
    fn from(TooLong: TooLong) -> Self {
        Self::Failed("it sent an endless line".to_owned())
    }
}

/// A text that is borrowed from the data where it has no escapes, which serde does for `Cow` only when told so.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    /// The text, if there is any.
    pub(super) fn said(self) -> Option<String> {
        if self.0.is_empty() { None } else { Some(self.0.into_owned()) }
    }

    /// The text of a field that may be missing.
    pub(super) fn or_empty(text: Option<Self>) -> String {
        text.and_then(Self::said).unwrap_or_default()
    }
}

/// Parses an event's data.
pub(super) fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(data).map_err(|_| Error::Failed("it sent what is no JSON chunk".to_owned()))
}

/// The start of a tool call.
pub(super) fn call(index: u32, id: String, name: String) -> Event {
    Event::ToolCall(ToolCallDelta { index, id, name, arguments: String::new() })
}

/// The end of a thought. Whose it is, is for others to say.
pub(super) fn signed(signature: String) -> Event {
    Event::Thought { signature, origin: Arc::default() }
}

/// What is wanted back with a call, likewise.
pub(super) fn signed_call(index: u32, signature: String) -> Event {
    Event::CallSignature { index, signature, origin: Arc::default() }
}

/// More of a call's arguments.
pub(super) fn arguments(index: u32, arguments: String) -> Event {
    Event::ToolCall(ToolCallDelta { index, arguments, ..ToolCallDelta::default() })
}
