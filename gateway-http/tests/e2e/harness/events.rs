//! A streamed answer, read event by event and kept.

use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::soon;

/// A stream of server-sent events. Dropping it closes the connection.
pub(crate) struct EventStream {
    response_headers: http::HeaderMap,
    bytes: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    unread: Vec<u8>,
    seen: Events,
}

/// What a stream has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    /// The `data:` lines, without the field's name.
    pub(crate) data: Vec<String>,
    /// The comments, without the colon.
    pub(crate) comments: Vec<String>,
    /// The events that are no comments, as they stand on the wire.
    pub(crate) wire: Vec<String>,
}

impl EventStream {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self {
            response_headers: response.headers().clone(),
            bytes: Box::pin(response.bytes_stream()),
            unread: Vec::new(),
            seen: Events::default(),
        }
    }

    /// The answer's header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.response_headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Reads on until `enough` holds for all that was said; false when the stream is over before.
    async fn read_until(&mut self, enough: impl Fn(&Events) -> bool) -> bool {
        while !enough(&self.seen) {
            if let Some(end) = self.unread.windows(2).position(|bytes| bytes == b"\n\n") {
                let event: Vec<u8> = self.unread.drain(..end + 2).collect();
                self.seen.add(std::str::from_utf8(&event).unwrap());
                continue;
            }
            let what = format!("the stream goes on after {:?}", self.seen);
            match soon(&what, self.bytes.next()).await {
                Some(bytes) => self.unread.extend(bytes.expect("the connection breaks")),
                None => return false,
            }
        }
        true
    }

    /// Waits for the next chunk.
    pub(crate) async fn next_chunk(&mut self) -> Value {
        let count = self.seen.data.len();
        assert!(self.read_until(|seen| seen.data.len() > count).await, "{:?}", self.seen);
        parse(&self.seen.data[count])
    }

    /// Waits until this much of the answer is there.
    pub(crate) async fn text(&mut self, text: &str) {
        let there = self.read_until(|seen| seen.text().contains(text)).await;
        assert!(there, "{text:?} is not in {:?}", self.seen);
    }

    /// Waits for the first events, and returns them as they stand on the wire.
    pub(crate) async fn first(&mut self, count: usize) -> String {
        let there = self.read_until(|seen| seen.wire.len() >= count).await;
        assert!(there, "not {count} events in {:?}", self.seen);
        self.seen.wire.concat()
    }

    /// Waits until there were this many comments.
    pub(crate) async fn comments(&mut self, count: usize) {
        let there = self.read_until(|seen| seen.comments.len() >= count).await;
        assert!(there, "not {count} comments in {:?}", self.seen);
    }

    /// Reads to the end: everything that the stream has said from its beginning.
    pub(crate) async fn end(mut self) -> Events {
        self.read_until(|_| false).await;
        assert!(self.unread.is_empty(), "half an event: {:?}", String::from_utf8_lossy(&self.unread));
        self.seen
    }
}

impl Events {
    /// Adds an event as it stands on the wire. Only `id`, `event` and `data` fields and comments are ever sent.
    fn add(&mut self, event: &str) {
        if !event.starts_with(':') {
            self.wire.push(event.to_owned());
        }
        for line in event.lines().filter(|line| !line.is_empty()) {
            if let Some(data) = line.strip_prefix("data: ") {
                self.data.push(data.to_owned());
            } else if let Some(comment) = line.strip_prefix(':') {
                self.comments.push(comment.to_owned());
            } else {
                let is_known = line.starts_with("id: ") || line.starts_with("event: ");
                assert!(is_known, "neither a field that we send nor a comment: {line:?}");
            }
        }
    }

    /// The chunks, without `[DONE]`.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        self.data.iter().filter(|data| *data != "[DONE]").map(|data| parse(data)).collect()
    }

    /// All content deltas, joined.
    pub(crate) fn text(&self) -> String {
        let deltas = self.chunks().into_iter().map(|chunk| chunk["choices"][0]["delta"]["content"].clone());
        deltas.filter_map(|content| content.as_str().map(str::to_owned)).collect()
    }

    /// The finish reasons that are not null, one in a good stream.
    pub(crate) fn finish_reasons(&self) -> Vec<String> {
        let reasons = self.chunks().into_iter().map(|chunk| chunk["choices"][0]["finish_reason"].clone());
        reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect()
    }

    /// The text of a stream that must have ended well.
    pub(crate) fn content(&self) -> String {
        assert_eq!(self.finish_reasons().len(), 1, "{self:?}");
        assert_eq!(self.data.last().unwrap(), "[DONE]", "{self:?}");
        self.text()
    }

    /// The error frame of a stream that must have failed: once, last before `[DONE]`, and no finish reason.
    pub(crate) fn error(&self) -> Value {
        let [.., error, done] = self.data.as_slice() else {
            panic!("too short: {self:?}");
        };
        assert_eq!(done, "[DONE]", "{self:?}");
        assert_eq!(self.finish_reasons(), [""; 0], "{self:?}");
        let errors = self.chunks().iter().filter(|chunk| chunk.get("error").is_some()).count();
        assert_eq!(errors, 1, "{self:?}");
        parse(error)
    }
}

fn parse(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
}
