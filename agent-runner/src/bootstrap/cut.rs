//! Long files: their beginning and their end, and in between how much is missing.

use std::io::{self, Read, Seek, SeekFrom};

/// The longest that a character can be.
const MAX_CHAR_BYTES: usize = 4;
const HEAD_PERCENT: usize = 70;
const TAIL_PERCENT: usize = 20;

/// Reads a file of `size` bytes as text of about `max_chars` characters at most. However long the file is, only what may
/// be kept is read.
pub(super) fn read(mut file: impl Read + Seek, size: u64, max_chars: usize, name: &str) -> io::Result<String> {
    let enough = max_chars.saturating_mul(MAX_CHAR_BYTES);
    let enough_bytes = u64::try_from(enough).unwrap_or(u64::MAX);
    if size <= enough_bytes.saturating_mul(2) {
        // A file that grows meanwhile is read again at the next look.
        let whole = text(&mut file, size)?;
        let length = whole.chars().count();
        return Ok(if length <= max_chars { whole } else { cut(&whole, &whole, whole.len() as u64, max_chars, name) });
    }
    let head = text(&mut file, enough_bytes)?;
    file.seek(SeekFrom::Start(size - enough_bytes))?;
    let tail = text(&mut file, enough_bytes)?;
    Ok(cut(&head, &tail, size, max_chars, name))
}

fn text(file: &mut impl Read, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `head` holds the beginning of a text of `size` bytes, `tail` its end.
fn cut(head: &str, tail: &str, size: u64, max_chars: usize, name: &str) -> String {
    let share = |percent: usize| max_chars.saturating_mul(percent) / 100;
    let end = head.char_indices().nth(share(HEAD_PERCENT)).map_or(head.len(), |(index, _)| index);
    let skipped = tail.chars().count().saturating_sub(share(TAIL_PERCENT));
    let start = tail.char_indices().nth(skipped).map_or(tail.len(), |(index, _)| index);
    let (head, tail) = (&head[..end], &tail[start..]);
    let missing = size.saturating_sub((head.len() + tail.len()) as u64);
    format!("{head}\n\n[… {missing} of the {size} bytes of {name} are left out here …]\n\n{tail}")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn check(content: &str, max_chars: usize, expected: &str) {
        let read = read(Cursor::new(content), content.len() as u64, max_chars, "A.md").expect("memory can be read");
        assert_eq!(read, expected);
    }

    #[test]
    fn a_file_within_the_limit_stays_whole() {
        check("", 10, "");
        check("0123456789", 10, "0123456789");
        // Characters count, not bytes.
        check("äöüäöüäöüä", 10, "äöüäöüäöüä");
    }

    #[test]
    fn of_a_long_file_the_beginning_and_the_end_are_kept() {
        let marker = |missing, size| format!("\n\n[… {missing} of the {size} bytes of A.md are left out here …]\n\n");
        check("0123456789A", 10, &format!("0123456{}9A", marker(2, 11)));
        check("äbcdefghijü", 10, &format!("äbcdefg{}jü", marker(2, 13)));
        // So long that its middle is not read; the tail begins within a character.
        let long = format!("{}{}", "a".repeat(50), "€".repeat(100));
        check(&long, 10, &format!("aaaaaaa{}€€", marker(337, 350)));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let content: &[u8] = b"a\xffb";
        assert_eq!(read(Cursor::new(content), 3, 10, "A.md").expect("memory can be read"), "a\u{fffd}b");
    }
}
