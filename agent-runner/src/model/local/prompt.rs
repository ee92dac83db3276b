//! The conversation as the model was trained to read it: `ChatML`, fitted to the context.

use proto::session::v1::{Message, Role, part::Kind};

use super::{CONTEXT_TOKENS, vocabulary::Vocabulary};
use crate::{images::NOTE, model::Error};

/// What the model's own template says when there are no instructions.
const DEFAULT_INSTRUCTIONS: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// A prompt, ready to be read.
pub(super) struct Prompt {
    /// All of it.
    pub(super) tokens: Vec<u32>,
    /// How many of them are the instructions, which come first.
    pub(super) instructions: usize,
}

/// One speaker's words.
struct Turn {
    role: &'static str,
    text: String,
}

/// Writes a prompt that leaves room for `answer_tokens` in the context.
///
/// The system and developer messages at the front become one turn of instructions. If the rest is too long, the oldest
/// turns are left out, up to a user's; the instructions and the last message stay.
pub(super) fn render(vocabulary: &Vocabulary, messages: &[Message], answer_tokens: usize) -> Result<Prompt, Error> {
    let turns = messages.iter().map(turn).collect::<Result<Vec<_>, _>>()?;
    let first = turns.iter().position(|turn| turn.role != "system").unwrap_or(turns.len());
    let (instructions, conversation) = turns.split_at(first);
    let room = CONTEXT_TOKENS.saturating_sub(answer_tokens);

    let opening = open(vocabulary, "assistant", "")?;
    let room = room.saturating_sub(opening.len());
    let mut tokens = encode(vocabulary, &joined(instructions), room)?;
    let instructions = tokens.len();
    for turn in newest(vocabulary, conversation, room - instructions)? {
        tokens.extend(turn);
    }
    tokens.extend(opening);
    Ok(Prompt { tokens, instructions })
}

/// The newest turns that fit, oldest first.
fn newest(vocabulary: &Vocabulary, conversation: &[Turn], mut room: usize) -> Result<Vec<Vec<u32>>, Error> {
    let mut kept: Vec<(&Turn, Vec<u32>)> = Vec::new();
    for turn in conversation.iter().rev() {
        match encode(vocabulary, turn, room) {
            Ok(tokens) => {
                room -= tokens.len();
                kept.push((turn, tokens));
            }
            Err(Error::ContextLengthExceeded(_)) if !kept.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    if kept.len() < conversation.len() {
        // An answer without its question would only confuse.
        while kept.len() > 1 && kept.last().is_some_and(|(turn, _)| turn.role != "user") {
            kept.pop();
        }
    }
    Ok(kept.into_iter().rev().map(|(_, tokens)| tokens).collect())
}

/// The tokens of one turn, if they fit.
fn encode(vocabulary: &Vocabulary, turn: &Turn, room: usize) -> Result<Vec<u32>, Error> {
    let too_long = || Error::ContextLengthExceeded(format!("the embedded model takes {CONTEXT_TOKENS} tokens at most"));
    if vocabulary.fewest_tokens(&turn.text) > room {
        return Err(too_long());
    }
    let mut tokens = open(vocabulary, turn.role, &turn.text)?;
    tokens.push(vocabulary.turn_end());
    tokens.extend(vocabulary.encode("\n")?);
    if tokens.len() > room { Err(too_long()) } else { Ok(tokens) }
}

/// The tokens of a turn that goes on. Control tokens are added as such, so that no text can contain them.
fn open(vocabulary: &Vocabulary, role: &str, text: &str) -> Result<Vec<u32>, Error> {
    let mut tokens = vec![vocabulary.turn_start()];
    tokens.extend(vocabulary.encode(&format!("{role}\n{text}"))?);
    Ok(tokens)
}

fn joined(instructions: &[Turn]) -> Turn {
    let texts: Vec<&str> = instructions.iter().map(|turn| turn.text.as_str()).filter(|text| !text.is_empty()).collect();
    let text = if texts.is_empty() { DEFAULT_INSTRUCTIONS.to_owned() } else { texts.join("\n\n") };
    Turn { role: "system", text }
}

/// What a message says. The model knows no tools, so that a tool's result is something that the user says, and the
/// call before it is left out.
fn turn(message: &Message) -> Result<Turn, Error> {
    let text = text(message)?;
    let (role, text) = match Role::try_from(message.role) {
        Ok(Role::System | Role::Developer) => ("system", text),
        Ok(Role::User) => ("user", text),
        Ok(Role::Assistant) => ("assistant", text),
        Ok(Role::Tool) => ("user", format!("Result of a tool:\n{text}")),
        Ok(Role::Unspecified) | Err(_) => {
            return Err(Error::InvalidRequest("a message has no role that is known".to_owned()));
        }
    };
    Ok(Turn { role, text })
}

fn text(message: &Message) -> Result<String, Error> {
    let texts = message.parts.iter().filter_map(|part| part.kind.as_ref()).filter_map(|kind| match kind {
        Kind::Text(text) | Kind::Refusal(text) => Some(Ok(text.as_str())),
        Kind::Reasoning(_) => None,
        // One of an earlier turn: whoever is shown a new one is another model.
        Kind::Image(_) => Some(Ok(NOTE)),
        Kind::Audio(_) | Kind::File(_) => {
            Some(Err(Error::InvalidRequest("the embedded model takes only text".to_owned())))
        }
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

#[cfg(test)]
mod tests;
