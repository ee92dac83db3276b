//! The bytes of a stream's chunks. What never changes within an answer is put together once.

use bytes::{BufMut, Bytes, BytesMut};
use proto::agent::v1::{Finished, Started, ToolCallDelta, run_event::Kind};
use serde::Serialize;

use super::envelope::{Envelope, SYSTEM_FINGERPRINT, finish_reason};
use crate::{
    error::ApiError,
    kept::ChatAnnotation,
    stream::{Format, Sse},
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
}

const DELTA_HEAD: &[u8] = br#"[{"index":0,"delta":{"#;
const DELTA_TAIL: &[u8] = br#"},"logprobs":null,"finish_reason":null}]"#;
const DONE: &[u8] = b"data: [DONE]\n\n";

impl Chunks {
    /// As every gateway writes the run's chunks.
    pub(crate) fn of(run_id: &str, chat: &ChatAnnotation) -> Self {
        Self::new(Envelope::new(run_id, &chat.model), chat.include_usage)
    }

    fn new(envelope: Envelope, include_usage: bool) -> Self {
        let tail: &[u8] = if include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        Self { envelope, head: Bytes::new(), tail, include_usage }
    }

    /// The role chunk.
    fn begin(&mut self, started: &Started, sse: &mut Sse) {
        self.envelope.begin(started);
        self.head = head(&self.envelope);
        self.delta(sse, |buffer| buffer.put_slice(br#""role":"assistant","content":"""#));
    }

    fn text(&self, text: &str, sse: &mut Sse) {
        self.delta(sse, |buffer| {
            buffer.put_slice(br#""content":"#);
            json(buffer, text);
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
    fn finish(&self, finished: &Finished, sse: &mut Sse) {
        sse.event(|buffer, _| {
            buffer.put_slice(&self.head);
            buffer.put_slice(br#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"#);
            json(buffer, finish_reason(finished.reason()));
            buffer.put_slice(b"}]");
            buffer.put_slice(self.tail);
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
        sse.event(|buffer, _| {
            buffer.put_slice(&self.head);
            buffer.put_slice(DELTA_HEAD);
            write(buffer);
            buffer.put_slice(DELTA_TAIL);
            buffer.put_slice(self.tail);
        });
    }
}

impl Format for Chunks {
    fn take(&mut self, event: Kind, sse: &mut Sse) {
        match event {
            Kind::Started(started) => self.begin(&started, sse),
            Kind::TextDelta(text) => self.text(&text, sse),
            Kind::ToolCallDelta(delta) => self.tool_call(&delta, sse),
            Kind::Finished(finished) => self.finish(&finished, sse),
            Kind::Accepted(_)
            | Kind::ReasoningDelta(_)
            | Kind::RefusalDelta(_)
            | Kind::LogprobsDelta(_)
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

fn json<T: Serialize + ?Sized>(buffer: &mut BytesMut, value: &T) {
    serde_json::to_writer(buffer.writer(), value).expect("strings and numbers always serialise, and memory takes them");
}

#[cfg(test)]
mod tests {
    use proto::{agent::v1::FinishReason, session::v1::Usage};

    use super::*;

    fn chunks(include_usage: bool, sse: &mut Sse) -> Chunks {
        let mut chunks = Chunks::new(Envelope::new("chatcmpl_1", "a \"b\""), include_usage);
        chunks.take(Kind::Started(Started { started_at_ms: 7_000, ..Started::default() }), sse);
        chunks
    }

    fn written(mut sse: Sse) -> String {
        let written = String::from_utf8(sse.take().to_vec()).expect("valid UTF-8");
        written.replace(SYSTEM_FINGERPRINT, "FINGERPRINT")
    }

    #[test]
    fn a_stream_is_written_to_the_letter() {
        let mut sse = Sse::new();
        let mut chunks = chunks(true, &mut sse);
        chunks.take(Kind::TextDelta("tab\there, «é» \u{1F980}\n".to_owned()), &mut sse);
        sse.comment("keep-alive");
        let call = ToolCallDelta { index: 0, id: "c1".to_owned(), name: "f".to_owned(), arguments: String::new() };
        let more = ToolCallDelta { index: 0, arguments: "{\"x\":1}".to_owned(), ..ToolCallDelta::default() };
        chunks.take(Kind::ToolCallDelta(call), &mut sse);
        chunks.take(Kind::ToolCallDelta(more), &mut sse);
        let usage = Usage { prompt_tokens: 30, completion_tokens: 5, cached_tokens: 20, reasoning_tokens: 2 };
        let finished = Finished { reason: FinishReason::ToolCalls.into(), usage: Some(usage) };
        chunks.take(Kind::Finished(finished), &mut sse);
        insta::assert_snapshot!(written(sse));
    }

    #[test]
    fn an_error_ends_the_stream_too() {
        let mut sse = Sse::new();
        let mut chunks = chunks(false, &mut sse);
        chunks.fail(&ApiError::invalid_value("messages", "is odd"), &mut sse);
        insta::assert_snapshot!(written(sse));
    }
}
