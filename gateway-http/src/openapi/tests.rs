//! The document and the router say the same, and the document holds together.

use std::collections::BTreeSet;

use super::*;
use crate::router::routes;

#[test]
fn the_document_has_the_paths_that_the_router_has() {
    let documented: BTreeSet<String> = operations().iter().map(|operation| operation.path.to_owned()).collect();
    // What the router writes `{*id}` takes in slashes that were not URL-encoded.
    let routed: BTreeSet<String> = routes().iter().map(|(path, _)| path.replace("{*", "{")).collect();
    assert_eq!(documented, routed);
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
    let document = document::document(&operations());
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    for reference in &references {
        let pointer = reference.strip_prefix('#').expect("a place in the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"].as_object().expect("schemas").keys() {
        assert!(references.contains(&format!("#/components/schemas/{name}")), "{name} is referred to by nothing");
        // The generator tells two types of one name apart by a number.
        assert!(!name.ends_with(|last: char| last.is_ascii_digit()), "{name}: two types have this name");
    }
}

#[test]
fn an_operation_has_its_parameters_its_body_and_its_answers() {
    let document = document::document(&operations());
    let chat = &document["paths"]["/v1/chat/completions"]["post"];
    assert_eq!(chat["operationId"], "post_v1_chat_completions");
    assert_eq!(chat["security"][0]["bearer"], serde_json::json!([]));
    let body = &chat["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/ChatCompletionRequest");
    let answer = &chat["responses"]["200"]["content"];
    assert_eq!(answer["application/json"]["schema"]["$ref"], "#/components/schemas/ChatCompletion");
    assert!(answer["text/event-stream"].is_object(), "{answer}");
    let request = &document["components"]["schemas"]["ChatCompletionRequest"];
    assert_eq!(request["required"], serde_json::json!(["messages"]));
    assert_eq!(request["properties"]["temperature"]["maximum"], 2.0);
    assert_eq!(document["paths"]["/healthz"]["get"]["security"], serde_json::json!([]));
}

fn collect_references(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                references.insert(reference.clone());
            }
            fields.values().for_each(|field| collect_references(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
