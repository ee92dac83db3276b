//! What the protocols need of a conversation: its instructions, its turns, and what is in its `data:` URLs.

use proto::session::v1::{File, Message, Part, Role, part::Kind};
use serde_json::value::RawValue;

use super::Error;

/// Consecutive messages of one side.
pub(super) struct Turn<'a> {
    pub(super) speaker: Speaker,
    pub(super) messages: Vec<&'a Message>,
}

/// The sides of a conversation, as the protocols see them that know only two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Model,
}

/// Everything that instructs, as one text.
pub(super) fn instructions(messages: &[Message]) -> String {
    let instructing = messages.iter().filter(|message| speaker(message).is_none());
    let texts = instructing.flat_map(|message| &message.parts).filter_map(text).filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join("\n\n")
}

/// Everything else, in turns.
pub(super) fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages {
        let Some(speaker) = speaker(message) else { continue };
        match turns.last_mut() {
            Some(turn) if turn.speaker == speaker => turn.messages.push(message),
            Some(_) | None => turns.push(Turn { speaker, messages: vec![message] }),
        }
    }
    turns
}

fn speaker(message: &Message) -> Option<Speaker> {
    match message.role() {
        Role::System | Role::Developer => None,
        Role::Assistant => Some(Speaker::Model),
        Role::User | Role::Tool | Role::Unspecified => Some(Speaker::User),
    }
}

/// What a part says in plain words.
pub(super) fn text(part: &Part) -> Option<&str> {
    match &part.kind {
        Some(Kind::Text(text) | Kind::Refusal(text)) => Some(text),
        Some(Kind::Image(_) | Kind::Audio(_) | Kind::File(_) | Kind::Reasoning(_)) | None => None,
    }
}

/// All that a message says in plain words.
pub(super) fn plain(message: &Message) -> String {
    message.parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

/// The media type of a `data:` URL and its content in base64; `None` for other URLs.
pub(super) fn data_url(url: &str) -> Result<Option<(&str, &str)>, Error> {
    let is_data = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if !is_data {
        return Ok(None);
    }
    let (head, content) = url[5..].split_once(',').unwrap_or_default();
    match head.strip_suffix(";base64") {
        Some(kind) => Ok(Some((kind.split(';').next().unwrap_or_default(), content))),
        None => Err(Error::InvalidRequest("a `data:` URL is not in base64".to_owned())),
    }
}

/// The same of a document.
pub(super) fn file_data(file: &File) -> Result<(&str, &str), Error> {
    let unknown = || Error::InvalidRequest("the model's provider takes documents only as `data:` URLs".to_owned());
    data_url(&file.data)?.ok_or_else(unknown)
}

/// Says that a protocol has no way to show a model something.
pub(super) fn cannot_take(what: &str) -> Error {
    Error::InvalidRequest(format!("the model's provider takes no {what}"))
}

/// JSON text as it is; `None` when it is empty or no JSON, which the gateway has refused before.
pub(super) fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// The schema of a tool's parameters; one that takes nothing where there is none.
pub(super) fn parameters(schema: &str) -> &RawValue {
    raw(schema).unwrap_or_else(|| raw(r#"{"type":"object","properties":{}}"#).expect("it is valid JSON"))
}

/// A call's arguments as a JSON object, which they are not when a model made them up.
pub(super) fn arguments(text: &str) -> Box<RawValue> {
    let empty = || RawValue::from_string("{}".to_owned()).expect("it is valid JSON");
    match raw(text) {
        Some(value) if value.get().trim_start().starts_with('{') => value.to_owned(),
        Some(_) | None => empty(),
    }
}

/// Whether a model is one of OpenAI's that think. They refuse what sets how words are chosen, and others refuse to be asked
/// for their thoughts.
pub(super) fn is_openai_thinker(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let numbered = name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    numbered || (name.starts_with("gpt-5") && !name.starts_with("gpt-5-chat"))
}

/// How many tokens a model may think with, by the effort that is asked for; at least 1024 for every provider.
pub(super) fn thinking_budget(effort: &str) -> u32 {
    match effort {
        "minimal" => 1024,
        "low" => 2048,
        "high" | "xhigh" | "max" => 16_384,
        _ => 8192,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_is_taken_apart() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            assert_eq!(data_url(url).expect("base64"), expected, "{url}");
        };
        check("data:image/png;base64,QUJD", Some(("image/png", "QUJD")));
        check("DATA:text/plain;charset=utf-8;base64,QQ==", Some(("text/plain", "QQ==")));
        check("https://example.com/a.png", None);
        check("dät", None);
        assert!(data_url("data:,hello").is_err());
    }

    #[test]
    fn models_that_think_are_known_by_their_names() {
        let check = |model: &str, expected: bool| assert_eq!(is_openai_thinker(model), expected, "{model}");
        check("o3", true);
        check("openai/o4-mini", true);
        check("gpt-5.1-codex", true);
        check("gpt-5-chat-latest", false);
        check("gpt-4o", false);
        check("olmo", false);
    }

    #[test]
    fn more_effort_is_never_less_thought() {
        let budgets = ["minimal", "low", "medium", "high", "xhigh", "max"].map(thinking_budget);
        assert!(budgets.is_sorted(), "{budgets:?}");
    }

    #[test]
    fn arguments_are_always_an_object() {
        let check = |text: &str, expected: &str| assert_eq!(arguments(text).get(), expected, "{text}");
        check(r#"{"b":1,"a":2}"#, r#"{"b":1,"a":2}"#);
        check("", "{}");
        check("7", "{}");
        check(r#"{"a""#, "{}");
    }
}
