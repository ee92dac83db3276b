//! Which passages of some notes fit a query best: BM25 over words, without regard to case. Nothing is kept of a passage
//! but where it is, and that only of the best, so that a search needs no more memory than its notes.

use std::iter;

use crate::tool::{Caller, Error};

/// How soon more of the same word counts no more.
const SATURATION: f64 = 1.2;
/// How much long passages are held back.
const LENGTH_WEIGHT: f64 = 0.75;
/// Where a passage without blank lines ends at the latest.
const MAX_PASSAGE_BYTES: usize = 4096;
/// How many different words of a query are looked for.
const MAX_QUERY_WORDS: usize = 64;

/// A file that is searched.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) path: String,
    pub(super) text: String,
}

/// A piece of a note.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Passage<'a> {
    /// Lines count from 1.
    pub(super) first_line: usize,
    pub(super) last_line: usize,
    /// From the first line to the last, blank ones between them too.
    pub(super) text: &'a str,
}

/// A passage that fits a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) path: &'a str,
    pub(super) passage: Passage<'a>,
    score: f64,
}

/// Takes a text apart at its blank lines. A heading stays with what follows it.
fn passages(text: &str) -> impl Iterator<Item = Passage<'_>> {
    let mut end = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        end += line.len();
        (end, line)
    });
    let mut lines = iter::zip(1.., lines).peekable();
    iter::from_fn(move || {
        let (first_line, (mut end, first)) = lines.find(|(_, (_, line))| !is_blank(line))?;
        let start = end - first.len();
        let (mut last_line, mut is_only_headings) = (first_line, is_heading(first));
        while let Some((number, (line_end, line))) = lines.next_if(|(_, (_, line))| {
            let is_border = (is_blank(line) || is_heading(line)) && !is_only_headings;
            !is_border && end - start <= MAX_PASSAGE_BYTES
        }) {
            if !is_blank(line) {
                (last_line, end) = (number, line_end);
                is_only_headings &= is_heading(line);
            }
        }
        Some(Passage { first_line, last_line, text: text[start..end].trim_end() })
    })
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn is_heading(line: &str) -> bool {
    line.starts_with('#')
}

/// The passages that hold a word of the query, best first, and no more than that many.
pub(super) fn rank<'a>(
    notes: &'a [Note],
    query: &str,
    max_results: usize,
    caller: &Caller,
) -> Result<Vec<Found<'a>>, Error> {
    let mut counter = Counter::new(query);
    let (mut passage_count, mut word_count) = (0, 0);
    let mut with_word = vec![0; counter.wanted.len()];
    for note in notes {
        for passage in passages(&note.text) {
            caller.check()?;
            counter.count(passage.text);
            passage_count += 1;
            word_count += counter.length;
            iter::zip(&mut with_word, &counter.counts).for_each(|(with, count)| *with += usize::from(*count > 0));
        }
    }
    let average = (float(word_count) / float(passage_count.max(1))).max(1.0);
    let weights: Vec<f64> = with_word.into_iter().map(|with_word| weight(passage_count, with_word)).collect();

    let mut best: Vec<Found<'_>> = Vec::with_capacity(max_results + 1);
    for Note { path, text } in notes {
        for passage in passages(text) {
            caller.check()?;
            counter.count(passage.text);
            if counter.counts.iter().any(|count| *count > 0) {
                let found = Found { path, passage, score: counter.score(&weights, average) };
                let place = best.partition_point(|other| !found.is_better_than(other));
                best.insert(place, found);
                best.truncate(max_results);
            }
        }
    }
    Ok(best)
}

impl Found<'_> {
    /// Of two that fit as well, the one that is named first.
    fn is_better_than(&self, other: &Self) -> bool {
        let place = |found: &Self| (found.path.to_owned(), found.passage.first_line);
        other.score.total_cmp(&self.score).then_with(|| place(self).cmp(&place(other))).is_lt()
    }
}

/// How often a passage has the words of a query. One is used for passage after passage.
struct Counter {
    /// Sorted.
    wanted: Vec<String>,
    counts: Vec<usize>,
    /// How many words the passage has.
    length: usize,
    word: String,
}

impl Counter {
    fn new(query: &str) -> Self {
        let mut wanted: Vec<String> = Vec::new();
        let mut word = String::new();
        for written in words(query) {
            lowercase(written, &mut word);
            if wanted.len() == MAX_QUERY_WORDS {
                break;
            }
            if let Err(place) = wanted.binary_search(&word) {
                wanted.insert(place, word.clone());
            }
        }
        Self { counts: vec![0; wanted.len()], wanted, length: 0, word }
    }

    fn count(&mut self, text: &str) {
        self.counts.fill(0);
        self.length = 0;
        for written in words(text) {
            self.length += 1;
            lowercase(written, &mut self.word);
            if let Ok(index) = self.wanted.binary_search(&self.word) {
                self.counts[index] += 1;
            }
        }
    }

    fn score(&self, weights: &[f64], average: f64) -> f64 {
        let length = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * float(self.length) / average;
        let score = |(count, weight): (&usize, &f64)| {
            let count = float(*count);
            weight * count * (SATURATION + 1.0) / (count + SATURATION * length)
        };
        iter::zip(&self.counts, weights).map(score).sum()
    }
}

/// A word says the more, the fewer passages have it.
fn weight(passages: usize, with_word: usize) -> f64 {
    let (all, with) = (float(passages), float(with_word));
    (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn lowercase(word: &str, into: &mut String) {
    into.clear();
    into.extend(word.chars().flat_map(char::to_lowercase));
}

/// Exact for every number that bounded notes can reach.
fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::blocking::waiting;

    fn note(text: impl Into<String>) -> [Note; 1] {
        [Note { path: "a".to_owned(), text: text.into() }]
    }

    /// The first lines of the passages that fit.
    fn lines(notes: &[Note], query: &str, max_results: usize) -> Vec<usize> {
        let (_waiting, caller) = waiting();
        let found = rank(notes, query, max_results, &caller).expect("is waited for");
        found.iter().map(|found| found.passage.first_line).collect()
    }

    #[test]
    fn a_text_is_taken_apart_at_blank_lines_and_headings_stay_with_what_follows() {
        let passage = |first_line, last_line, text| Passage { first_line, last_line, text };
        let expected = [passage(1, 3, "# Tea\n\ngreen"), passage(5, 6, "black\r\nhot"), passage(7, 8, "## Cups\nblue")];
        let found: Vec<_> = passages("# Tea\n\ngreen\n\nblack\r\nhot\n## Cups\nblue\n").collect();
        assert_eq!(found, expected);
        assert_eq!(passages(" \n\n").next(), None);
        assert!(passages(&"#\n".repeat(100_000)).all(|passage| passage.text.len() <= MAX_PASSAGE_BYTES + 2));
    }

    #[test]
    fn rare_words_and_short_passages_count_more() {
        let notes =
            note("the dog sleeps\n\nthe cat and the dog and the bird and the mouse\n\nthe CAT\n\nnothing of that");
        let check = |query: &str, expected: &[usize]| assert_eq!(lines(&notes, query, 9), expected, "{query}");
        check("cat", &[5, 3]);
        check("the Cat!", &[5, 3, 1]);
        check("elephant", &[]);
        check("", &[]);
        assert_eq!(lines(&notes, "the Cat!", 2), [5, 3]);
    }

    #[test]
    fn of_many_passages_that_fit_only_the_best_are_kept() {
        let notes = note(format!("{}tea tea", "tea or coffee\n\n".repeat(100_000)));
        assert_eq!(lines(&notes, "tea", 3), [200_001, 1, 3]);
    }

    #[test]
    fn only_so_many_words_of_a_query_count() {
        let words: Vec<String> = (0..=MAX_QUERY_WORDS).map(|number| format!("word{number}")).collect();
        let notes = note(format!("{}\n\n{}", words[MAX_QUERY_WORDS], words[MAX_QUERY_WORDS - 1]));
        assert_eq!(lines(&notes, &words.join(" "), 9), [3]);
    }

    #[test]
    fn a_search_that_nobody_waits_for_ends() {
        let (waiting, caller) = waiting();
        drop(waiting);
        rank(&note("tea"), "tea", 1, &caller).expect_err("is not waited for");
    }
}
