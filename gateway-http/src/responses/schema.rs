//! The schemas of what is written by hand, which no derive can know.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A response as it is answered.
pub(crate) enum Answer {}

/// The data of one event of a streamed response, but for the last, which is `[DONE]`.
pub(crate) enum Event {}

impl JsonSchema for Answer {
    fn schema_name() -> Cow<'static, str> {
        "Response".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "object": {"const": "response"},
                "created_at": {"type": "integer"},
                "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
                "background": {"type": "boolean"},
                "error": {
                    "type": ["object", "null"],
                    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                    "required": ["code", "message"],
                },
                "incomplete_details": {
                    "type": ["object", "null"],
                    "properties": {"reason": {"enum": ["max_output_tokens", "content_filter"]}},
                    "required": ["reason"],
                },
                "instructions": {"type": ["string", "null"]},
                "metadata": {"type": "object"},
                "model": {"type": "string"},
                "output": {"type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "type": {"enum": ["message", "function_call"]},
                        "status": {"enum": ["in_progress", "completed", "incomplete"]},
                    },
                    "required": ["id", "type", "status"],
                }},
                "parallel_tool_calls": {"type": "boolean"},
                "previous_response_id": {"type": ["string", "null"]},
                "store": {"type": "boolean"},
                "tool_choice": {"type": ["string", "object"]},
                "tools": {"type": "array", "items": {"type": "object"}},
                "usage": {
                    "type": ["object", "null"],
                    "properties": {
                        "input_tokens": {"type": "integer"},
                        "output_tokens": {"type": "integer"},
                        "total_tokens": {"type": "integer"},
                    },
                    "required": ["input_tokens", "output_tokens", "total_tokens"],
                },
            },
            "required": [
                "id", "object", "created_at", "status", "background", "error", "incomplete_details", "instructions",
                "metadata", "model", "output", "parallel_tool_calls", "tool_choice", "tools", "usage",
            ],
        })
    }
}

impl JsonSchema for Event {
    fn schema_name() -> Cow<'static, str> {
        "ResponseEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "type": {"type": "string", "pattern": r"^(response\.[a-z_.]+|error)$"},
                "sequence_number": {"type": "integer", "minimum": 0},
            },
            "required": ["type"],
        })
    }
}
