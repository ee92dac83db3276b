//! The schemas of what is read by hand, which no derive can know.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    content::{WireAudio, WireContent, WireFile, WireImage, WirePart},
    logprobs::Logprobs,
    object::Object,
};
use crate::{error::ErrorBody, wire::WireUsage};

/// The data of one event of a streamed answer, but for the last, which is `[DONE]`.
pub(crate) enum Event {}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl JsonSchema for WireContent {
    fn schema_name() -> Cow<'static, str> {
        "ChatContent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<Object<WirePart>>();
        json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": part}]})
    }
}

impl JsonSchema for WirePart {
    fn schema_name() -> Cow<'static, str> {
        "ChatContentPart".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let image = generator.subschema_for::<WireImage>();
        let audio = generator.subschema_for::<WireAudio>();
        let file = generator.subschema_for::<WireFile>();
        let text = json_schema!({"type": "string"});
        let part = |kinds: &[&str], field: &str, schema: &Schema| {
            json_schema!({
                "type": "object",
                "properties": {"type": {"enum": kinds}, (field): schema},
                "required": ["type", field],
            })
        };
        json_schema!({"anyOf": [
            part(&["text", "input_text"], "text", &text),
            part(&["refusal"], "refusal", &text),
            part(&["image_url"], "image_url", &image),
            part(&["input_audio"], "input_audio", &audio),
            part(&["file"], "file", &file),
            {"type": "object", "properties": {"input_text": text}, "required": ["input_text"]},
        ]})
    }
}

impl JsonSchema for Event {
    fn schema_name() -> Cow<'static, str> {
        "ChatCompletionEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let usage = generator.subschema_for::<WireUsage>();
        let error = generator.subschema_for::<ErrorBody>();
        let logprobs = generator.subschema_for::<Logprobs>();
        let tool_call = json_schema!({
            "type": "object",
            "properties": {
                "index": {"type": "integer"},
                "id": {"type": "string"},
                "type": {"const": "function"},
                "function": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
                },
            },
            "required": ["index", "function"],
        });
        let choice = json_schema!({
            "type": "object",
            "properties": {
                "index": {"const": 0},
                "delta": {"type": "object", "properties": {
                    "role": {"const": "assistant"},
                    "content": {"type": ["string", "null"]},
                    "refusal": {"type": ["string", "null"]},
                    "reasoning_content": {"type": "string"},
                    "tool_calls": {"type": "array", "items": tool_call},
                }},
                "logprobs": {"anyOf": [logprobs, {"type": "null"}]},
                "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter", null]},
            },
            "required": ["index", "delta", "logprobs", "finish_reason"],
        });
        let chunk = json_schema!({
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "object": {"const": "chat.completion.chunk"},
                "created": {"type": "integer"},
                "model": {"type": "string"},
                "system_fingerprint": {"type": "string"},
                "choices": {"type": "array", "items": choice, "maxItems": 1},
                "clawdbot": {"type": "object", "properties": {"tool": {"type": "object"}}, "required": ["tool"]},
                "usage": {"anyOf": [usage, {"type": "null"}]},
            },
            "required": ["id", "object", "created", "model", "system_fingerprint", "choices"],
        });
        json_schema!({"anyOf": [chunk, error]})
    }
}
