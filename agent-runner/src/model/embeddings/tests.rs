use super::*;
use crate::model::base_url;

fn texts(texts: &[&str], dimensions: Option<u32>) -> Texts {
    let texts = texts.iter().map(|&text| text.to_owned()).collect();
    Texts { model: "m/1".to_owned(), texts, dimensions, ..Texts::default() }
}

#[test]
fn each_protocol_is_asked_in_its_own_way() {
    let check = |api: Api, dimensions: Option<u32>, url: &str, body: Value| {
        let protocol = Protocol::of(api).expect("makes embeddings");
        let base = base_url("https://example.com/v1/").expect("a base URL");
        assert_eq!(protocol.url(&base, "m/1").as_str(), url);
        let texts = texts(&["a", "b"], dimensions);
        let asked: Value = serde_json::from_slice(&protocol.body(&texts, &texts.texts)).expect("is JSON");
        assert_eq!(asked, body);
    };
    let openai = "https://example.com/v1/embeddings";
    check(Api::OpenaiCompletions, None, openai, json!({"model": "m/1", "input": ["a", "b"]}));
    check(Api::OpenaiResponses, Some(3), openai, json!({"model": "m/1", "input": ["a", "b"], "dimensions": 3}));
    let google = "https://example.com/v1/models/m%2F1:batchEmbedContents";
    let request =
        |text: &str| json!({"model": "models/m/1", "content": {"parts": [{"text": text}]}, "outputDimensionality": 3});
    check(Api::GoogleGenerativeAi, Some(3), google, json!({"requests": [request("a"), request("b")]}));
    assert_eq!(Protocol::of(Api::AnthropicMessages), None);
}

#[test]
fn an_answer_has_one_vector_for_each_text() {
    let check = |protocol: Protocol, answer: Value, expected: Result<(&[&[f32]], u64), &str>| {
        let read = protocol.read(answer.to_string().as_bytes(), 2).map_err(|error| error.to_string());
        let expected = expected.map_err(|error| format!("the model provider failed: {error}"));
        let expected = expected.map(|(vectors, prompt_tokens)| Embedded {
            vectors: vectors.iter().map(|vector| vector.to_vec()).collect(),
            usage: Usage { prompt_tokens, ..Usage::default() },
        });
        assert_eq!(read, expected, "{answer}");
    };
    let openai = |vectors: &[(Value, Value)]| {
        let vector = |(index, embedding): &(Value, Value)| json!({"object": "embedding", "index": index, "embedding": embedding});
        json!({"data": vectors.iter().map(vector).collect::<Vec<_>>(), "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    };
    let (a, b) = (json!([0.5, -1]), json!([2, 3]));
    let sorted: &[&[f32]] = &[&[0.5, -1.0], &[2.0, 3.0]];
    check(Protocol::Openai, openai(&[(json!(0), a.clone()), (json!(1), b.clone())]), Ok((sorted, 5)));
    check(Protocol::Openai, openai(&[(json!(1), b.clone()), (json!(0), a.clone())]), Ok((sorted, 5)));
    check(Protocol::Openai, json!({"data": [{"embedding": a}, {"embedding": b}]}), Ok((sorted, 0)));
    let google = json!({"embeddings": [{"values": a}, {"values": b}]});
    check(Protocol::Google, google, Ok((sorted, 0)));

    let unsound = "it did not send one vector for each text";
    for vectors in [
        vec![],
        vec![(json!(0), a.clone())],
        vec![(json!(0), a.clone()), (json!(0), b.clone())],
        vec![(json!(0), a.clone()), (json!(2), b.clone())],
        vec![(json!(0), a.clone()), (json!(1), json!([]))],
        vec![(json!(0), a.clone()), (json!(1), json!([1]))],
        vec![(json!(0), a.clone()), (json!(1), json!([1, 1e300]))],
    ] {
        check(Protocol::Openai, openai(&vectors), Err(unsound));
    }
    check(Protocol::Google, json!({"embeddings": [{"values": a}]}), Err(unsound));
    check(Protocol::Openai, json!({"data": "none"}), Err("it sent no embeddings"));
    let limited = Protocol::Openai.read(br#"{"error":{"message":"slow down","code":429}}"#, 2);
    assert!(matches!(limited, Err(Error::RateLimited { .. })), "{limited:?}");
}
