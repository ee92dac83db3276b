//! The head of a skill's file. Not a whole YAML parser: people write `description: Use when: …`, which is not YAML, and of
//! what is, only texts are wanted.

use std::{iter::Peekable, str::Lines};

/// What a prompt wants to know of a skill.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FrontMatter {
    pub(super) name: String,
    pub(super) description: String,
    /// Whether only people call the skill.
    pub(super) disables_model_invocation: bool,
}

/// Reads what stands between the first line and the next `---`; nothing if there is no such place.
pub(super) fn parse(text: &str) -> Option<FrontMatter> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let body = text.strip_prefix("---")?;
    let (rest, body) = body.split_once('\n')?;
    let mut head: Vec<&str> = Vec::new();
    let is_fence = |line: &str| matches!(line.trim_end(), "---" | "...");
    let mut lines = body.lines();
    loop {
        match lines.next()? {
            line if is_fence(line) => break,
            line => head.push(line),
        }
    }
    rest.trim().is_empty().then(|| entries(&head.join("\n")))
}

fn entries(head: &str) -> FrontMatter {
    let mut front_matter = FrontMatter::default();
    let mut lines = head.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':').filter(|_| !is_inner(line) && !line.starts_with('#')) else {
            continue;
        };
        let value = value_of(value.trim(), &mut lines);
        match key.trim() {
            "name" => front_matter.name = value,
            "description" => front_matter.description = value,
            "disable-model-invocation" => front_matter.disables_model_invocation = value == "true",
            // Others have meanings elsewhere.
            _ => {}
        }
    }
    front_matter
}

/// A line that belongs to the entry above it.
fn is_inner(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with([' ', '\t'])
}

/// A text as one line: in one line, in several, in quotes, or as a block (`|`, `>`).
fn value_of(first: &str, lines: &mut Peekable<Lines<'_>>) -> String {
    let is_block = first.starts_with(['|', '>']);
    let mut words: Vec<&str> = if is_block { Vec::new() } else { first.split_whitespace().collect() };
    while let Some(line) = lines.next_if(|line| is_inner(line)) {
        words.extend(line.split_whitespace());
    }
    let joined = words.join(" ");
    if is_block { joined } else { unquoted(&joined) }
}

fn unquoted(text: &str) -> String {
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return inner.replace("\\\"", "\"").replace("\\n", " ").replace("\\\\", "\\");
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.replace("''", "'");
    }
    let comment = text.find(" #").unwrap_or(text.len());
    text[..comment].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_however_they_are_written() {
        let check = |written: &str, expected: &str| {
            let text = format!("---\nname: pdf\ndescription:{written}\nlicense: MIT\n---\n\n# Body\n");
            let expected = FrontMatter { name: "pdf".into(), description: expected.into(), ..FrontMatter::default() };
            assert_eq!(parse(&text), Some(expected), "{written}");
        };
        check(" Fills in forms. # really", "Fills in forms.");
        check(" Use when: a form is to be filled in", "Use when: a form is to be filled in");
        check(" \"Says \\\"hi\\\": always\"", "Says \"hi\": always");
        check(" 'It''s quoted # here'", "It's quoted # here");
        check(" >-\n  Fills in\n\n  forms.", "Fills in forms.");
        check(" |\n  Fills in\n  forms.\r", "Fills in forms.");
        check(" Fills in\n  forms.", "Fills in forms.");
        check("", "");
    }

    #[test]
    fn nested_values_and_comments_are_passed_over() {
        let text = "---\n# name: wrong\nmetadata:\n  name: inner\n  description: inner\nname: outer\ntags:\n  - a\n\
                    disable-model-invocation: true\ndescription: d\n...\n";
        let expected = FrontMatter { name: "outer".into(), description: "d".into(), disables_model_invocation: true };
        assert_eq!(parse(text), Some(expected));
    }

    #[test]
    fn a_file_without_a_head_has_none() {
        for text in ["", "# Title\n", "---", "---\nname: a\n", "--- x\nname: a\n---\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
