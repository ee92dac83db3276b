//! The typed events of a streamed response.

use bytes::{BufMut, BytesMut};
use proto::agent::v1::run_event::Kind;
use serde::Serialize;

use super::{
    object::Progress,
    output::{Change, Content, Item, Message},
};
use crate::{
    error::ApiError,
    stream::{Format, Sse, json},
};

/// Writes a run's events as those of a response.
pub(super) struct ResponseEvents {
    progress: Progress,
    has_begun: bool,
}

#[derive(Serialize)]
struct OfResponse<T> {
    response: T,
}

#[derive(Serialize)]
struct OfItem<'a> {
    output_index: usize,
    item: &'a Item,
}

#[derive(Serialize)]
struct OfPart<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
    part: &'a Content,
}

#[derive(Serialize)]
struct OfText<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
    #[serde(flatten)]
    text: Text<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Said { delta: &'a str, logprobs: [(); 0] },
    Refused { delta: &'a str },
    AllSaid { text: &'a str, logprobs: [(); 0] },
    AllRefused { refusal: &'a str },
}

#[derive(Serialize)]
struct OfArguments<'a> {
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
}

#[derive(Serialize)]
struct OfError<'a> {
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
}

impl ResponseEvents {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, has_begun: false }
    }

    /// The first event, which says what was asked for.
    fn begin(&mut self, sse: &mut Sse) {
        if !self.has_begun {
            self.has_begun = true;
            write(sse, "response.created", &OfResponse { response: self.progress.object() });
            if self.progress.annotation.background {
                write(sse, "response.queued", &OfResponse { response: self.progress.object() });
            }
        }
    }

    fn end(&mut self, sse: &mut Sse) {
        let name = match self.progress.status() {
            "completed" => "response.completed",
            "incomplete" => "response.incomplete",
            _ => "response.failed",
        };
        write(sse, name, &OfResponse { response: self.progress.object() });
        sse.event(|buffer, _| buffer.put_slice(DONE));
    }
}

const DONE: &[u8] = b"data: [DONE]\n\n";

impl Format for ResponseEvents {
    fn take(&mut self, event: Kind, sse: &mut Sse) {
        let (is_first, has_started) = (matches!(event, Kind::Accepted(_)), matches!(event, Kind::Started(_)));
        if !is_first {
            self.begin(sse);
        }
        self.progress.take(event, &mut |change| tell(sse, &change));
        if is_first {
            self.begin(sse);
        }
        if has_started {
            write(sse, "response.in_progress", &OfResponse { response: self.progress.object() });
        }
        if self.progress.is_over() {
            self.end(sse);
        }
    }

    fn fail(&mut self, error: &ApiError, sse: &mut Sse) {
        self.begin(sse);
        self.progress.fail(error.clone(), &mut |change| tell(sse, &change));
        self.end(sse);
    }

    fn break_off(&mut self, error: &ApiError, sse: &mut Sse) {
        // Not the next number: who goes on after this event gets the next one.
        let number = sse.count().saturating_sub(1);
        sse.aside(|buffer| {
            let body = OfError { code: error.code(), message: error.message(), param: error.param() };
            put(buffer, "error", number, &body);
            buffer.put_slice(DONE);
        });
    }
}

fn of_text<'a>(output_index: usize, content_index: usize, message: &'a Message, text: Text<'a>) -> OfText<'a> {
    OfText { item_id: &message.id, output_index, content_index, text }
}

/// Writes what a change is to a client.
fn tell(sse: &mut Sse, change: &Change<'_>) {
    match *change {
        Change::ItemAdded(index, item) => {
            write(sse, "response.output_item.added", &OfItem { output_index: index, item });
        }
        Change::PartAdded(index, part, message) => {
            let body =
                OfPart { item_id: &message.id, output_index: index, content_index: part, part: &message.content[part] };
            write(sse, "response.content_part.added", &body);
        }
        Change::TextDelta(index, part, message, delta) => {
            let text = Text::Said { delta, logprobs: [] };
            write(sse, "response.output_text.delta", &of_text(index, part, message, text));
        }
        Change::RefusalDelta(index, part, message, delta) => {
            write(sse, "response.refusal.delta", &of_text(index, part, message, Text::Refused { delta }));
        }
        Change::ArgumentsDelta(index, call, delta) => {
            let body = OfArguments { item_id: &call.id, output_index: index, delta: Some(delta), arguments: None };
            write(sse, "response.function_call_arguments.delta", &body);
        }
        Change::PartDone(index, part, message) => {
            let content = &message.content[part];
            match content {
                Content::OutputText { text, .. } => {
                    let text = Text::AllSaid { text, logprobs: [] };
                    write(sse, "response.output_text.done", &of_text(index, part, message, text));
                }
                Content::Refusal { refusal } => {
                    let text = Text::AllRefused { refusal };
                    write(sse, "response.refusal.done", &of_text(index, part, message, text));
                }
            }
            let body = OfPart { item_id: &message.id, output_index: index, content_index: part, part: content };
            write(sse, "response.content_part.done", &body);
        }
        Change::ArgumentsDone(index, call) => {
            let arguments = Some(call.arguments.as_str());
            let body = OfArguments { item_id: &call.id, output_index: index, delta: None, arguments };
            write(sse, "response.function_call_arguments.done", &body);
        }
        Change::ItemDone(index, item) => {
            write(sse, "response.output_item.done", &OfItem { output_index: index, item });
        }
    }
}

/// One event; the API counts them from 0.
fn write(sse: &mut Sse, name: &str, body: &impl Serialize) {
    sse.event(|buffer, number| put(buffer, name, number - 1, body));
}

/// The event's name is in its data too, before the fields of its body, which is an object that has some.
fn put(buffer: &mut BytesMut, name: &str, sequence_number: u64, body: &impl Serialize) {
    for piece in ["event: ", name, "\ndata: {\"type\":\"", name, "\",\"sequence_number\":"] {
        buffer.put_slice(piece.as_bytes());
    }
    json(buffer, &sequence_number);
    let start = buffer.len();
    json(buffer, body);
    buffer[start] = b',';
    buffer.put_slice(b"\n\n");
}

#[cfg(test)]
mod tests;
