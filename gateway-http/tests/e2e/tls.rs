//! The gateway by TLS.

use std::{fs, path::Path};

use http::Version;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Gateway, Topology, each_topology, eventually, soon};

each_topology![
    clients_who_trust_the_certificate_speak_http_2_and_1,
    a_changed_certificate_is_taken_over,
    who_does_not_speak_tls_is_let_go,
    a_gateway_without_a_certificate_makes_one,
];

/// Makes a certificate that signs itself, and returns it.
fn certificate(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    // The certificate last, so that there is no moment in which the key that belongs to it is missing for long.
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.pem()
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: &str, version: Version) -> reqwest::Client {
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only([certificate]);
    let builder = if version == Version::HTTP_11 { builder.http1_only() } else { builder };
    builder.build().unwrap()
}

/// Starts a gateway with a certificate of ours.
async fn start(topology: Topology) -> (Gateway, String) {
    let builder = Gateway::on(topology).await.by_tls();
    let folder = builder.state();
    let certificate = certificate(&folder);
    let paths = json!({"enabled": true, "certPath": folder.join("cert.pem"), "keyPath": folder.join("key.pem")});
    (builder.config(json!({"gateway": {"tls": paths}})).start().await, certificate)
}

/// The version of HTTP in which the client gets the models; none when it does not trust the gateway.
async fn models(gateway: &Gateway, client: &reqwest::Client) -> Option<Version> {
    let request = client.get(format!("{}/v1/models", gateway.url())).bearer_auth("secret");
    let answer = soon("the models are listed", request.send()).await.ok()?;
    assert_eq!(answer.status(), 200);
    Some(answer.version())
}

async fn clients_who_trust_the_certificate_speak_http_2_and_1(topology: Topology) {
    let (gateway, certificate) = start(topology).await;
    for version in [Version::HTTP_2, Version::HTTP_11] {
        assert_eq!(models(&gateway, &trusting(&certificate, version)).await, Some(version));
    }
    let stream = gateway.ask("hi").stream().await;
    assert_eq!(stream.end().await.content(), "hello");
}

async fn a_changed_certificate_is_taken_over(topology: Topology) {
    let (gateway, first) = start(topology).await;
    let folder = gateway.installation().state();
    let old = trusting(&first, Version::HTTP_2);
    fs::write(folder.join("cert.pem"), "broken").unwrap();
    eventually("the broken file is noticed", async || gateway.logs().contains("gateway.tls.certPath")).await;
    assert_eq!(models(&gateway, &old).await, Some(Version::HTTP_2));

    let second = certificate(&folder);
    let new = trusting(&second, Version::HTTP_2);
    eventually("the new certificate is shown", async || models(&gateway, &new).await.is_some()).await;
    // Not the client from before, which takes up the session that it had.
    assert_eq!(models(&gateway, &trusting(&first, Version::HTTP_2)).await, None);
}

async fn who_does_not_speak_tls_is_let_go(topology: Topology) {
    let (gateway, certificate) = start(topology).await;
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon("the gateway closes the connection", socket.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(models(&gateway, &trusting(&certificate, Version::HTTP_2)).await.is_some());
}

async fn a_gateway_without_a_certificate_makes_one(topology: Topology) {
    let builder = Gateway::on(topology).await.by_tls();
    let config = json!({"gateway": {"tls": {"enabled": true, "handshakeTimeoutMs": 100}}});
    let mut gateway = builder.config(config).start().await;
    let path = gateway.installation().state().join("gateway/tls/gateway-cert.pem");
    let made = fs::read_to_string(&path).unwrap();
    assert!(models(&gateway, &trusting(&made, Version::HTTP_2)).await.is_some());
    assert!(gateway.logs().contains("tls.server.hash.sha256"), "clients can know it by its fingerprint");

    // Whoever never begins is let go.
    let mut silent = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let mut nothing = Vec::new();
    let _ = soon("the gateway closes the connection", silent.read_to_end(&mut nothing)).await;

    gateway.restart(crate::harness::Signal::SIGTERM).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), made, "it is kept");
}
