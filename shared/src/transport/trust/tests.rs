//! Services that know each other, and callers that they do not know.

use std::{fs, path::Path, sync::Arc};

use proto::agent::v1::{ListAgentsRequest, RunRequest, agent_runner_client::AgentRunnerClient};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::{
    config::Sources,
    grpc,
    transport::{
        InvalidUrl, Transport, is_broken, remote,
        tests::{PATIENCE, Scripted, client, layered},
    },
};

/// An authority that signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes the files of a service that is known by a name.
    fn sign(&self, name: &str, folder: &Path) {
        let key = KeyPair::generate().expect("a key");
        let cert = CertificateParams::new([name.to_owned()]).expect("a name");
        let cert = cert.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(folder.join("tls.crt"), cert.pem()).expect("written");
        fs::write(folder.join("tls.key"), key.serialize_pem()).expect("written");
        fs::write(folder.join("ca.crt"), &self.pem).expect("written");
    }
}

fn load(services: &Value) -> Result<Trust, Error> {
    let text = json!({ "services": services }).to_string();
    Trust::load(&Document::from_text(&text, Path::new("clawdbot.json"), &Sources::default()).expect("valid"))
}

fn by_tls(folder: &Path, server_name: Option<&str>) -> Value {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut tls = json!({"certPath": path("tls.crt"), "keyPath": path("tls.key"), "caPath": path("ca.crt")});
    if let Some(name) = server_name {
        tls["serverName"] = name.into();
    }
    json!({ "tls": tls })
}

/// A runner that asks for what `trust` says.
struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), grpc::Error>>,
}

impl Server {
    async fn start(trust: &Trust) -> Self {
        let listener = grpc::listen(([127, 0, 0, 1], 0).into(), trust).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shutdown = CancellationToken::new();
        let service = layered(Scripted::default(), 8);
        let serving = grpc::serve(listener, service, proto::DESCRIPTORS, shutdown.clone(), PATIENCE, async {});
        Self { address, shutdown, serving: tokio::spawn(serving) }
    }

    fn client(&self, trust: &Trust) -> AgentRunnerClient<Transport> {
        let url = format!("{}://{}", trust.scheme(), self.address);
        client(remote(&url, trust).expect("a valid URL"))
    }

    async fn ask(&self, trust: &Trust) -> Result<String, Status> {
        let agents = self.client(trust).list_agents(ListAgentsRequest {}).await?;
        Ok(agents.into_inner().default_agent_id)
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.expect("the server does not panic").expect("the server ends well");
    }
}

#[tokio::test]
async fn only_those_who_show_the_secret_are_served() {
    let trust = load(&json!({"token": "new,old"})).expect("a secret");
    let server = Server::start(&trust).await;
    assert_eq!(server.ask(&trust).await.expect("it is known"), "main");
    assert_eq!(server.ask(&load(&json!({"token": "old"})).expect("a secret")).await.expect("it is known"), "main");
    let stream = server.client(&trust).run(RunRequest::default()).await.expect("streams, too");
    for unknown in [Trust::default(), load(&json!({"token": "other"})).expect("a secret")] {
        let status = server.ask(&unknown).await.expect_err("it is not known");
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        assert!(!status.message().contains("old"), "{status:?}");
    }
    let plain = remote(&format!("http://{}", server.address), &Trust::default()).expect("a valid URL");
    let health = HealthClient::new(plain).check(HealthCheckRequest::default()).await;
    health.expect("whoever looks after the service has no secret");
    drop(stream);
    server.end().await;
}

#[tokio::test]
async fn only_those_whose_certificate_the_authority_has_signed_are_served_and_called() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.sign("127.0.0.1", folder.path());
    let trust = load(&by_tls(folder.path(), None)).expect("certificates");
    let server = Server::start(&trust).await;
    assert_eq!(server.ask(&trust).await.expect("it is known"), "main");

    let elsewhere = tempfile::tempdir().expect("a folder");
    Authority::new().sign("127.0.0.1", elsewhere.path());
    let stranger = load(&by_tls(elsewhere.path(), None)).expect("certificates");
    assert_eq!(server.ask(&stranger).await.expect_err("it is not known").code(), Code::Unavailable);
    // It would take the server for its own, but has no certificate that the server knows.
    fs::write(elsewhere.path().join("ca.crt"), &authority.pem).expect("written");
    let stranger = load(&by_tls(elsewhere.path(), None)).expect("certificates");
    // With TLS 1.3 a caller hears of that when it says something.
    assert!(is_broken(&server.ask(&stranger).await.expect_err("it is not known")));
    let plain = client(remote(&format!("http://{}", server.address), &Trust::default()).expect("a valid URL"))
        .list_agents(ListAgentsRequest {})
        .await;
    plain.expect_err("nothing is said in plain");
    server.end().await;
}

#[tokio::test]
async fn a_service_is_known_by_its_name() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.sign("clawdbot.example.com", folder.path());
    let by_url = load(&by_tls(folder.path(), None)).expect("certificates");
    let by_name = load(&by_tls(folder.path(), Some("clawdbot.example.com"))).expect("certificates");
    let server = Server::start(&by_name).await;
    assert_eq!(server.ask(&by_name).await.expect("it is known"), "main");
    assert_eq!(server.ask(&by_url).await.expect_err("this is 127.0.0.1").code(), Code::Unavailable);
    server.end().await;
}

#[tokio::test]
async fn changed_certificates_are_taken_over_and_broken_ones_are_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    old.sign("127.0.0.1", folder.path());
    let trust = load(&by_tls(folder.path(), None)).expect("certificates");
    let tls: Arc<Tls> = trust.tls().expect("TLS").clone();
    let server = Server::start(&trust).await;
    let open = server.client(&trust);
    open.clone().list_agents(ListAgentsRequest {}).await.expect("it is known");

    fs::write(folder.path().join("tls.crt"), "no certificate").expect("written");
    let error = tls.read_again().expect_err("it is broken").to_string();
    assert!(error.starts_with("services.tls.certPath: "), "{error}");
    assert_eq!(server.ask(&trust).await.expect("what there was holds"), "main");

    new.sign("127.0.0.1", folder.path());
    assert!(tls.read_again().expect("they can be used"));
    assert!(!tls.read_again().expect("they are the same"));
    assert_eq!(server.ask(&trust).await.expect("both have them"), "main");
    open.clone().list_agents(ListAgentsRequest {}).await.expect("an open connection stays");
    let elsewhere = tempfile::tempdir().expect("a folder");
    old.sign("127.0.0.1", elsewhere.path());
    let left_behind = load(&by_tls(elsewhere.path(), None)).expect("certificates");
    assert_eq!(server.ask(&left_behind).await.expect_err("it is not known any more").code(), Code::Unavailable);
    server.end().await;
}

#[tokio::test]
async fn nobody_listens_where_everybody_could_call() {
    let everywhere = ([0, 0, 0, 0], 0).into();
    let error = grpc::listen(everywhere, &Trust::default()).await.expect_err("it is insecure").to_string();
    assert!(error.contains("services.tls or services.token, or services.allowInsecure"), "{error}");
    for known in [json!({"token": "secret"}), json!({"allowInsecure": true})] {
        grpc::listen(everywhere, &load(&known).expect("valid")).await.expect("it may");
    }
    for loopback in [SocketAddr::from(([127, 0, 0, 2], 0)), "[::1]:0".parse().expect("an address")] {
        Trust::default().may_listen(loopback).expect("only this machine can call");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let check = |services: Value, expected: &str| {
        let error = load(&services).expect_err("it cannot be used").to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(json!({"token": " , "}), "services.token: is empty");
    check(json!({"token": "two words"}), "services.token: has characters");
    check(json!({"tls": {"certPath": "/none"}}), "services.tls.keyPath: is missing");
    check(json!({"tls": {"serverName": "a"}}), "services.tls.certPath: is missing");
    let all = json!({"certPath": "/none", "keyPath": "/none", "caPath": "/none"});
    check(json!({ "tls": all }), "services.tls.certPath: cannot read /none");
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.sign("127.0.0.1", folder.path());
    check(by_tls(folder.path(), Some("not a name")), "services.tls.serverName: ");
    fs::write(folder.path().join("ca.crt"), "nobody").expect("written");
    check(by_tls(folder.path(), None), "services.tls.caPath: ");
}

#[tokio::test]
async fn the_scheme_of_a_url_says_whether_services_know_each_other_by_tls() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.sign("127.0.0.1", folder.path());
    let trust = load(&by_tls(folder.path(), None)).expect("certificates");
    let error = |url, trust| remote(url, trust).err();
    assert_eq!(error("http://a:1", &trust), Some(InvalidUrl::NeedsHttps("http://a:1".to_owned())));
    assert_eq!(error("https://a:1", &Trust::default()), Some(InvalidUrl::NeedsTls("https://a:1".to_owned())));
}
