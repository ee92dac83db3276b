//! Applies the chunks of a patch to the text of a file.

use super::parse::{Chunk, Line};
use crate::tool::Error;

/// The text afterwards. Lines that stay are the file's own, and new ones end as the file's first one does.
pub(super) fn apply(path: &str, before: &str, chunks: &[Chunk]) -> Result<String, Error> {
    let has_last_newline = before.is_empty() || before.ends_with('\n');
    let body = before.strip_suffix('\n').unwrap_or(before);
    let lines: Vec<&str> = if before.is_empty() { Vec::new() } else { body.split('\n').collect() };
    let ending = if lines.first().is_some_and(|line| line.ends_with('\r')) { "\r" } else { "" };

    let (mut after, mut done) = (Vec::<String>::with_capacity(lines.len()), 0);
    for (number, chunk) in chunks.iter().enumerate() {
        let at = find(&lines, done, chunk)
            .ok_or_else(|| Error(format!("change {} of `{path}` does not fit: {}", number + 1, missing(chunk))))?;
        after.extend(lines[done..at].iter().map(|line| (*line).to_owned()));
        done = at;
        for line in &chunk.lines {
            match line {
                Line::Keep(_) => {
                    after.push(lines[done].to_owned());
                    done += 1;
                }
                Line::Remove(_) => done += 1,
                Line::Add(text) => after.push(format!("{}{ending}", text.trim_end_matches('\r'))),
            }
        }
    }
    after.extend(lines[done..].iter().map(|line| (*line).to_owned()));
    let mut text = after.join("\n");
    if has_last_newline && !after.is_empty() {
        text.push('\n');
    }
    Ok(text)
}

/// The line of the file at which a chunk begins, at `from` or below.
fn find(lines: &[&str], from: usize, chunk: &Chunk) -> Option<usize> {
    let mut start = from;
    for context in &chunk.context {
        start = seek(lines, start, &[context], str::trim)? + 1;
    }
    let old: Vec<&str> = chunk.lines.iter().filter_map(old).collect();
    if old.is_empty() {
        return Some(if chunk.context.is_empty() { lines.len() } else { start });
    }
    let exact: fn(&str) -> &str = |line| line.trim_end_matches('\r');
    let loose: fn(&str) -> &str = str::trim_end;
    [exact, loose].into_iter().find_map(|form| {
        if chunk.is_at_end {
            let at = lines.len().checked_sub(old.len()).filter(|at| *at >= start)?;
            seek(lines, at, &old, form)
        } else {
            seek(lines, start, &old, form)
        }
    })
}

fn seek(lines: &[&str], from: usize, wanted: &[&str], form: fn(&str) -> &str) -> Option<usize> {
    let places = lines.get(from..)?.windows(wanted.len());
    let is_same = |place: &[&str]| place.iter().zip(wanted).all(|(line, wanted)| form(line) == form(wanted));
    places.into_iter().position(is_same).map(|at| from + at)
}

fn old(line: &Line) -> Option<&str> {
    match line {
        Line::Keep(text) | Line::Remove(text) => Some(text),
        Line::Add(_) => None,
    }
}

fn missing(chunk: &Chunk) -> String {
    let first = chunk.lines.iter().find_map(old).unwrap_or_default();
    let below = chunk.context.last().map(|context| format!(" below `{context:.80}`")).unwrap_or_default();
    format!("the lines that begin with `{first:.80}` are not there{below}; read the file and take them from there")
}
