//! What a message says: one text, or parts.

use std::fmt;

use proto::session::v1::{Audio, File, Image, Part, part::Kind};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::object::Object;
use crate::error::ApiError;

/// A message's content as it is written.
pub(super) enum WireContent {
    Text(String),
    Parts(Vec<Object<WirePart>>),
}

/// One part as it is written; which fields must be there depends on its type.
#[derive(Deserialize)]
pub(super) struct WirePart {
    r#type: Option<String>,
    text: Option<String>,
    input_text: Option<String>,
    refusal: Option<String>,
    image_url: Option<WireImage>,
    input_audio: Option<Object<WireAudio>>,
    file: Option<Object<WireFile>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a URL, or an object with `url`")]
#[schemars(rename = "ChatImage")]
pub(super) enum WireImage {
    Url(String),
    Object { url: String, detail: Option<String> },
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatAudio")]
pub(super) struct WireAudio {
    data: String,
    format: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatFile")]
pub(super) struct WireFile {
    filename: Option<String>,
    file_data: Option<String>,
    file_id: Option<String>,
}

impl WireContent {
    /// The parts that say something. `path` is where the content stands in the request.
    pub(super) fn into_parts(self, path: &str) -> Result<Vec<Part>, ApiError> {
        let kinds = match self {
            Self::Text(text) => vec![Kind::Text(text)],
            Self::Parts(parts) => {
                let named = (0..).zip(parts).map(|(index, Object(part)): (usize, _)| part.into_kind(path, index));
                named.collect::<Result<_, _>>()?
            }
        };
        let says_something = |kind: &Kind| !matches!(kind, Kind::Text(text) if text.trim().is_empty());
        Ok(kinds.into_iter().filter(says_something).map(|kind| Part { kind: Some(kind) }).collect())
    }
}

/// What a part may be.
const TYPES: [&str; 6] = ["text", "input_text", "refusal", "image_url", "input_audio", "file"];

impl WirePart {
    fn is_known(&self) -> bool {
        self.input_text.is_some() || self.r#type.as_deref().is_some_and(|name| TYPES.contains(&name))
    }

    fn into_kind(self, path: &str, index: usize) -> Result<Kind, ApiError> {
        // Upstream takes any part with this field.
        if let Some(text) = self.input_text {
            return Ok(Kind::Text(text));
        }
        let field = |name: &str| format!("{path}[{index}].{name}");
        let missing = |name: &'static str| move || ApiError::invalid_value(field(name), "is missing");
        match self.r#type.as_deref() {
            Some("text" | "input_text") => self.text.map(Kind::Text).ok_or_else(missing("text")),
            Some("refusal") => self.refusal.map(Kind::Refusal).ok_or_else(missing("refusal")),
            Some("image_url") => {
                let image = self.image_url.ok_or_else(missing("image_url"))?;
                Ok(Kind::Image(Image { path: field("image_url"), ..image.into() }))
            }
            Some("input_audio") => {
                let Object(audio) = self.input_audio.ok_or_else(missing("input_audio"))?;
                if !matches!(audio.format.as_str(), "wav" | "mp3") {
                    let reason = format!("`{}` is none of wav, mp3", audio.format);
                    return Err(ApiError::invalid_value(field("input_audio.format"), &reason));
                }
                Ok(Kind::Audio(Audio { data: audio.data, format: audio.format }))
            }
            Some("file") => {
                let Object(file) = self.file.ok_or_else(missing("file"))?;
                let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
                if !is_given(&file.file_data) && !is_given(&file.file_id) {
                    return Err(ApiError::invalid_value(field("file"), "needs `file_data` or `file_id`"));
                }
                Ok(Kind::File(File {
                    filename: file.filename.unwrap_or_default(),
                    data: file.file_data.unwrap_or_default(),
                    file_id: file.file_id.unwrap_or_default(),
                }))
            }
            Some(other) => Err(ApiError::invalid_value(
                format!("{path}[{index}].type"),
                &format!("`{other}` is none of text, image_url, input_audio, file, refusal"),
            )),
            None => Err(ApiError::invalid_value(format!("{path}[{index}].type"), "is missing")),
        }
    }
}

impl From<WireImage> for Image {
    fn from(image: WireImage) -> Self {
        match image {
            WireImage::Url(url) => Self { url, ..Self::default() },
            WireImage::Object { url, detail } => Self { url, detail: detail.unwrap_or_default(), ..Self::default() },
        }
    }
}

/// By hand, since an untagged enum would not say which part is at fault.
impl<'de> Deserialize<'de> for WireContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = WireContent;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<WireContent, E> {
                Ok(WireContent::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<WireContent, E> {
                Ok(WireContent::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<WireContent, A::Error> {
                let mut list: Vec<Object<WirePart>> = Vec::new();
                while let Some(part) = parts.next_element::<Object<WirePart>>()? {
                    let is_known = part.0.is_known();
                    list.push(part);
                    if !is_known {
                        // The first one at fault is what the error is about, so that the rest takes no memory.
                        while parts.next_element::<IgnoredAny>()?.is_some() {}
                        break;
                    }
                }
                Ok(WireContent::Parts(list))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}
