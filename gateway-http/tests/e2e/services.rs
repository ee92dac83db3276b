//! Services that know each other by certificates and by a secret.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Topology, each_topology, eventually},
    provider::Reply,
};

each_topology![
    services_that_know_each_other_answer,
    changed_certificates_are_taken_over_without_a_restart,
    a_service_with_another_secret_is_of_no_use,
];

/// Makes an authority, and a certificate of it for every service.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["services.example.com".to_owned()]).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    fs::write(folder.join("tls.crt"), cert.signed_by(&key, &authority).unwrap().pem()).unwrap();
}

fn by_tls(folder: &Path) -> Value {
    let path = |name| folder.join(name);
    let tls = json!({
        "certPath": path("tls.crt"), "keyPath": path("tls.key"), "caPath": path("ca.crt"),
        "serverName": "services.example.com",
    });
    json!({"services": {"tls": tls}})
}

async fn services_that_know_each_other_answer(topology: Topology) {
    let builder = Gateway::on(topology).await.with_tls_between_services();
    let folder = builder.state();
    certificates(&folder);
    let builder = builder.config(by_tls(&folder)).env("CLAWDBOT_SERVICES_TOKEN", "of-the-services");
    let gateway = builder.start().await;
    gateway.provider.answers(Reply::text(&["yes"]));
    assert_eq!(gateway.ask("hi").user("alice").send().await.content(), "yes");
    let stream = gateway.ask("again").user("alice").stream().await;
    assert_eq!(stream.end().await.text(), "yes");
    assert!(!gateway.logs().contains("of-the-services"));
}

async fn changed_certificates_are_taken_over_without_a_restart(topology: Topology) {
    let builder = Gateway::on(topology).await.with_tls_between_services();
    let folder = builder.state();
    certificates(&folder);
    let mut gateway = builder.config(by_tls(&folder)).start().await;
    gateway.provider.answers(Reply::text(&["yes"]));
    certificates(&folder);
    if topology == Topology::ThreeProcesses {
        let took = "the certificates between services have changed";
        eventually("every service has them", async || gateway.logs().matches(took).count() == 3).await;
        // It comes back with the new ones, and only those who have them are served.
        gateway.kill("agent-runner").await;
        gateway.revive("agent-runner");
        eventually("the runner is back", async || gateway.is_ready().await).await;
    }
    assert_eq!(gateway.ask("hi").user("alice").send().await.content(), "yes");
}

async fn a_service_with_another_secret_is_of_no_use(topology: Topology) {
    let mut gateway = Gateway::on(topology).await.env("CLAWDBOT_SERVICES_TOKEN", "one").start().await;
    gateway.provider.answers(Reply::text(&["yes"]));
    if topology == Topology::OneProcess {
        // Nobody calls.
        assert_eq!(gateway.ask("hi").send().await.content(), "yes");
        return;
    }
    gateway.kill("agent-runner").await;
    gateway.set_env("CLAWDBOT_SERVICES_TOKEN", "another");
    gateway.revive("agent-runner");
    let refused = "the agent runner does not know this gateway";
    eventually("the gateway says so", async || {
        let answer = gateway.ask("hi").send().await;
        assert_eq!(answer.status, 503, "{answer:?}");
        gateway.logs().contains(refused)
    })
    .await;
    assert!(!gateway.is_ready().await);
}
