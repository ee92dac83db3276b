//! What a request says: one text, or items, which become messages.

use std::{borrow::Cow, fmt, marker::PhantomData};

use proto::session::v1::{File, Image, Message, Part, Role, ToolCall, part::Kind};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use crate::{chat::object::Object, error::ApiError};

/// A text, or a list.
pub(super) enum TextOr<T> {
    Text(String),
    List(Vec<Object<T>>),
}

/// One item as it is written; which fields must be there depends on its type.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseInputItem")]
pub(super) struct WireItem {
    r#type: Option<String>,
    role: Option<String>,
    content: Option<TextOr<WirePart>>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    output: Option<TextOr<WirePart>>,
}

/// One part of what an item says, likewise.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseInputPart")]
pub(super) struct WirePart {
    r#type: Option<String>,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
    detail: Option<String>,
    filename: Option<String>,
    file_data: Option<String>,
    file_id: Option<String>,
}

impl TextOr<WireItem> {
    /// The messages that the items are; calls of tools belong to what was said before them.
    pub(super) fn into_messages(self) -> Result<Vec<Message>, ApiError> {
        let items = match self {
            Self::Text(text) => return Ok(vec![said(Role::User, vec![Kind::Text(text)])]),
            Self::List(items) => items,
        };
        let mut messages: Vec<Message> = Vec::with_capacity(items.len());
        for (index, Object(item)) in items.into_iter().enumerate() {
            match item.check(&format!("input[{index}]"))? {
                None => {}
                Some(Item::Message(message)) => messages.push(message),
                Some(Item::Call(call)) => match messages.last_mut() {
                    Some(last) if last.role() == Role::Assistant => last.tool_calls.push(call),
                    Some(_) | None => {
                        messages.push(Message { tool_calls: vec![call], ..said(Role::Assistant, Vec::new()) });
                    }
                },
            }
        }
        Ok(messages)
    }
}

enum Item {
    Message(Message),
    Call(ToolCall),
}

impl WireItem {
    /// `path` is where the item stands. Thoughts are left out: they are kept with the session, if at all.
    fn check(self, path: &str) -> Result<Option<Item>, ApiError> {
        let invalid = |field: &str, reason: &str| Err(ApiError::invalid_value(format!("{path}.{field}"), reason));
        let needed = |field: &'static str, value: Option<String>| {
            let value = value.filter(|value| !value.is_empty());
            value.ok_or_else(|| ApiError::invalid_value(format!("{path}.{field}"), "is missing"))
        };
        match self.r#type.as_deref() {
            None | Some("message") => {
                let role = match self.role.as_deref() {
                    Some("system") => Role::System,
                    Some("developer") => Role::Developer,
                    Some("user") => Role::User,
                    Some("assistant") => Role::Assistant,
                    Some(other) => {
                        return invalid("role", &format!("`{other}` is none of system, developer, user, assistant"));
                    }
                    None => return invalid("role", "is missing"),
                };
                let Some(content) = self.content else { return invalid("content", "is missing") };
                let parts = content.into_kinds(&format!("{path}.content"))?;
                if matches!(role, Role::System | Role::Developer)
                    && !parts.iter().all(|part| matches!(part, Kind::Text(_)))
                {
                    return invalid("content", "instructions are text only");
                }
                Ok(Some(Item::Message(said(role, parts))))
            }
            Some("function_call") => Ok(Some(Item::Call(ToolCall {
                id: needed("call_id", self.call_id)?,
                name: needed("name", self.name)?,
                arguments: self.arguments.unwrap_or_default(),
                ..ToolCall::default()
            }))),
            Some("function_call_output") => {
                let tool_call_id = needed("call_id", self.call_id)?;
                let Some(output) = self.output else { return invalid("output", "is missing") };
                let parts = output.into_kinds(&format!("{path}.output"))?;
                Ok(Some(Item::Message(Message { tool_call_id, ..said(Role::Tool, parts) })))
            }
            Some("reasoning") => Ok(None),
            Some(other) => invalid(
                "type",
                &format!("`{other}` is none of message, function_call, function_call_output, reasoning"),
            ),
        }
    }
}

impl TextOr<WirePart> {
    fn into_kinds(self, path: &str) -> Result<Vec<Kind>, ApiError> {
        match self {
            Self::Text(text) => Ok(vec![Kind::Text(text)]),
            Self::List(parts) => {
                let checked = parts.into_iter().enumerate();
                checked.map(|(index, Object(part))| part.check(&format!("{path}[{index}]"))).collect()
            }
        }
    }
}

impl WirePart {
    /// `path` is where the part stands.
    fn check(self, path: &str) -> Result<Kind, ApiError> {
        let field = |name: &str| format!("{path}.{name}");
        let missing = |name: &'static str| move || ApiError::invalid_value(field(name), "is missing");
        match self.r#type.as_deref() {
            Some("input_text" | "output_text" | "text") => self.text.map(Kind::Text).ok_or_else(missing("text")),
            Some("refusal") => self.refusal.map(Kind::Refusal).ok_or_else(missing("refusal")),
            Some("input_image") => Ok(Kind::Image(Image {
                url: self.image_url.ok_or_else(missing("image_url"))?,
                detail: self.detail.unwrap_or_default(),
                path: field("image_url"),
            })),
            Some("input_file") => {
                let given = |text: Option<String>| text.filter(|text| !text.is_empty());
                let (data, file_id) = (given(self.file_data), given(self.file_id));
                if data.is_none() && file_id.is_none() {
                    return Err(ApiError::invalid_value(path, "needs `file_data` or `file_id`"));
                }
                Ok(Kind::File(File {
                    filename: self.filename.unwrap_or_default(),
                    data: data.unwrap_or_default(),
                    file_id: file_id.unwrap_or_default(),
                }))
            }
            Some(other) => {
                let reason = format!("`{other}` is none of input_text, input_image, input_file, output_text, refusal");
                Err(ApiError::invalid_value(field("type"), &reason))
            }
            None => Err(ApiError::invalid_value(field("type"), "is missing")),
        }
    }
}

fn said(role: Role, parts: Vec<Kind>) -> Message {
    let says_something = |kind: &Kind| !matches!(kind, Kind::Text(text) if text.trim().is_empty());
    let parts = parts.into_iter().filter(says_something).map(|kind| Part { kind: Some(kind) }).collect();
    Message { role: role.into(), parts, ..Message::default() }
}

/// By hand, since an untagged enum would not say which item is at fault.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or an array of objects")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextOr<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(TextOr::List(list))
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}s", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": items}]})
    }
}
