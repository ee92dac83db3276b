//! The bytes of a stream's chunks. What never changes within an answer is put together once.

use bytes::{BufMut, Bytes, BytesMut};
use proto::agent::v1::{Finished, Started, ToolCallDelta, run_event::Kind};

use super::{
    envelope::{Envelope, SYSTEM_FINGERPRINT, finish_reason},
    events::{Activity, Shown},
    logprobs::Logprobs,
};
use crate::{
    error::ApiError,
    kept::ChatAnnotation,
    stream::{Format, Sse, json},
    wire::WireUsage,
};

/// Writes a run's events as chunks.
pub(crate) struct Chunks {
    envelope: Envelope,
    /// `data: {"id":…,"choices":`
    head: Bytes,
    /// `,"usage":null}` and the event's end, or the end alone.
    tail: &'static [u8],
    include_usage: bool,
    shown: Shown,
    /// Of the tokens that the next chunk says.
    logprobs: Logprobs,
}

const DELTA_HEAD: &[u8] = br#"[{"index":0,"delta":{"#;
const NO_LOGPROBS: &[u8] = br#"},"logprobs":null"#;
const NOT_FINISHED: &[u8] = br#","finish_reason":null}]"#;
const DONE: &[u8] = b"data: [DONE]\n\n";

impl Chunks {
    /// As every gateway writes the run's chunks.
    pub(crate) fn of(run_id: &str, chat: &ChatAnnotation) -> Self {
        Self::new(Envelope::new(run_id, &chat.model), chat.include_usage, chat.shown)
    }

    fn new(envelope: Envelope, include_usage: bool, shown: Shown) -> Self {
        let tail: &[u8] = if include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        Self { envelope, head: Bytes::new(), tail, include_usage, shown, logprobs: Logprobs::default() }
    }

    /// The role chunk.
    fn begin(&mut self, started: &Started, sse: &mut Sse) {
        self.envelope.begin(started);
        self.head = head(&self.envelope);
        self.delta(sse, |buffer| buffer.put_slice(br#""role":"assistant","content":"","refusal":null"#));
    }

    fn text(&mut self, text: &str, sse: &mut Sse) {
        self.logprobs.say();
        self.said(b"\"content\":", text, sse);
    }

    fn refusal(&mut self, text: &str, sse: &mut Sse) {
        self.logprobs.refuse();
        self.said(b"\"refusal\":", text, sse);
    }

    /// Writes what is said in the field `key`, with its tokens' probabilities if they are known.
    fn said(&mut self, key: &'static [u8], text: &str, sse: &mut Sse) {
        let logprobs = self.logprobs.take();
        self.chunk(sse, |buffer| {
            buffer.put_slice(DELTA_HEAD);
            buffer.put_slice(key);
            json(buffer, text);
            write_logprobs(buffer, logprobs.as_ref());
            buffer.put_slice(NOT_FINISHED);
        });
    }

    fn reasoning(&self, text: &str, sse: &mut Sse) {
        self.delta(sse, |buffer| {
            buffer.put_slice(br#""reasoning_content":"#);
            json(buffer, text);
        });
    }

    /// A chunk that says nothing, with what happens to a tool beside it.
    fn activity(&self, activity: &Activity<'_>, sse: &mut Sse) {
        self.chunk(sse, |buffer| {
            buffer.put_slice(DELTA_HEAD);
            buffer.put_slice(NO_LOGPROBS);
            buffer.put_slice(NOT_FINISHED);
            buffer.put_slice(br#","clawdbot":"#);
            json(buffer, activity);
        });
    }

    /// The call's first delta names it; the others only add arguments.
    fn tool_call(&self, delta: &ToolCallDelta, sse: &mut Sse) {
        self.delta(sse, |buffer| {
            buffer.put_slice(br#""tool_calls":[{"index":"#);
            json(buffer, &delta.index);
            if !delta.id.is_empty() {
                buffer.put_slice(br#","id":"#);
                json(buffer, &delta.id);
                buffer.put_slice(br#","type":"function""#);
            }
            buffer.put_slice(br#","function":{"#);
            if !delta.name.is_empty() {
                buffer.put_slice(br#""name":"#);
                json(buffer, &delta.name);
                buffer.put_u8(b',');
            }
            buffer.put_slice(br#""arguments":"#);
            json(buffer, &delta.arguments);
            buffer.put_slice(b"}}]");
        });
    }

    /// Ends the stream well: the finish chunk, the usage chunk if asked for, and the terminator.
    fn finish(&mut self, finished: &Finished, sse: &mut Sse) {
        // Of tokens that made no text of their own.
        self.logprobs.say();
        let logprobs = self.logprobs.take();
        self.chunk(sse, |buffer| {
            buffer.put_slice(DELTA_HEAD);
            write_logprobs(buffer, logprobs.as_ref());
            buffer.put_slice(br#","finish_reason":"#);
            json(buffer, finish_reason(finished.reason()));
            buffer.put_slice(b"}]");
        });
        if self.include_usage {
            sse.event(|buffer, _| {
                buffer.put_slice(&self.head);
                buffer.put_slice(br#"[],"usage":"#);
                json(buffer, &WireUsage::from(finished.usage.unwrap_or_default()));
                buffer.put_slice(b"}\n\n");
            });
        }
        sse.event(|buffer, _| buffer.put_slice(DONE));
    }

    fn delta(&self, sse: &mut Sse, write: impl FnOnce(&mut BytesMut)) {
        self.chunk(sse, |buffer| {
            buffer.put_slice(DELTA_HEAD);
            write(buffer);
            buffer.put_slice(NO_LOGPROBS);
            buffer.put_slice(NOT_FINISHED);
        });
    }

    fn chunk(&self, sse: &mut Sse, write: impl FnOnce(&mut BytesMut)) {
        sse.event(|buffer, _| {
            buffer.put_slice(&self.head);
            write(buffer);
            buffer.put_slice(self.tail);
        });
    }
}

impl Format for Chunks {
    fn take(&mut self, event: Kind, sse: &mut Sse) {
        match event {
            Kind::Started(started) => self.begin(&started, sse),
            Kind::TextDelta(text) => self.text(&text, sse),
            Kind::RefusalDelta(text) => self.refusal(&text, sse),
            Kind::LogprobsDelta(delta) => self.logprobs.announce(delta),
            Kind::ToolCallDelta(delta) => self.tool_call(&delta, sse),
            Kind::ReasoningDelta(text) if self.shown.reasoning => self.reasoning(&text, sse),
            Kind::ToolStarted(started) if self.shown.tools => self.activity(&Activity::from(&started), sse),
            Kind::ToolFinished(finished) if self.shown.tools => self.activity(&Activity::from(&finished), sse),
            Kind::Finished(finished) => self.finish(&finished, sse),
            Kind::Accepted(_)
            | Kind::ReasoningDelta(_)
            | Kind::ToolStarted(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_)
            | Kind::Failed(_) => {}
        }
    }

    fn fail(&mut self, error: &ApiError, sse: &mut Sse) {
        sse.event(|buffer, _| write_error(buffer, error));
        sse.event(|buffer, _| buffer.put_slice(DONE));
    }

    fn break_off(&mut self, error: &ApiError, sse: &mut Sse) {
        sse.aside(|buffer| {
            write_error(buffer, error);
            buffer.put_slice(DONE);
        });
    }
}

/// Ends the delta.
fn write_logprobs(buffer: &mut BytesMut, logprobs: Option<&Logprobs>) {
    let Some(logprobs) = logprobs else { return buffer.put_slice(NO_LOGPROBS) };
    buffer.put_slice(br#"},"logprobs":"#);
    json(buffer, logprobs);
}

fn write_error(buffer: &mut BytesMut, error: &ApiError) {
    buffer.put_slice(b"data: ");
    buffer.put_slice(error.to_json().as_bytes());
    buffer.put_slice(b"\n\n");
}

fn head(envelope: &Envelope) -> Bytes {
    let mut head = BytesMut::new();
    head.put_slice(br#"data: {"id":"#);
    json(&mut head, &envelope.id);
    head.put_slice(br#","object":"chat.completion.chunk","created":"#);
    json(&mut head, &envelope.created);
    head.put_slice(br#","model":"#);
    json(&mut head, &envelope.model);
    head.put_slice(br#","system_fingerprint":"#);
    json(&mut head, SYSTEM_FINGERPRINT);
    head.put_slice(br#","choices":"#);
    head.freeze()
}

#[cfg(test)]
mod tests;
