//! Server-sent events on their way out, counted.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};

/// Takes events into a buffer that is handed out when the connection can take more.
///
/// The same events of a run make the same server-sent events, so that their numbers, from 1, say where a client is.
pub(crate) struct Sse {
    buffer: BytesMut,
    /// How many events were written or left out.
    count: u64,
    /// How many the client has already.
    skip: u64,
    /// Whether each event has its number as its `id`.
    has_ids: bool,
}

impl Sse {
    /// All events, without numbers.
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(1024), count: 0, skip: 0, has_ids: false }
    }

    /// All events with their numbers.
    pub(crate) fn with_ids(self) -> Self {
        Self { has_ids: true, ..self }
    }

    /// Leaves the first events out.
    pub(crate) fn after(self, count: u64) -> Self {
        Self { skip: count, ..self }
    }

    /// Whether the client has had a part of the stream before.
    pub(super) fn is_resumed(&self) -> bool {
        self.skip > 0
    }

    /// Writes one event; `write` gets the event's number, and writes its fields and its end. It is not called for an
    /// event that the client has.
    pub(crate) fn event(&mut self, write: impl FnOnce(&mut BytesMut, u64)) {
        self.count += 1;
        if self.count <= self.skip {
            return;
        }
        if self.has_ids {
            writeln!((&mut self.buffer).writer(), "id: {}", self.count).expect("memory takes it");
        }
        write(&mut self.buffer, self.count);
    }

    /// Writes an event that is not one of the run's, and has no number.
    pub(crate) fn aside(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.buffer);
    }

    /// How many of the run's events there have been.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Something that clients skip.
    pub(crate) fn comment(&mut self, text: &str) {
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
    pub(crate) fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut sse: Sse) -> String {
        for text in ["a", "b", "c"] {
            sse.event(|buffer, number| write!(buffer.writer(), "data: {text}{number}\n\n").expect("memory takes it"));
        }
        sse.comment("x");
        sse.aside(|buffer| buffer.put_slice(b"data: z\n\n"));
        String::from_utf8(sse.take().to_vec()).expect("valid UTF-8")
    }

    #[test]
    fn events_are_written_as_they_come() {
        assert_eq!(written(Sse::new()), "data: a1\n\ndata: b2\n\ndata: c3\n\n: x\n\ndata: z\n\n");
    }

    #[test]
    fn a_client_gets_what_it_does_not_have_under_the_same_numbers() {
        let expected = "id: 3\ndata: c3\n\n: x\n\ndata: z\n\n";
        assert_eq!(written(Sse::new().with_ids().after(2)), expected);
        assert_eq!(written(Sse::new().with_ids().after(3)), ": x\n\ndata: z\n\n");
    }
}
