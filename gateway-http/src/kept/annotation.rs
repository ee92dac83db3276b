//! What a gateway notes with a kept run, so that any other can tell of it as the first would have.

use serde::{Deserialize, Serialize};

use crate::{chat::Shown, responses::ResponseAnnotation};

/// The API that a run was asked for through, and what shapes its answer there.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "api", rename_all = "lowercase")]
pub(crate) enum Annotation {
    /// `POST /v1/chat/completions`.
    Chat(ChatAnnotation),
    /// `POST /v1/responses`.
    Response(ResponseAnnotation),
}

/// What shapes the chunks of a chat completion.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ChatAnnotation {
    /// As sent.
    pub(crate) model: String,
    pub(crate) include_usage: bool,
    #[serde(default)]
    pub(crate) shown: Shown,
}

impl Annotation {
    /// Reads what another gateway has noted; `None` when it was a newer one, or none.
    pub(crate) fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// As it is noted.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and booleans always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let chat = ChatAnnotation { model: "clawdbot".to_owned(), include_usage: true, shown: Shown::default() };
        let json = Annotation::Chat(chat).to_json();
        assert_eq!(
            json,
            r#"{"api":"chat","model":"clawdbot","include_usage":true,"shown":{"tools":false,"reasoning":false}}"#
        );
        assert_eq!(Annotation::read(&json).map(|annotation| annotation.to_json()), Some(json));
    }

    #[test]
    fn what_nobody_here_knows_is_not_read() {
        for json in ["", "{}", r#"{"api":"telepathy"}"#, r#"{"api":"chat"}"#] {
            assert!(Annotation::read(json).is_none(), "{json}");
        }
    }
}
