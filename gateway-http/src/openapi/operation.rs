//! One thing that can be asked: a row of the table.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::parameters::Parameter;

/// Puts a type's schema where it belongs, and says where that is.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A method of a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Whether it is answered without a secret.
    pub(super) is_open: bool,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<SchemaOf>,
    /// The first is the good one.
    pub(super) answers: Vec<Answer>,
    /// The events of its stream, where it can be one.
    pub(super) event: Option<SchemaOf>,
    /// The headers of a good answer that not every answer has.
    pub(super) headers: &'static [&'static str],
    /// The statuses of the errors that it may end with.
    pub(super) failures: Vec<u16>,
}

/// An answer that is no error.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// `None` for one that is a stream only.
    pub(super) schema: Option<SchemaOf>,
}

impl Operation {
    pub(super) fn get(path: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, summary)
    }

    pub(super) fn post(path: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, summary)
    }

    pub(super) fn delete(path: &'static str, summary: &'static str) -> Self {
        Self::new("delete", path, summary)
    }

    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            is_open: false,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            event: None,
            headers: &[],
            failures: vec![401, 403, 429, 431],
        }
    }

    /// Needs no secret. Pages of other sites may be refused, and heads that are too large.
    pub(super) fn open(mut self) -> Self {
        self.is_open = true;
        self.failures = vec![403, 431];
        self
    }

    /// Has these parameters.
    pub(super) fn with(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend_from_slice(parameters);
        self
    }

    /// Has a JSON body, which must be there.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Answers well with this JSON.
    pub(super) fn answers<T: JsonSchema>(self, description: &'static str) -> Self {
        self.answers_also::<T>(200, description)
    }

    /// Answers with this JSON, which is not an error's, under another status too.
    pub(super) fn answers_also<T: JsonSchema>(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push(Answer { status, description, schema: Some(SchemaGenerator::subschema_for::<T>) });
        self
    }

    /// Can answer with a stream of these events.
    pub(super) fn streams<T: JsonSchema>(mut self) -> Self {
        self.event = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Answers well with a stream of these events, and with nothing else.
    pub(super) fn only_streams<T: JsonSchema>(mut self, description: &'static str) -> Self {
        self.answers.push(Answer { status: 200, description, schema: None });
        self.streams::<T>()
    }

    /// Has these headers in its good answer.
    pub(super) fn says(mut self, headers: &'static [&'static str]) -> Self {
        self.headers = headers;
        self
    }

    /// May end with errors of these statuses.
    pub(super) fn fails(mut self, statuses: &[u16]) -> Self {
        self.failures.extend_from_slice(statuses);
        self
    }
}
