//! The client's own labels of a request, which are put on its trace.

use std::collections::BTreeMap;

use shared::telemetry;
use tracing::Span;

use super::object::Object;
use crate::error::ApiError;

const MAX_PAIRS: usize = 16;
const MAX_KEY_CHARS: usize = 64;
const MAX_VALUE_CHARS: usize = 512;

/// Labels as they are written: an object of texts.
pub(crate) type WireMetadata = Object<BTreeMap<String, String>>;

/// A request's labels.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// Refuses more, and longer, than the API takes.
    pub(crate) fn check(Object(pairs): WireMetadata) -> Result<Self, ApiError> {
        let invalid = |reason: String| Err(ApiError::invalid_value("metadata", &reason));
        if pairs.len() > MAX_PAIRS {
            return invalid(format!("at most {MAX_PAIRS} pairs may be given"));
        }
        for (key, value) in &pairs {
            if key.chars().count() > MAX_KEY_CHARS {
                return invalid(format!("a key is longer than {MAX_KEY_CHARS} characters"));
            }
            if value.chars().count() > MAX_VALUE_CHARS {
                return invalid(format!("the value of `{key}` is longer than {MAX_VALUE_CHARS} characters"));
            }
        }
        Ok(Self(pairs))
    }

    /// Labels the span.
    pub(crate) fn record(self, span: &Span) {
        for (key, value) in self.0 {
            telemetry::label(span, format!("openai.metadata.{key}"), value);
        }
    }
}
