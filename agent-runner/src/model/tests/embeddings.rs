//! Vectors over a real connection.

use serde_json::json;

use super::{
    stub::{Reply, Stub},
    wire::{PATIENCE, remote},
};
use crate::model::{Api, ApiKey, Model, Remote, Texts};

fn texts(count: usize) -> Texts {
    Texts { model: "m".to_owned(), texts: vec!["x".to_owned(); count], ..Texts::default() }
}

#[tokio::test]
async fn more_texts_than_a_request_may_have_are_several_requests() {
    let answer = |count: usize| {
        let vectors: Vec<_> = (0..count).map(|place| json!({"values": [place]})).collect();
        Reply::whole(&json!({"embeddings": vectors, "usageMetadata": {"promptTokenCount": count}}).to_string())
    };
    let stub = Stub::start([answer(100), answer(28)]).await;
    let embedded = remote(&stub, Api::GoogleGenerativeAi, PATIENCE).embed(&texts(128)).await;
    let embedded = embedded.expect("are vectors");
    assert_eq!((embedded.vectors.len(), embedded.usage.prompt_tokens), (128, 128));
    assert_eq!((embedded.vectors[99][0], embedded.vectors[100][0]), (99.0, 0.0));
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn a_provider_that_cannot_says_so_and_shows_no_key() {
    let stub = Stub::start([Reply::refusal(400, "", r#"{"error":{"message":"bad key sk-0123456789"}}"#)]).await;
    let embed = async |api: Api| {
        let api_key = Some(ApiKey::new("sk-0123456789").expect("a header"));
        let remote = Remote { api_key, ..remote(&stub, api, PATIENCE) };
        remote.embed(&texts(1)).await.expect_err("is refused").to_string()
    };
    assert!(embed(Api::AnthropicMessages).await.contains("it makes no embeddings"));
    assert_eq!(stub.asked(), []);
    let refusal = "the model provider refused the request: bad key ***";
    assert_eq!(embed(Api::OpenaiCompletions).await, refusal);
}
