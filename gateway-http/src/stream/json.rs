//! JSON that stays on one line, whatever a client takes for a line's end.

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Writes a value as JSON. JSON escapes most of what ends a line; some clients' line readers break at three more
/// characters, which are escaped here.
pub(crate) fn json<T: Serialize + ?Sized>(buffer: &mut BytesMut, value: &T) {
    let mut serializer = Serializer::with_formatter(buffer.writer(), OneLine);
    value.serialize(&mut serializer).expect("strings and numbers always serialise, and memory takes them");
}

struct OneLine;

const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

impl Formatter for OneLine {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(place) = rest.find(LINE_ENDS) {
            let (before, from) = rest.split_at(place);
            let end = from.chars().next().expect("it was found there");
            write!(writer, "{before}\\u{:04x}", u32::from(end))?;
            rest = &from[end.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_its_line() {
        let check = |text: &str, expected: &str| {
            let mut buffer = BytesMut::new();
            json(&mut buffer, text);
            assert_eq!(std::str::from_utf8(&buffer), Ok(expected));
            assert_eq!(serde_json::from_slice::<String>(&buffer).ok().as_deref(), Some(text));
        };
        check("a\"b\n", r#""a\"b\n""#);
        check("«é»", "\"«é»\"");
        check("a\u{2028}\u{2029}é\u{85}\u{b}", r#""a\u2028\u2029é\u0085\u000b""#);
    }
}
