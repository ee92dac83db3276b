//! Answers of an OpenAI-compatible provider, good and bad.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::script::{Gate, Step};

/// An answer, written down step by step.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Holds up even the status line.
    pub(super) gate: Option<Gate>,
    pub(super) steps: Vec<Step>,
}

impl Reply {
    /// Begins a stream with the role.
    pub(crate) fn stream() -> Self {
        let reply = Self::new(200, "text/event-stream");
        reply.choice(&json!({"role": "assistant", "content": ""}), None)
    }

    /// Streams these deltas and ends as a provider does; 7 prompt tokens, and 3 in the answer.
    pub(crate) fn text(deltas: &[&str]) -> Self {
        let begun = Self::stream();
        let said = deltas.iter().fold(begun, |reply, delta| reply.delta(delta));
        said.finish("stop").usage(7, 3).done()
    }

    /// Says nothing at all, not even a status.
    pub(crate) fn silence() -> Self {
        Self::stream().after(&Gate::default())
    }

    /// Answers with a status and an error in the usual shape.
    pub(crate) fn error(status: u16, kind: &str, code: &str, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        Self::new(status, "application/json").send(body.to_string())
    }

    /// Answers with JSON, where no stream is asked for.
    pub(crate) fn json(body: &Value) -> Self {
        Self::new(200, "application/json").send(body.to_string())
    }

    fn new(status: u16, content_type: &str) -> Self {
        let reply = Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            gate: None,
            steps: Vec::new(),
        };
        reply.header("content-type", content_type)
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Holds the whole answer up, even its status.
    pub(crate) fn after(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Holds up what follows.
    pub(crate) fn wait_for(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Holds up what follows for ever.
    pub(crate) fn hang(self) -> Self {
        self.wait_for(&Gate::default())
    }

    /// Says some text.
    pub(crate) fn delta(self, text: &str) -> Self {
        self.choice(&json!({"content": text}), None)
    }

    /// Says something about its tool calls.
    pub(crate) fn tool_calls(self, deltas: &Value) -> Self {
        self.choice(&json!({"tool_calls": deltas}), None)
    }

    /// Says why it is over.
    pub(crate) fn finish(self, reason: &str) -> Self {
        self.choice(&json!({}), Some(reason))
    }

    /// Says what it cost.
    pub(crate) fn usage(self, prompt_tokens: u32, completion_tokens: u32) -> Self {
        let usage = json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        });
        self.chunk(&json!([]), &usage)
    }

    /// Sends any event.
    pub(crate) fn event(self, data: &Value) -> Self {
        self.send(format!("data: {data}\n\n"))
    }

    /// Says that nothing more follows.
    pub(crate) fn done(self) -> Self {
        self.send("data: [DONE]\n\n")
    }

    /// Closes the connection in the middle of the answer.
    pub(crate) fn break_off(mut self) -> Self {
        self.steps.push(Step::BreakOff);
        self
    }

    /// Sends the same bytes in pieces of `size`, wherever that cuts them.
    pub(crate) fn in_pieces_of(mut self, size: usize) -> Self {
        let steps = self.steps.into_iter().flat_map(|step| match step {
            Step::Send(bytes) => bytes.chunks(size).map(|piece| Step::Send(Bytes::copy_from_slice(piece))).collect(),
            other @ (Step::Wait(_) | Step::BreakOff) => vec![other],
        });
        self.steps = steps.collect();
        self
    }

    fn choice(self, delta: &Value, finish_reason: Option<&str>) -> Self {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
        self.chunk(&json!([choice]), &Value::Null)
    }

    fn chunk(self, choices: &Value, usage: &Value) -> Self {
        let chunk = json!({
            "id": "chatcmpl-of-the-provider",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "test-model",
            "choices": choices,
            "usage": usage,
        });
        self.event(&chunk)
    }

    fn send(mut self, bytes: impl Into<Bytes>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }
}
