//! What a message says, in the shapes of Chat Completions.

use proto::session::v1::{Audio, File, Image, Part, part::Kind};
use schemars::JsonSchema;
use serde::Serialize;

/// One text as it is, anything else in parts.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SessionContent")]
pub(super) enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "SessionContentPart")]
pub(super) enum ContentPart {
    Text { text: String },
    ImageUrl { image_url: WireImage },
    InputAudio { input_audio: WireAudio },
    File { file: WireFile },
    Refusal { refusal: String },
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionImage")]
pub(super) struct WireImage {
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionAudio")]
pub(super) struct WireAudio {
    data: String,
    format: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionFile")]
pub(super) struct WireFile {
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    file_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    file_id: String,
}

impl Content {
    /// `None` when nothing is said.
    pub(super) fn of(parts: Vec<Part>) -> Option<Self> {
        let mut parts: Vec<ContentPart> =
            parts.into_iter().filter_map(|part| part.kind).filter_map(ContentPart::of).collect();
        match parts.as_mut_slice() {
            [] => None,
            [ContentPart::Text { text }] => Some(Self::Text(std::mem::take(text))),
            [_, ..] => Some(Self::Parts(parts)),
        }
    }
}

impl ContentPart {
    /// `None` for what was not said but thought.
    fn of(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Text(text) => Self::Text { text },
            Kind::Image(Image { url, detail, path: _ }) => Self::ImageUrl { image_url: WireImage { url, detail } },
            Kind::Audio(Audio { data, format }) => Self::InputAudio { input_audio: WireAudio { data, format } },
            Kind::File(File { filename, data, file_id }) => {
                Self::File { file: WireFile { filename, file_data: data, file_id } }
            }
            Kind::Refusal(refusal) => Self::Refusal { refusal },
            Kind::Reasoning(_) => return None,
        })
    }
}
