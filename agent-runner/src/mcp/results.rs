//! What the model is told of a tool's result.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use crate::tool::Error;

/// How much of one resource's text is passed on.
const MAX_RESOURCE_BYTES: usize = 64 * 1024;
const UNKNOWN: &str = "[content of a kind that cannot be shown]";

/// The texts of a result, notes for what is no text, or else its structured content.
pub(super) fn text(result: CallToolResult) -> Result<String, Error> {
    let mut texts: Vec<String> = result.content.into_iter().map(block).collect();
    if texts.iter().all(String::is_empty)
        && let Some(structured) = result.structured_content
    {
        texts = vec![structured.to_string()];
    }
    let text = texts.join("\n");
    match result.is_error {
        Some(true) if text.is_empty() => Err(Error("the tool failed and does not say why".to_owned())),
        Some(true) => Err(Error(text)),
        Some(false) | None => Ok(text),
    }
}

fn block(block: ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => note("image", &image.mime_type, Some(decoded_bytes(&image.data)), None),
        ContentBlock::Audio(audio) => note("audio", &audio.mime_type, Some(decoded_bytes(&audio.data)), None),
        ContentBlock::Resource(embedded) => resource(embedded.resource),
        ContentBlock::ResourceLink(link) => {
            let mime_type = link.mime_type.as_deref().unwrap_or("unknown type");
            note("link to a resource", mime_type, link.size, Some(&link.uri))
        }
        _ => UNKNOWN.to_owned(),
    }
}

fn resource(contents: ResourceContents) -> String {
    match contents {
        ResourceContents::TextResourceContents { uri, mime_type, text, .. } => {
            let size = u64::try_from(text.len()).ok();
            let note = note("resource", mime_type.as_deref().unwrap_or("text/plain"), size, Some(&uri));
            let kept = text.floor_char_boundary(MAX_RESOURCE_BYTES);
            let rest = if kept < text.len() { "\n[the rest is left out]" } else { "" };
            format!("{note}\n{}{rest}", &text[..kept])
        }
        ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
            let mime_type = mime_type.as_deref().unwrap_or("application/octet-stream");
            note("resource", mime_type, Some(decoded_bytes(&blob)), Some(&uri))
        }
        _ => UNKNOWN.to_owned(),
    }
}

fn note(what: &str, mime_type: &str, size: Option<u64>, uri: Option<&str>) -> String {
    let place = uri.map(|uri| format!(" {uri}")).unwrap_or_default();
    let size = size.map(|size| format!(", {size} bytes")).unwrap_or_default();
    format!("[{what}{place}: {mime_type}{size}]")
}

/// How many bytes base64 text stands for.
fn decoded_bytes(base64: &str) -> u64 {
    let digits = base64.trim_end_matches('=').len();
    u64::try_from(digits * 3 / 4).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rmcp::model::Resource;
    use serde_json::json;

    use super::*;

    fn check(content: Vec<ContentBlock>, expected: &str) {
        assert_eq!(text(CallToolResult::success(content)).expect("no error"), expected);
    }

    #[test]
    fn texts_are_joined_and_other_content_is_noted() {
        check(vec![ContentBlock::text("one"), ContentBlock::text("two")], "one\ntwo");
        check(vec![ContentBlock::image("aGVsbG8=", "image/png")], "[image: image/png, 5 bytes]");
        check(vec![ContentBlock::embedded_text("file:///a", "hi")], "[resource file:///a: text/plain, 2 bytes]\nhi");
        let blob = ResourceContents::blob("aGVsbG8=", "file:///b");
        check(vec![ContentBlock::resource(blob)], "[resource file:///b: application/octet-stream, 5 bytes]");
        let link = ContentBlock::resource_link(Resource::new("file:///c", "c"));
        check(vec![link], "[link to a resource file:///c: unknown type]");
        check(Vec::new(), "");
    }

    #[test]
    fn a_long_resource_is_cut() {
        let long = "ü".repeat(MAX_RESOURCE_BYTES);
        let shown = text(CallToolResult::success(vec![ContentBlock::embedded_text("a:b", long)])).expect("no error");
        assert!(shown.ends_with("ü\n[the rest is left out]"), "it says so");
        assert!(shown.len() < MAX_RESOURCE_BYTES + 100);
    }

    #[test]
    fn structured_content_stands_in_for_text() {
        let mut result = CallToolResult::success(Vec::new());
        result.structured_content = Some(json!({"a": 1}));
        assert_eq!(text(result.clone()).expect("no error"), r#"{"a":1}"#);
        result.content = vec![ContentBlock::text("a is 1")];
        assert_eq!(text(result).expect("no error"), "a is 1");
    }

    #[test]
    fn what_a_server_calls_an_error_is_one() {
        let failed = |content| text(CallToolResult::error(content)).expect_err("an error").0;
        assert_eq!(failed(vec![ContentBlock::text("no such file")]), "no such file");
        assert_eq!(failed(Vec::new()), "the tool failed and does not say why");
    }
}
