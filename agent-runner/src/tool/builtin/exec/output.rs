//! What a program writes, in bounded memory: the beginning and the end.

use std::collections::VecDeque;

/// The beginning and the end of a stream.
#[derive(Debug)]
pub(super) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    max_head_bytes: usize,
    max_tail_bytes: usize,
    dropped_bytes: u64,
}

impl Output {
    pub(super) fn new(max_bytes: usize) -> Self {
        let max_head_bytes = max_bytes / 2;
        let max_tail_bytes = max_bytes - max_head_bytes;
        Self { head: Vec::new(), tail: VecDeque::new(), max_head_bytes, max_tail_bytes, dropped_bytes: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.max_head_bytes - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.max_tail_bytes);
        self.tail.drain(..excess);
        self.dropped_bytes += excess as u64;
    }

    /// The text, which ends with a line break unless it is empty. It says how much is missing.
    pub(super) fn into_text(self) -> String {
        let Self { mut head, tail, dropped_bytes, .. } = self;
        if dropped_bytes == 0 {
            // Together, because a character may lie on the border.
            head.extend(tail);
            return ended(String::from_utf8_lossy(&head).into_owned());
        }
        let tail: Vec<u8> = tail.into();
        let head = ended(String::from_utf8_lossy(&head).into_owned());
        let tail = ended(String::from_utf8_lossy(&tail).into_owned());
        format!("{head}[{dropped_bytes} bytes are left out here]\n{tail}")
    }
}

fn ended(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_are_kept_and_the_rest_is_counted() {
        let check = |pieces: &[&str], expected: &str| {
            let mut output = Output::new(10);
            for piece in pieces {
                output.push(piece.as_bytes());
            }
            assert_eq!(output.into_text(), expected);
        };
        check(&[], "");
        check(&["abcd", "éf", "ghi"], "abcdéfghi\n");
        check(&["abc", "defgh\n"], "abcdefgh\n");
        check(&["abcdefghijklm", "nop"], "abcde\n[6 bytes are left out here]\nlmnop\n");
        check(&[&"x".repeat(1000)], "xxxxx\n[990 bytes are left out here]\nxxxxx\n");
    }
}
