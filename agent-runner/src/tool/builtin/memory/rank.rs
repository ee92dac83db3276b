//! Which passages of some texts fit a query best: BM25 over words, without regard to case.

use std::collections::HashMap;

/// How soon more of the same word counts no more.
const SATURATION: f64 = 1.2;
/// How much long passages are held back.
const LENGTH_WEIGHT: f64 = 0.75;
/// Where a passage without blank lines ends at the latest.
const MAX_PASSAGE_BYTES: usize = 4096;

/// A piece of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Passage {
    pub(super) path: String,
    /// Lines count from 1.
    pub(super) first_line: usize,
    pub(super) last_line: usize,
    pub(super) text: String,
}

/// Takes a text apart at its blank lines. A heading stays with what follows it.
pub(super) fn passages(path: &str, text: &str) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    let mut open: Option<Passage> = None;
    for (index, line) in text.lines().enumerate() {
        let is_blank = line.trim().is_empty();
        let is_heading = line.starts_with('#');
        let ends = open.as_ref().is_some_and(|passage| {
            let is_only_a_heading = passage.text.lines().all(|line| line.starts_with('#'));
            ((is_blank || is_heading) && !is_only_a_heading) || passage.text.len() > MAX_PASSAGE_BYTES
        });
        if ends {
            passages.extend(open.take());
        }
        if is_blank {
            continue;
        }
        let passage = open.get_or_insert_with(|| Passage {
            path: path.to_owned(),
            first_line: index + 1,
            last_line: index + 1,
            text: String::new(),
        });
        if !passage.text.is_empty() {
            passage.text.push('\n');
        }
        passage.text.push_str(line);
        passage.last_line = index + 1;
    }
    passages.extend(open);
    passages
}

/// The passages that hold a word of the query, best first.
pub(super) fn rank<'a>(passages: &'a [Passage], query: &str) -> Vec<&'a Passage> {
    let mut wanted = words(query).collect::<Vec<_>>();
    wanted.sort();
    wanted.dedup();
    let counted: Vec<Counted> = passages.iter().map(|passage| Counted::new(&passage.text, &wanted)).collect();
    let average = mean(counted.iter().map(|counted| counted.length));
    let weights: Vec<f64> = (0..wanted.len())
        .map(|word| weight(passages.len(), counted.iter().filter(|counted| counted.of(word) > 0).count()))
        .collect();

    let mut scored: Vec<(f64, &Passage)> = counted
        .iter()
        .zip(passages)
        .filter(|(counted, _)| !counted.words.is_empty())
        .map(|(counted, passage)| (counted.score(&weights, average), passage))
        .collect();
    scored.sort_by(|(left, left_passage), (right, right_passage)| {
        let place = |passage: &Passage| (passage.path.clone(), passage.first_line);
        right.total_cmp(left).then_with(|| place(left_passage).cmp(&place(right_passage)))
    });
    scored.into_iter().map(|(_, passage)| passage).collect()
}

/// How often a passage has the words of the query.
struct Counted {
    words: HashMap<usize, usize>,
    length: usize,
}

impl Counted {
    fn new(text: &str, wanted: &[String]) -> Self {
        let mut counted = Self { words: HashMap::new(), length: 0 };
        for word in words(text) {
            counted.length += 1;
            if let Ok(index) = wanted.binary_search(&word) {
                *counted.words.entry(index).or_default() += 1;
            }
        }
        counted
    }

    fn of(&self, word: usize) -> usize {
        self.words.get(&word).copied().unwrap_or_default()
    }

    fn score(&self, weights: &[f64], average: f64) -> f64 {
        let length = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * float(self.length) / average;
        let score = |(word, weight): (usize, &f64)| {
            let count = float(self.of(word));
            weight * count * (SATURATION + 1.0) / (count + SATURATION * length)
        };
        weights.iter().enumerate().map(score).sum()
    }
}

/// A word says the more, the fewer passages have it.
fn weight(passages: usize, with_word: usize) -> f64 {
    let (all, with) = (float(passages), float(with_word));
    (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn mean(numbers: impl ExactSizeIterator<Item = usize>) -> f64 {
    let count = float(numbers.len().max(1));
    (float(numbers.sum::<usize>()) / count).max(1.0)
}

/// Exact for every number that bounded notes can reach.
fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart_at_blank_lines_and_headings_stay_with_what_follows() {
        let passage = |first_line, last_line, text: &str| Passage {
            path: "a".to_owned(),
            first_line,
            last_line,
            text: text.to_owned(),
        };
        let expected = [passage(1, 3, "# Tea\ngreen"), passage(5, 6, "black\nhot"), passage(7, 8, "## Cups\nblue")];
        assert_eq!(passages("a", "# Tea\n\ngreen\n\nblack\nhot\n## Cups\nblue\n"), expected);
    }

    #[test]
    fn rare_words_and_short_passages_count_more() {
        let text = "the dog sleeps\n\nthe cat and the dog and the bird and the mouse\n\nthe CAT\n\nnothing of that";
        let passages = passages("a", text);
        let check = |query: &str, expected: &[usize]| {
            let lines: Vec<usize> = rank(&passages, query).iter().map(|passage| passage.first_line).collect();
            assert_eq!(lines, expected, "{query}");
        };
        check("cat", &[5, 3]);
        check("the Cat!", &[5, 3, 1]);
        check("elephant", &[]);
        check("", &[]);
    }
}
