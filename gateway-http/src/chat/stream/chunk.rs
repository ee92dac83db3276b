//! The bytes of a stream's chunks. What never changes within an answer is put together once.

use bytes::{BufMut, Bytes, BytesMut};
use proto::{
    agent::v1::{FinishReason, ToolCallDelta},
    session::v1::Usage,
};
use serde::Serialize;

use super::super::envelope::{Envelope, SYSTEM_FINGERPRINT, finish_reason};
use crate::{error::ApiError, wire::WireUsage};

/// Writes chunks into a buffer that is handed out when the connection can take more.
pub(super) struct Writer {
    buffer: BytesMut,
    /// `data: {"id":…,"choices":`
    head: Bytes,
    /// `,"usage":null}` and the event's end, or the end alone.
    tail: &'static [u8],
    include_usage: bool,
}

const DELTA_HEAD: &[u8] = br#"[{"index":0,"delta":{"#;
const DELTA_TAIL: &[u8] = br#"},"logprobs":null,"finish_reason":null}]"#;
const DONE: &[u8] = b"data: [DONE]\n\n";

impl Writer {
    pub(super) fn new(include_usage: bool) -> Self {
        let tail: &[u8] = if include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        Self { buffer: BytesMut::with_capacity(1024), head: Bytes::new(), tail, include_usage }
    }

    /// Begins the answer with the role chunk.
    pub(super) fn begin(&mut self, envelope: &Envelope) {
        self.head = head(envelope);
        self.delta(|buffer| buffer.put_slice(br#""role":"assistant","content":"""#));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.delta(|buffer| {
            buffer.put_slice(br#""content":"#);
            json(buffer, text);
        });
    }

    /// The call's first delta names it; the others only add arguments.
    pub(super) fn tool_call(&mut self, delta: &ToolCallDelta) {
        self.delta(|buffer| {
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
    pub(super) fn finish(&mut self, reason: FinishReason, usage: Usage) {
        self.buffer.put_slice(&self.head);
        self.buffer.put_slice(br#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"#);
        json(&mut self.buffer, finish_reason(reason));
        self.buffer.put_slice(b"}]");
        self.buffer.put_slice(self.tail);
        if self.include_usage {
            self.buffer.put_slice(&self.head);
            self.buffer.put_slice(br#"[],"usage":"#);
            json(&mut self.buffer, &WireUsage::from(usage));
            self.buffer.put_slice(b"}\n\n");
        }
        self.buffer.put_slice(DONE);
    }

    /// Ends the stream with an error.
    pub(super) fn error(&mut self, error: &ApiError) {
        self.buffer.put_slice(b"data: ");
        self.buffer.put_slice(error.to_json().as_bytes());
        self.buffer.put_slice(b"\n\n");
        self.buffer.put_slice(DONE);
    }

    /// Something that clients skip.
    pub(super) fn comment(&mut self, text: &str) {
        self.buffer.put_slice(b": ");
        self.buffer.put_slice(text.as_bytes());
        self.buffer.put_slice(b"\n\n");
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Hands out what has been written.
    pub(super) fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    fn delta(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.buffer.put_slice(&self.head);
        self.buffer.put_slice(DELTA_HEAD);
        write(&mut self.buffer);
        self.buffer.put_slice(DELTA_TAIL);
        self.buffer.put_slice(self.tail);
    }
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
    use super::*;

    fn writer(include_usage: bool) -> Writer {
        let envelope = Envelope { id: "chatcmpl_1".to_owned(), created: 7, model: "a \"b\"".to_owned() };
        let mut writer = Writer::new(include_usage);
        writer.begin(&envelope);
        writer
    }

    fn written(mut writer: Writer) -> String {
        let written = String::from_utf8(writer.take().to_vec()).expect("valid UTF-8");
        written.replace(SYSTEM_FINGERPRINT, "FINGERPRINT")
    }

    #[test]
    fn a_stream_is_written_to_the_letter() {
        let mut writer = writer(true);
        writer.text("tab\there, «é» \u{1F980}\n");
        writer.comment("keep-alive");
        writer.tool_call(&ToolCallDelta {
            index: 0,
            id: "c1".to_owned(),
            name: "f".to_owned(),
            arguments: String::new(),
        });
        writer.tool_call(&ToolCallDelta { index: 0, arguments: "{\"x\":1}".to_owned(), ..ToolCallDelta::default() });
        let usage = Usage { prompt_tokens: 30, completion_tokens: 5, cached_tokens: 20, reasoning_tokens: 2 };
        writer.finish(FinishReason::ToolCalls, usage);
        insta::assert_snapshot!(written(writer));
    }

    #[test]
    fn an_error_ends_the_stream_too() {
        let mut writer = writer(false);
        writer.error(&ApiError::invalid_value("messages", "is odd"));
        insta::assert_snapshot!(written(writer));
    }
}
