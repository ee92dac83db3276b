//! Text from the bytes of tokens: whole characters only, and nothing of a stop text.

/// What a token made certain.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Delta {
    /// More text, if any.
    pub(super) text: String,
    /// Whether a stop text came after it.
    pub(super) stopped: bool,
}

/// Holds back what may still turn out to be a character or a stop text.
pub(super) struct Deltas {
    stops: Vec<String>,
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop text.
    text: String,
}

impl Deltas {
    /// Watches for the given texts; empty ones are ignored.
    pub(super) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, bytes: Vec::new(), text: String::new() }
    }

    /// Takes a token's bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Delta {
        self.bytes.extend_from_slice(bytes);
        self.take_characters();
        let stop = self.stops.iter().filter_map(|stop| self.text.find(stop.as_str())).min();
        let certain = stop.unwrap_or_else(|| self.text.len() - self.held_back());
        let held = if stop.is_some() { String::new() } else { self.text.split_off(certain) };
        self.text.truncate(certain);
        Delta { text: std::mem::replace(&mut self.text, held), stopped: stop.is_some() }
    }

    /// What is left when no token follows; an unfinished character is dropped.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Moves whole characters to the text, and a replacement for bytes that cannot become one.
    fn take_characters(&mut self) {
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_the_end = taken + invalid.len() == self.bytes.len();
            let unfinished = at_the_end && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if !invalid.is_empty() && !unfinished {
                self.text.push(char::REPLACEMENT_CHARACTER);
                taken += invalid.len();
            }
        }
        self.bytes.drain(..taken);
    }

    /// The length of the longest end of the text that begins a stop text.
    fn held_back(&self) -> usize {
        let begins = |end: &str| self.stops.iter().any(|stop| stop.starts_with(end));
        self.text.char_indices().map(|(start, _)| &self.text[start..]).find(|end| begins(end)).map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stops: &[&str], tokens: &[&[u8]], expected: &[&str], stopped: bool, rest: &str) {
        let mut deltas = Deltas::new(&stops.iter().map(ToString::to_string).collect::<Vec<_>>());
        let pushed: Vec<Delta> = tokens.iter().map(|token| deltas.push(token)).collect();
        assert_eq!(pushed.iter().map(|delta| delta.text.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(pushed.iter().any(|delta| delta.stopped), stopped);
        assert_eq!(deltas.finish(), rest);
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        check(&[], &[b"a\xf0\x9f", b"\xa6", b"\x80b"], &["a", "", "🦀b"], false, "");
    }

    #[test]
    fn an_unfinished_character_at_the_end_is_dropped() {
        check(&[], &[b"a\xf0\x9f"], &["a"], false, "");
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced() {
        check(&[], &[b"a\xff\xf0", b"b\xc3"], &["a\u{fffd}", "\u{fffd}b"], false, "");
    }

    #[test]
    fn a_stop_text_over_several_tokens_is_not_shown() {
        check(&["END"], &[b"the E", b"N", b"D!"], &["the ", "", ""], true, "");
    }

    #[test]
    fn the_earliest_stop_text_counts() {
        check(&["c", "bc", ""], &[b"abcd"], &["a"], true, "");
    }

    #[test]
    fn what_only_looked_like_a_stop_text_is_shown() {
        check(&["<stop>"], &[b"a <st", b"<", b"step>", b" <sto"], &["a ", "<st", "<step>", " "], false, "<sto");
    }
}
