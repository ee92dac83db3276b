//! Text that others wrote, made fit for a terminal: what a tool or a web page says must not move its cursor.

use std::{borrow::Cow, fmt::Write};

use serde_json::{Map, Value};

/// As long as providers let names be.
const MAX_NAME_COLUMNS: usize = 64;

/// Shows a tool's arguments as `name=value`, or as they are if they are no JSON object.
pub(super) fn arguments(arguments: &str) -> String {
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(arguments) else { return escaped(arguments.trim()) };
    let shown = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{}={}", escaped(name), escaped(text)),
        None => format!("{}={}", escaped(name), escaped(&value.to_string())),
    };
    object.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// Shows a tool's name, which may be one that the model made up.
pub(super) fn name(name: &str) -> String {
    shortened(&escaped(name), MAX_NAME_COLUMNS).into_owned()
}

/// Cuts a line at so many columns.
pub(super) fn shortened(line: &str, columns: usize) -> Cow<'_, str> {
    console::truncate_str(line, columns, "…")
}

/// Everything that is more than a visible character is written as an escape, line ends too.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(&mut escaped, text, |_| false);
    escaped
}

/// The same, but line ends and tabs stay.
pub(super) fn escaped_lines(text: &str) -> Cow<'_, str> {
    let stays = |character| matches!(character, '\n' | '\t');
    if !text.contains(|character| acts(character) && !stays(character)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    push_escaped(&mut escaped, text, stays);
    Cow::Owned(escaped)
}

fn push_escaped(escaped: &mut String, text: &str, stays: impl Fn(char) -> bool) {
    for character in text.chars() {
        if acts(character) && !stays(character) {
            write!(escaped, "{}", character.escape_default()).expect("a text can be written to");
        } else {
            escaped.push(character);
        }
    }
}

/// Control characters, and those that turn the direction of what follows.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_one_line_whatever_they_hold() {
        let check = |given: &str, expected: &str| assert_eq!(arguments(given), expected);
        check(r#"{"path":"a.txt","limit":3,"deep":{"x":[1]}}"#, r#"deep={"x":[1]} limit=3 path=a.txt"#);
        check(r#"{"text":"one\ntwo\u001b[2J"}"#, r"text=one\ntwo\u{1b}[2J");
        check("{\"b\u{202e}\":1}", r"b\u{202e}=1");
        check("", "");
        check("{}", "");
        check("{\"path\": \"a\n", r#"{"path": "a"#);
        check("[1,\r2]", r"[1,\r2]");
    }

    #[test]
    fn an_answer_keeps_its_lines_but_moves_no_cursor() {
        assert_eq!(escaped_lines("a\n\tb ö 日本"), "a\n\tb ö 日本");
        assert_eq!(escaped_lines("a\u{1b}[31m\r\n\u{9b}b"), "a\\u{1b}[31m\\r\n\\u{9b}b");
    }

    #[test]
    fn a_line_is_cut_by_the_columns_that_it_takes() {
        assert_eq!(shortened("12345", 5), "12345");
        assert_eq!(shortened("123456", 5), "1234…");
        assert_eq!(shortened("日本語です", 5), "日本…");
    }
}
