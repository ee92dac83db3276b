//! What `models.providers` and the environment make of the providers.

use std::path::Path;

use shared::config::Sources;

use super::*;
use crate::model::{Compat, MaxTokensField};

fn read(text: &str, environment: &[(&str, &str)]) -> Result<BTreeMap<String, Provider>, String> {
    let environment: Environment = environment.iter().copied().collect();
    let sources = Sources { environment: environment.clone(), ..Sources::default() };
    let text = format!("{{models: {{providers: {{{text}}}}}}}");
    let document = Document::from_text(&text, Path::new("clawdbot.json"), &sources);
    load(&document.map_err(|error| error.to_string())?, &environment).map_err(|error| error.to_string())
}

fn remote(provider: &Provider) -> &RemoteParts {
    let Kind::Remote(parts) = &provider.kind else { panic!("it is embedded") };
    parts
}

#[test]
fn a_key_in_the_environment_is_enough() {
    let check = |environment: &[(&str, &str)], id: &str, api: Api, base_url: &str| {
        let providers = read("", environment).expect("usable");
        let parts = remote(&providers[id]);
        assert_eq!((parts.api, parts.base_url.as_str()), (api, base_url));
    };
    check(&[("ANTHROPIC_API_KEY", "k")], "anthropic", Api::AnthropicMessages, "https://api.anthropic.com/");
    let elsewhere = [("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")];
    check(&elsewhere, "anthropic", Api::AnthropicMessages, "http://127.0.0.1:1/");
    check(&[("OPENAI_API_KEY", "k")], "openai", Api::OpenaiCompletions, "https://api.openai.com/v1");
    let google = "https://generativelanguage.googleapis.com/v1beta";
    check(&[("GEMINI_API_KEY", "k")], "google", Api::GoogleGenerativeAi, google);
    check(&[("GOOGLE_API_KEY", "k")], "google", Api::GoogleGenerativeAi, google);
}

#[test]
fn the_environment_fills_in_what_a_section_leaves_out() {
    let variables = [("ANTHROPIC_API_KEY", "of-environment"), ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")];
    let check = |section: &str, base_url: &str, key: Option<&str>| {
        let providers = read(&format!("anthropic: {{models: [{{id: 'm'}}], {section}}}"), &variables).expect("usable");
        let parts = remote(&providers["anthropic"]);
        assert_eq!(parts.base_url.as_str(), base_url, "{section}");
        let keys: Vec<_> = parts.api_keys.iter().map(ApiKey::text).collect();
        assert_eq!(keys, key.into_iter().collect::<Vec<_>>(), "{section}");
    };
    check("", "http://127.0.0.1:1/", Some("of-environment"));
    check("apiKey: 'of-file'", "http://127.0.0.1:1/", Some("of-file"));
    check("apiKeys: ['of-file']", "http://127.0.0.1:1/", Some("of-file"));
    // Another's server does not get the key.
    check("baseUrl: 'http://example.com'", "http://example.com/", None);
}

#[test]
fn the_default_model_is_the_first_that_can_answer() {
    let check = |text: &str, variables: &[&str], expected: &str| {
        let environment: Vec<_> = variables.iter().map(|&name| (name, "k")).collect();
        let providers = read(text, &environment).expect("usable");
        assert_eq!(default_model(&providers).expect("there is one").to_string(), expected, "{text} {variables:?}");
    };
    let all = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"];
    let listed = "own: {baseUrl: 'http://h', models: [{id: 'm'}]}";
    check(listed, &all, "anthropic/claude-opus-4-5");
    check(listed, &all[1..], "openai/gpt-5-mini");
    check(listed, &all[2..], "own/m");
    check("", &all[2..], "google/gemini-2.5-flash");
    check("anthropic: {apiKey: 'k', models: [{id: 'claude-haiku-4-5'}]}", &all, "anthropic/claude-haiku-4-5");
}

#[test]
fn every_key_is_a_model_of_its_own() {
    let count = |text: &str| {
        let providers = read(text, &[]).expect("usable");
        let Some(Provider { kind: Kind::Remote(parts), .. }) = providers.into_values().next() else { return 0 };
        parts.build("p", Duration::from_secs(1), None).expect("a client").keys.len()
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(count("google: {}"), 1);
    assert_eq!(count("google: {apiKey: 'a'}"), 1);
    assert_eq!(count("google: {apiKey: 'a', apiKeys: ['b', 'c']}"), 3);
}

#[tokio::test]
async fn what_is_configured_as_before_goes_on() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let make = async |text: &str, idle_seconds: u64, before: &Ready| {
        let providers = read(text, &[]).expect("usable");
        let idle_timeout = Duration::from_secs(idle_seconds);
        build(providers, &BTreeSet::new(), idle_timeout, before).await.expect("a client")
    };
    let (before, ready) = make("p: {baseUrl: 'http://h', apiKeys: ['a', 'b']}", 9, &Ready::default()).await;
    let check = async |text: &str, idle_seconds: u64, expected: &[bool]| {
        let (after, _) = make(text, idle_seconds, &ready).await;
        let keys = &before["p"].keys;
        let same = after["p"].keys.iter().enumerate();
        let same = same.map(|(index, key)| keys.get(index).is_some_and(|before| Arc::ptr_eq(before, key)));
        assert_eq!(same.collect::<Vec<_>>(), expected, "{text}");
    };
    check("p: {baseUrl: 'http://h', apiKeys: ['a', 'b'], models: [{id: 'm'}]}", 9, &[true, true]).await;
    check("p: {baseUrl: 'http://h', apiKeys: ['a', 'c', 'b']}", 9, &[true, false, false]).await;
    check("p: {baseUrl: 'http://other', apiKeys: ['a', 'b']}", 9, &[false, false]).await;
    check("p: {baseUrl: 'http://h', apiKeys: ['a', 'b'], headers: {'x-a': 'b'}}", 9, &[false, false]).await;
    check("p: {baseUrl: 'http://h', apiKeys: ['a', 'b']}", 8, &[false, false]).await;
    check("p: {baseUrl: 'http://h'}", 9, &[false]).await;
}

#[test]
fn a_model_is_what_its_entry_says() {
    let text = "p: {baseUrl: 'http://h', models: [{
        id: 'm', name: 'M', api: 'openai-responses', reasoning: true, input: ['text'], contextWindow: 1000, maxTokens: 10,
        headers: {'x-a': 'b'},
        compat: {maxTokensField: 'max_completion_tokens', supportsStore: false, supportsDeveloperRole: true},
    }, {id: 'n'}]}";
    let providers = read(text, &[]).expect("usable");
    let provided = Provided {
        keys: Vec::new(),
        names: Arc::clone(&providers["p"].names),
        profiles: providers["p"].profiles.clone(),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-a", "b".parse().expect("a header"));
    let expected = Profile {
        api: Some(Api::OpenaiResponses),
        context_window: 1000,
        max_tokens: Some(10),
        reasoning: true,
        takes_images: false,
        compat: Compat {
            max_tokens_field: Some(MaxTokensField::MaxCompletionTokens),
            supports_developer_role: Some(true),
            supports_store: Some(false),
            supports_reasoning_effort: None,
        },
        headers,
    };
    assert_eq!(*provided.profile("m"), expected);
    assert_eq!(*provided.profile("n"), Profile::default());
    assert_eq!(*provided.profile("not listed"), Profile::default());
}

#[test]
fn what_cannot_work_is_named() {
    let check = |text: &str, expected: &str| {
        let error = read(text, &[]).expect_err(text);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    };
    check("p: {baseUrl: 'http://h', apiKeys: ['ok', 's3cret\\n']}", "models.providers.p.apiKeys[1]: holds what no");
    check("p: {baseUrl: 'http://h', authHeader: true}", "models.providers.p.authHeader: needs an apiKey");
    check("p: {baseUrl: 'http://h', path: '/w'}", "models.providers.p.path: is for the api `local` alone");
    check("p: {baseUrl: 'http://h', apiKeys: 's3cret'}", "models.providers.p.apiKeys");
    let model = |fields: &str| format!("p: {{baseUrl: 'http://h', models: [{{id: 'm', {fields}}}]}}");
    check(&model("api: 'local'"), "models.providers.p.models[0].api");
    check(&model("contextWindow: 0"), "models.providers.p.models[0].contextWindow");
    check(&model("maxTokens: 0"), "models.providers.p.models[0].maxTokens");
    check(&model("input: ['smell']"), "models.providers.p.models[0].input[0]");
    check(&model("headers: {a: 's3cret\\n'}"), "models.providers.p.models[0].headers.a: holds what no");
}
