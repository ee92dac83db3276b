//! What the gateway keeps out: guesses of its secrets, strangers behind its proxies, and the pages of others.

use std::fs;

use http::Method;
use serde_json::{Value, json};

use crate::{
    caller_limits::assert_says_when_to_come_back,
    cli::{clawdbot_with, stderr},
    harness::{Gateway, Installation, Request, Topology, each_topology, eventually, run},
    provider::Provider,
};

each_topology![
    without_secrets_each_address_has_limits_of_its_own,
    who_guesses_secrets_is_locked_out_by_the_address_behind_the_proxy,
    who_shows_no_secret_is_not_locked_out,
    a_trusted_proxy_names_the_user,
    a_foreign_page_cannot_use_an_open_gateway,
    a_page_whose_name_leads_here_cannot_use_an_open_gateway,
    who_guesses_through_a_proxy_that_is_not_listed_is_locked_out,
    listed_pages_may_use_the_gateway,
    without_listed_pages_browsers_are_told_nothing,
    every_answer_has_security_headers,
    a_token_in_a_file_is_read_again_when_it_changes,
];

/// A gateway behind a proxy on this machine.
fn behind_a_proxy(auth: &Value) -> Value {
    json!({"gateway": {"trustedProxies": ["127.0.0.1"], "auth": auth}})
}

fn from(request: Request, address: &str) -> Request {
    request.header("x-forwarded-for", address)
}

async fn without_secrets_each_address_has_limits_of_its_own(topology: Topology) {
    let mut config = behind_a_proxy(&json!({"mode": "none"}));
    config["gateway"]["limits"] = json!({"requestsPerMinute": 1});
    let gateway = Gateway::with_config(topology, config).await;
    let ask = |address: &str| from(gateway.ask("hi").anonymous(), address).send();
    assert_eq!(ask("192.0.2.1").await.content(), "hello");
    ask("192.0.2.1").await.assert_error(429, "rate_limit_error", "rate_limit_exceeded");
    // What the client itself wrote does not help it.
    ask("192.0.2.9, 192.0.2.1").await.assert_error(429, "rate_limit_error", "rate_limit_exceeded");
    assert_eq!(ask("192.0.2.2").await.content(), "hello");
    // All whose address is unknown are one.
    assert_eq!(ask("unknown").await.content(), "hello");
    ask("nonsense").await.assert_error(429, "rate_limit_error", "rate_limit_exceeded");
}

async fn who_guesses_secrets_is_locked_out_by_the_address_behind_the_proxy(topology: Topology) {
    let auth = json!({"rateLimit": {"maxAttempts": 2, "exemptLoopback": false}});
    let gateway = Gateway::with_config(topology, behind_a_proxy(&auth)).await;
    let ask = |secret: &str, address: &str| from(gateway.ask("hi").bearer(secret), address).send();
    for _ in 0..2 {
        ask("wrong", "192.0.2.1").await.assert_error(401, "authentication_error", "invalid_api_key");
    }
    for secret in ["wrong", "secret"] {
        let locked = ask(secret, "192.0.2.1").await;
        locked.assert_error(429, "rate_limit_error", "too_many_failed_logins");
        assert_says_when_to_come_back(&locked);
    }
    assert_eq!(ask("secret", "192.0.2.2").await.content(), "hello");
    // A right secret wipes the slate.
    for _ in 0..3 {
        ask("wrong", "192.0.2.2").await.assert_error(401, "authentication_error", "invalid_api_key");
        assert_eq!(ask("secret", "192.0.2.2").await.content(), "hello");
    }
    // Two addresses of one subscriber are one client.
    for address in ["2001:db8::1", "2001:db8::2"] {
        ask("wrong", address).await.assert_error(401, "authentication_error", "invalid_api_key");
    }
    ask("secret", "2001:db8::3").await.assert_error(429, "rate_limit_error", "too_many_failed_logins");
}

async fn who_shows_no_secret_is_not_locked_out(topology: Topology) {
    let auth = json!({"rateLimit": {"maxAttempts": 1, "exemptLoopback": false}});
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": auth}})).await;
    for _ in 0..3 {
        let answer = gateway.ask("hi").anonymous().send().await;
        answer.assert_error(401, "authentication_error", "invalid_api_key");
    }
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
}

async fn a_trusted_proxy_names_the_user(topology: Topology) {
    let auth = json!({"mode": "trusted-proxy", "trustedProxy": {
        "userHeader": "X-Forwarded-User", "requiredHeaders": ["x-verified"], "allowLoopback": true,
        "allowUsers": ["alice", "alice@example.com"],
    }});
    let builder = Gateway::on(topology).await.without_env("CLAWDBOT_GATEWAY_TOKEN");
    let gateway = builder.config(behind_a_proxy(&auth)).start().await;
    let ask = |user: &str| {
        let request = gateway.ask("hi").user("u").anonymous().header("x-verified", "yes");
        request.header("x-forwarded-user", user)
    };
    assert_eq!(ask("alice").send().await.content(), "hello");
    assert_eq!(ask("alice@example.com").send().await.content(), "hello");
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: hi"], "two users have two sessions");
    ask("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation().len(), 3, "and each goes on with its own");

    ask("mallory").send().await.assert_error(403, "permission_error", "forbidden");
    let without = gateway.ask("hi").anonymous().header("x-forwarded-user", "alice").send().await;
    without.assert_error(401, "authentication_error", "invalid_api_key");
    let nobody = gateway.ask("hi").anonymous().header("x-verified", "yes").send().await;
    nobody.assert_error(401, "authentication_error", "invalid_api_key");
    let of_a_page = ask("alice").header("origin", "https://example.com").send().await;
    of_a_page.assert_error(403, "permission_error", "forbidden");
}

async fn a_foreign_page_cannot_use_an_open_gateway(topology: Topology) {
    let config = json!({"gateway": {"auth": {"mode": "none"}, "http": {"cors": {"origins": ["https://example.com"]}}}});
    let gateway = Gateway::with_config(topology, config).await;
    let ask = |origin: &str| gateway.ask("hi").anonymous().header("origin", origin).send();
    for foreign in ["https://example.org", "null", "http://127.0.0.1:1"] {
        ask(foreign).await.assert_error(403, "permission_error", "forbidden");
    }
    assert!(gateway.provider.asked().is_empty());
    assert_eq!(ask(&gateway.url()).await.content(), "hello");
    assert_eq!(ask("https://example.com").await.content(), "hello");
}

/// What a browser asks before a page may send a chat request.
fn preflight(gateway: &Gateway, origin: &str) -> Request {
    gateway
        .request(Method::OPTIONS.as_str(), "/v1/chat/completions")
        .anonymous()
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-stainless-os,x-clawdbot-agent-id")
}

async fn a_page_whose_name_leads_here_cannot_use_an_open_gateway(topology: Topology) {
    let auth = json!({"auth": {"mode": "none"}, "http": {"cors": {"origins": ["https://agents.example.com"]}}});
    let gateway = Gateway::with_config(topology, json!({"gateway": auth})).await;
    let port = gateway.port();
    for (host, status) in [
        (format!("rebound.example.org:{port}"), 403),
        ("agents.example.com".to_owned(), 200),
        (format!("localhost:{port}"), 200),
        ("gateway.agents.svc.cluster.local".to_owned(), 200),
    ] {
        for path in ["/v1/models", "/v1/sessions"] {
            let answer = gateway.request("GET", path).anonymous().header("host", &host).send().await;
            assert_eq!(answer.status, status, "{host}{path}");
        }
    }
    let same = gateway.request("GET", "/v1/models").anonymous().header("host", "rebound.example.org");
    let refused = same.header("origin", "http://rebound.example.org").send().await;
    let error = refused.assert_error(403, "permission_error", "forbidden");
    assert_eq!(error["param"], "host");
}

async fn who_guesses_through_a_proxy_that_is_not_listed_is_locked_out(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": {"rateLimit": {"maxAttempts": 2}}}})).await;
    for address in ["192.0.2.1", "192.0.2.2"] {
        let refused = from(gateway.ask("hi").bearer("wrong"), address).send().await;
        refused.assert_error(401, "authentication_error", "invalid_api_key");
    }
    let locked = from(gateway.ask("hi").bearer("secret"), "192.0.2.3").send().await;
    locked.assert_error(429, "rate_limit_error", "too_many_failed_logins");
    assert_eq!(gateway.ask("hi").send().await.content(), "hello", "this machine itself is not meant");
}

async fn listed_pages_may_use_the_gateway(topology: Topology) {
    let origins = json!({"gateway": {"http": {"cors": {"origins": ["https://example.com", "http://localhost:3000"]}}}});
    let gateway = Gateway::with_config(topology, origins).await;
    let answer = preflight(&gateway, "https://example.com").send().await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), "https://example.com");
    assert!(answer.header("access-control-allow-methods").contains("POST"), "{:?}", answer.headers);
    for name in ["authorization", "content-type", "x-stainless-os", "x-clawdbot-agent-id"] {
        assert!(answer.header("access-control-allow-headers").contains(name), "{:?}", answer.headers);
    }
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert!(answer.header("vary").contains("origin"), "{:?}", answer.headers);
    assert_eq!(answer.header("access-control-allow-credentials"), "");

    let ask = || gateway.ask("hi").header("origin", "http://localhost:3000");
    let (good, bad) = (ask().send().await, ask().bearer("wrong").send().await);
    assert_eq!(good.content(), "hello");
    bad.assert_error(401, "authentication_error", "invalid_api_key");
    for answer in [good, bad] {
        assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000");
        for name in ["x-request-id", "x-clawdbot-session-key", "retry-after"] {
            assert!(answer.header("access-control-expose-headers").contains(name), "{:?}", answer.headers);
        }
    }
    let foreign = preflight(&gateway, "https://example.org").send().await;
    assert_eq!(foreign.header("access-control-allow-origin"), "");
}

async fn without_listed_pages_browsers_are_told_nothing(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = preflight(&gateway, "https://example.com").send().await;
    answer.assert_error(405, "invalid_request_error", "method_not_allowed");
    let chat = gateway.ask("hi").header("origin", "https://example.com").send().await;
    assert_eq!(chat.content(), "hello");
    for answer in [answer, chat] {
        let told = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control"));
        assert_eq!(told.count(), 0, "{:?}", answer.headers);
    }
}

async fn every_answer_has_security_headers(topology: Topology) {
    let hsts = json!({"gateway": {"http": {"strictTransportSecurity": "max-age=31536000"}}});
    let gateway = Gateway::with_config(topology, hsts).await;
    let requests = [
        gateway.ask("hi"),
        gateway.ask("hi").bearer("wrong"),
        gateway.request("GET", "/v1/models"),
        gateway.request("GET", "/nothing"),
        gateway.request("PUT", "/healthz"),
    ];
    for request in requests {
        let answer = request.send().await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    }
    let stream = gateway.ask("hi").stream().await;
    assert_eq!(stream.header("cache-control"), "no-cache");
    assert_eq!(stream.header("x-content-type-options"), "nosniff");
}

async fn a_token_in_a_file_is_read_again_when_it_changes(topology: Topology) {
    let builder = Gateway::on(topology).await.without_env("CLAWDBOT_GATEWAY_TOKEN");
    let (main, of_bob) = (builder.state().join("main"), builder.state().join("bob"));
    fs::write(&main, "first\n").unwrap();
    fs::write(&of_bob, "of-bob").unwrap();
    let auth =
        json!({"tokenFile": main, "tokens": [{"name": "bob", "tokenFile": of_bob}], "rateLimit": {"maxAttempts": 0}});
    let gateway = builder.config(json!({"gateway": {"auth": auth}})).start().await;
    let is_let_in = async |secret: &str| gateway.ask("hi").bearer(secret).send().await.status == 200;
    assert!(is_let_in("first").await && is_let_in("of-bob").await);

    fs::write(&main, "second").unwrap();
    eventually("the new token is known", async || is_let_in("second").await).await;
    assert!(!is_let_in("first").await && is_let_in("of-bob").await);

    fs::write(&of_bob, "").unwrap();
    eventually("the empty file is noticed", async || gateway.logs().contains("tokens[0].tokenFile")).await;
    assert!(is_let_in("second").await && is_let_in("of-bob").await);
    fs::write(&of_bob, "of-bob-too").unwrap();
    eventually("the file is used again", async || is_let_in("of-bob-too").await).await;
    assert!(!gateway.logs().contains("of-bob"), "no secret is logged");
}

#[tokio::test]
async fn a_bad_setting_of_protection_is_refused_by_its_key() {
    run(async {
        let provider = Provider::start().await;
        let auth = |section: Value| json!({"auth": section});
        let bad = [
            (json!({"trustedProxies": ["10.0.0.0/33"]}), "gateway.trustedProxies[0]"),
            (json!({"limits": {"maxConnections": 0}}), "gateway.limits.maxConnections"),
            (json!({"limits": {"maxHeaderBytes": 1}}), "gateway.limits.maxHeaderBytes"),
            (json!({"limits": {"requestsPerMinute": -1}}), "gateway.limits.requestsPerMinute"),
            (json!({"limits": {"requestsPerMinute": 2, "requestBurst": 3}}), "gateway.limits.requestBurst"),
            (json!({"limits": {"maxRunsPerTokn": 1}}), "maxRunsPerToken"),
            (json!({"http": {"cors": {"origins": ["https://example.com/"]}}}), "gateway.http.cors.origins[0]"),
            (json!({"http": {"strictTransportSecurity": "a\nb"}}), "gateway.http.strictTransportSecurity"),
            (json!({"http": {"headTimeoutMs": "soon"}}), "gateway.http.headTimeoutMs"),
            (json!({"tls": {"enabled": true, "certPath": "/none", "keyPath": "/none"}}), "gateway.tls.certPath"),
            (json!({"tls": {"enabled": true, "certPath": "/none"}}), "gateway.tls.keyPath"),
            (auth(json!({"rateLimit": {"maxAttempts": "many"}})), "gateway.auth.rateLimit.maxAttempts"),
            (auth(json!({"mode": "trusted-proxy"})), "gateway.auth.token"),
            (auth(json!({"mode": "sesame"})), "gateway.auth.mode"),
            (auth(json!({"trustedProxy": {"userHeader": "x y"}})), "gateway.auth.trustedProxy.userHeader"),
            (auth(json!({"tokenFile": "/none"})), "gateway.auth.tokenFile"),
            (auth(json!({"tokens": [{"name": "bob", "tokenFile": "/none"}]})), "gateway.auth.tokens[0].tokenFile"),
            (
                auth(json!({"tokens": [{"name": "bob", "token": "b", "limits": {"maxRuns": -1}}]})),
                "gateway.auth.tokens[0].limits.maxRuns",
            ),
        ];
        for (section, key) in bad {
            let mut installation = Installation::new(&provider);
            installation.configure(json!({"gateway": section}));
            let output = clawdbot_with(&installation, &["config", "check"]).await;
            assert_eq!(output.status.code(), Some(1), "{key}: {output:?}");
            assert!(stderr(&output).contains(key), "{key} is not in {output:?}");
        }
    })
    .await;
}
