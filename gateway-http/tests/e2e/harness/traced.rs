//! Spans as traces tell them, whether they come from a collector or from Jaeger.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, any_value},
    trace::v1::Span,
};
use serde_json::{Value, json};

use super::CollectedSpan;

/// One span.
#[derive(Clone, Debug)]
pub(crate) struct TracedSpan {
    pub(crate) service: String,
    pub(crate) name: String,
    /// `internal`, `server` or `client`.
    pub(crate) kind: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent_id: String,
    pub(crate) is_error: bool,
    pub(crate) attributes: BTreeMap<String, Value>,
    /// The names of what happened in it.
    pub(crate) events: Vec<String>,
    /// When it began and how long it took, in microseconds.
    pub(crate) began: u64,
    pub(crate) took: u64,
}

impl TracedSpan {
    /// An attribute; null when there is none.
    pub(crate) fn attribute(&self, key: &str) -> &Value {
        self.attributes.get(key).unwrap_or(&Value::Null)
    }

    /// A span of a trace as Jaeger's API tells it: `/api/traces/{id}`.
    pub(crate) fn all_of_jaeger(answer: &Value) -> Vec<Self> {
        let traces = answer["data"].as_array().cloned().unwrap_or_default();
        traces.iter().flat_map(|trace| of_jaegers_trace(trace, &trace["processes"])).collect()
    }

    /// The same trace as Jaeger's API would tell it.
    pub(crate) fn to_jaeger(trace_id: &str, spans: &[Self]) -> Value {
        let spans: Vec<Value> = spans.iter().map(|span| span.as_jaegers(trace_id)).collect();
        let processes: BTreeMap<&str, Value> = spans
            .iter()
            .filter_map(|span| span["processID"].as_str())
            .map(|service| (service, json!({"serviceName": service, "tags": []})))
            .collect();
        json!({"data": [{"traceID": trace_id, "spans": spans, "processes": processes}], "errors": null})
    }

    fn as_jaegers(&self, trace_id: &str) -> Value {
        let tag = |key: &str, value: &Value| {
            let (kind, value) = match value {
                Value::Bool(_) => ("bool", value.clone()),
                Value::Number(number) if number.is_f64() => ("float64", value.clone()),
                Value::Number(_) => ("int64", value.clone()),
                Value::String(_) => ("string", value.clone()),
                // Lists are texts there.
                Value::Null | Value::Array(_) | Value::Object(_) => ("string", value.to_string().into()),
            };
            json!({"key": key, "type": kind, "value": value})
        };
        let mut tags: Vec<Value> = self.attributes.iter().map(|(key, value)| tag(key, value)).collect();
        tags.push(tag("span.kind", &json!(self.kind)));
        if self.is_error {
            tags.push(tag("error", &json!(true)));
        }
        let logs: Vec<Value> = self.events.iter().map(|name| json!({"fields": [tag("event", &json!(name))]})).collect();
        let parent = json!({"refType": "CHILD_OF", "traceID": trace_id, "spanID": self.parent_id});
        let references = if self.parent_id.is_empty() { json!([]) } else { json!([parent]) };
        json!({
            "traceID": trace_id, "spanID": self.id, "operationName": self.name, "references": references, "tags": tags,
            "logs": logs, "startTime": self.began, "duration": self.took, "processID": self.service,
        })
    }
}

fn of_jaegers_trace(trace: &Value, processes: &Value) -> Vec<TracedSpan> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = |tags: &Value| -> BTreeMap<String, Value> {
        let tags = tags.as_array().cloned().unwrap_or_default();
        tags.iter().map(|tag| (text(&tag["key"]), tag["value"].clone())).collect()
    };
    let spans = trace["spans"].as_array().cloned().unwrap_or_default();
    let span = |span: &Value| {
        let mut attributes = tags(&span["tags"]);
        let kind = attributes.remove("span.kind").map_or_else(|| "internal".to_owned(), |kind| text(&kind));
        let events = span["logs"].as_array().cloned().unwrap_or_default();
        TracedSpan {
            service: text(&processes[text(&span["processID"])]["serviceName"]),
            name: text(&span["operationName"]),
            kind,
            id: text(&span["spanID"]),
            parent_id: text(&span["references"][0]["spanID"]),
            is_error: attributes.remove("error").is_some_and(|error| error == true || error == "true"),
            attributes,
            events: events.iter().filter_map(|log| Some(text(tags(&log["fields"]).get("event")?))).collect(),
            began: span["startTime"].as_u64().unwrap_or_default(),
            took: span["duration"].as_u64().unwrap_or_default(),
        }
    };
    spans.iter().map(span).collect()
}

impl From<&CollectedSpan> for TracedSpan {
    fn from(collected: &CollectedSpan) -> Self {
        let CollectedSpan { service, span } = collected;
        let Span { name, kind, attributes, events, start_time_unix_nano, end_time_unix_nano, .. } = span;
        let kind = match kind {
            2 => "server",
            3 => "client",
            _ => "internal",
        };
        let value = |value: &Option<AnyValue>| value.as_ref().and_then(|value| value.value.clone()).map(plain);
        Self {
            service: service.clone(),
            name: name.clone(),
            kind: kind.to_owned(),
            id: collected.id(),
            parent_id: collected.parent_id(),
            // `STATUS_CODE_ERROR`.
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            attributes: attributes
                .iter()
                .map(|attribute| (attribute.key.clone(), value(&attribute.value).unwrap_or_default()))
                .collect(),
            events: events.iter().map(|event| event.name.clone()).collect(),
            began: start_time_unix_nano / 1_000,
            took: end_time_unix_nano.saturating_sub(*start_time_unix_nano) / 1_000,
        }
    }
}

fn plain(value: any_value::Value) -> Value {
    match value {
        any_value::Value::StringValue(text) => text.into(),
        any_value::Value::BoolValue(value) => value.into(),
        any_value::Value::IntValue(number) => number.into(),
        any_value::Value::DoubleValue(number) => number.into(),
        any_value::Value::ArrayValue(list) => {
            list.values.into_iter().filter_map(|value| value.value).map(plain).collect()
        }
        other @ (any_value::Value::KvlistValue(_)
        | any_value::Value::BytesValue(_)
        | any_value::Value::StringValueStrindex(_)) => format!("{other:?}").into(),
    }
}
