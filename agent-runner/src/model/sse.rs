//! Server-sent events as they come off the wire, by the WHATWG's rules for `text/event-stream`, as far as providers use
//! them: the data of one event after another.

use bytes::{Buf, Bytes, BytesMut};

/// The longest line and the longest event that a provider may send.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Splits a byte stream into events, wherever it is cut.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
    data: BytesMut,
}

/// An event is longer than any provider has reason to send.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Decoder {
    /// Takes in what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next whole event; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "it may give more after `None`")]
    pub fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        while let Some(line) = self.next_line()? {
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Ok(Some(self.data.split().freeze()));
                }
            } else if let Some(value) = data_of(&line) {
                if self.data.len() + value.len() > MAX_EVENT_BYTES {
                    return Err(TooLong);
                }
                if !self.data.is_empty() {
                    self.data.extend_from_slice(b"\n");
                }
                self.data.extend_from_slice(value);
            }
        }
        Ok(None)
    }

    /// The data of an event that the stream's end cut off before its blank line. Some providers forget that line.
    pub fn finish(&mut self) -> Result<Option<Bytes>, TooLong> {
        self.push(b"\n\n");
        self.next()
    }

    /// The next line without its end, which is a line feed with or without a carriage return before it.
    fn next_line(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(offset) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') else {
            self.searched = self.buffer.len();
            return if self.searched > MAX_EVENT_BYTES { Err(TooLong) } else { Ok(None) };
        };
        let mut line = self.buffer.split_to(self.searched + offset);
        self.buffer.advance(1);
        self.searched = 0;
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line.freeze()))
    }
}

/// The value of a `data` field; other fields and comments are not for us.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data:")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        let mut take = |event: Bytes| events.push(String::from_utf8(event.to_vec()).expect("valid UTF-8"));
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(event) = decoder.next().expect("short lines") {
                take(event);
            }
        }
        if let Some(event) = decoder.finish().expect("short lines") {
            take(event);
        }
        events
    }

    const STREAM: &[u8] =
        ": hi\n\ndata: one\n\nevent: x\r\ndata:two\r\nid: 7\r\n\r\ndata:  th\ndata: rée\n\n\n\ndata: [DONE]".as_bytes();
    const EVENTS: [&str; 4] = ["one", "two", " th\nrée", "[DONE]"];

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        assert_eq!(decode(&[STREAM]), EVENTS);
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            assert_eq!(decode(&[head, tail]), EVENTS, "cut at byte {cut}");
        }
        assert_eq!(decode(&STREAM.chunks(1).collect::<Vec<_>>()), EVENTS);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&vec![b'x'; MAX_EVENT_BYTES]);
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(b"x");
        assert_eq!(decoder.next(), Err(TooLong));

        let mut decoder = Decoder::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; MAX_EVENT_BYTES / 2 + 1], b"\n"].concat();
        decoder.push(&line);
        decoder.push(&line);
        assert_eq!(decoder.next(), Err(TooLong));
    }
}
