//! What a model is shown of a session: the transcript and the turn that is being taken, how long they are, and what a
//! summary stands for.

mod estimate;

use proto::session::v1::{Compaction, Message, Role};

use crate::prompt;

/// How a summary introduces itself to the model.
const SUMMARY_PREFACE: &str = "What was said before this, summed up:\n\n";

/// How much of a conversation fits a model, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// The most tokens of prompt and answer together.
    pub(crate) context: u64,
    /// How many are left for the answer and for what the estimates get wrong.
    pub(crate) reserve: u64,
    /// How many of the newest are never summed up.
    pub(crate) keep: u64,
}

/// A transcript's window, and what its next turn has added so far.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    messages: Vec<Message>,
    /// How many of the messages the store has already.
    kept: usize,
    /// What else is in every prompt, in tokens: instructions and tools.
    overhead: u64,
}

impl Conversation {
    pub(crate) fn new(transcript: Vec<Message>, overhead: u64) -> Self {
        Self { kept: transcript.len(), messages: transcript, overhead }
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// What the turn adds to the transcript, of which the next turn begins with the newest `window` messages.
    ///
    /// A summary that would leave that window before long is repeated: what it stands for would be forgotten.
    pub(crate) fn into_turn(mut self, window: usize) -> Vec<Message> {
        if let Some((place, _)) = self.newest_summary()
            && self.messages.len() - place > window / 2
        {
            let shown = u32::try_from(self.visible().len() - 1).unwrap_or(u32::MAX);
            let summary = self.messages[place].clone();
            self.push(Message { compaction: Some(Compaction { kept_messages: shown }), ..summary });
        }
        self.messages.split_off(self.kept)
    }

    /// What the turn adds to the transcript.
    #[cfg(test)]
    pub(crate) fn turn(&self) -> &[Message] {
        &self.messages[self.kept..]
    }

    /// What the model is shown, in order: the newest summary, what it left out, and what came after it.
    pub(crate) fn visible(&self) -> Vec<&Message> {
        let Some((place, kept)) = self.newest_summary() else { return self.messages.iter().collect() };
        let (before, after) = (&self.messages[..place], &self.messages[place + 1..]);
        let unsummed = before.iter().filter(|message| message.compaction.is_none());
        let count = unsummed.clone().count();
        let unsummed = unsummed.skip(count.saturating_sub(kept)).skip_while(|message| message.role() == Role::Tool);
        std::iter::once(&self.messages[place]).chain(unsummed).chain(after).collect()
    }

    /// About how many tokens the next prompt has: what the provider counted last, and an estimate of what is new.
    pub(crate) fn tokens(&self) -> u64 {
        let since_summary = self.newest_summary().map_or(0, |(place, _)| place + 1);
        let newest = self.messages[since_summary..].iter().rposition(|message| message.context_tokens > 0);
        match newest.map(|place| since_summary + place) {
            Some(place) => {
                let counted = self.messages[place].context_tokens;
                counted + self.messages[place + 1..].iter().map(estimate::tokens).sum::<u64>()
            }
            None => self.overhead + self.visible().into_iter().map(estimate::tokens).sum::<u64>(),
        }
    }

    /// Whether the next prompt would leave too little room.
    pub(crate) fn is_full(&self, room: Room) -> bool {
        self.tokens() > room.context.saturating_sub(room.reserve)
    }

    /// What to sum up so that about the newest `keep` tokens stay; `None` when that is nothing. A tool's result stays
    /// with its call, and the newest message always stays.
    pub(crate) fn to_sum_up(&self, keep: u64) -> Option<Vec<&Message>> {
        let mut visible = self.visible();
        let mut cut = visible.len().checked_sub(1)?;
        let mut tokens = estimate::tokens(visible[cut]);
        while cut > 0 {
            tokens += estimate::tokens(visible[cut - 1]);
            if tokens > keep {
                break;
            }
            cut -= 1;
        }
        while cut > 0 && visible[cut].role() == Role::Tool {
            cut -= 1;
        }
        visible.truncate(cut);
        // A summary alone cannot be made any shorter by summing it up.
        visible.iter().any(|message| message.compaction.is_none()).then_some(visible)
    }

    /// About how many tokens [`Self::to_sum_up`] gives.
    pub(crate) fn tokens_to_sum_up(&self, keep: u64) -> u64 {
        self.to_sum_up(keep).unwrap_or_default().into_iter().map(estimate::tokens).sum()
    }

    /// Puts a summary in the place of what [`Self::to_sum_up`] gave for the same `keep`.
    pub(crate) fn sum_up(&mut self, summary: &str, keep: u64) {
        let summed_up = self.to_sum_up(keep).map_or(0, |messages| messages.len());
        let kept = self.visible().into_iter().skip(summed_up).filter(|message| message.compaction.is_none()).count();
        self.push(Message {
            role: Role::User.into(),
            parts: vec![prompt::text(format!("{SUMMARY_PREFACE}{summary}"))],
            compaction: Some(Compaction { kept_messages: u32::try_from(kept).unwrap_or(u32::MAX) }),
            ..Message::default()
        });
    }

    /// The place of the newest summary, and how many messages before it are still shown.
    fn newest_summary(&self) -> Option<(usize, usize)> {
        let place = self.messages.iter().rposition(|message| message.compaction.is_some())?;
        let kept = self.messages[place].compaction.map_or(0, |compaction| compaction.kept_messages);
        Some((place, usize::try_from(kept).unwrap_or(usize::MAX)))
    }
}

/// About how many tokens a text has.
pub(crate) fn text_tokens(text: &str) -> u64 {
    estimate::text(text)
}

#[cfg(test)]
mod tests;
