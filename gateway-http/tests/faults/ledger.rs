//! What clients saw of a session, and what has to be true of its transcript then.

use std::{collections::HashMap, time::Instant};

/// A message of a transcript: its role and its text.
pub(crate) type Line = (String, String);

/// Everything that clients have seen of one session.
#[derive(Default)]
pub(crate) struct Ledger {
    turns: Vec<Turn>,
    failed_tries: usize,
}

/// A turn that a client asked for.
pub(crate) struct Turn {
    /// What the client said; no two turns say the same.
    pub(crate) text: String,
    pub(crate) began: Instant,
    /// When the client had the whole answer.
    pub(crate) completed: Option<Instant>,
}

impl Ledger {
    pub(crate) fn add(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    pub(crate) fn add_failed_try(&mut self) {
        self.failed_tries += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.turns.extend(other.turns);
        self.failed_tries += other.failed_tries;
    }

    pub(crate) fn complete(&self) -> usize {
        self.turns.iter().filter(|turn| turn.completed.is_some()).count()
    }

    pub(crate) fn failed_tries(&self) -> usize {
        self.failed_tries
    }

    /// Every turn is there at most once, with its answer behind it; those that were seen complete are there, and
    /// behind those that were complete before they began.
    pub(crate) fn assert_matches(&self, transcript: &[Line]) {
        let places = places(transcript);
        for text in places.keys() {
            assert!(self.turns.iter().any(|turn| turn.text == *text), "nobody said {text:?}");
        }
        let mut complete: Vec<(Instant, Instant, usize, &str)> = Vec::new();
        for turn in &self.turns {
            let Some(completed) = turn.completed else { continue };
            let place = places.get(turn.text.as_str());
            let place = place.unwrap_or_else(|| panic!("the turn {:?} was seen complete and is lost", turn.text));
            complete.push((turn.began, completed, *place, &turn.text));
        }
        for earlier in &complete {
            for later in complete.iter().filter(|later| later.0 > earlier.1) {
                assert!(earlier.2 < later.2, "{:?} was over before {:?} began", earlier.3, later.3);
            }
        }
    }
}

/// Where each turn stands.
fn places(transcript: &[Line]) -> HashMap<&str, usize> {
    let mut places = HashMap::new();
    let (turns, rest) = transcript.as_chunks::<2>();
    assert!(rest.is_empty(), "half a turn is in the transcript: {rest:?}");
    for (place, [(asker, text), (answerer, answer)]) in turns.iter().enumerate() {
        assert_eq!((asker.as_str(), answerer.as_str()), ("user", "assistant"), "{text:?} {answer:?}");
        assert_eq!(*answer, crate::provider::answer_to(text), "the wrong answer follows");
        assert!(places.insert(text.as_str(), place).is_none(), "the turn {text:?} is there twice");
    }
    places
}
