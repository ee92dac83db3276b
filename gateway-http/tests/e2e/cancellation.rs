//! A client that hangs up stops the work behind its request, down to the provider's connection.

use std::time::{Duration, Instant};

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::Reply,
};

each_topology![
    a_hang_up_in_the_middle_reaches_the_provider,
    a_hang_up_before_the_first_token_reaches_the_provider,
    a_hang_up_before_the_provider_has_answered_reaches_it,
    a_hang_up_without_streaming_reaches_the_provider,
    a_hang_up_gives_the_session_back,
];

/// More than it should ever take; the time itself is printed.
const LIMIT: Duration = Duration::from_secs(2);

/// Waits until the provider has seen its connection closed.
async fn assert_stopped(gateway: &Gateway, hung_up: Instant) {
    let took = gateway.provider.hang_up().await.saturating_duration_since(hung_up);
    eprintln!("the hang-up took {:.1} ms to the provider", took.as_secs_f64() * 1_000.0);
    assert!(took < LIMIT, "{took:?}");
}

async fn a_hang_up_in_the_middle_reaches_the_provider(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::stream().delta("one").hang());
    let mut stream = gateway.ask("count").stream().await;
    stream.text("one").await;
    let hung_up = Instant::now();
    drop(stream);
    assert_stopped(&gateway, hung_up).await;
}

async fn a_hang_up_before_the_first_token_reaches_the_provider(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::stream().hang());
    let stream = gateway.ask("count").stream().await;
    gateway.provider.request(1).await;
    let hung_up = Instant::now();
    drop(stream);
    assert_stopped(&gateway, hung_up).await;
}

async fn a_hang_up_before_the_provider_has_answered_reaches_it(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::silence());
    let stream = gateway.ask("count").stream().await;
    gateway.provider.request(1).await;
    let hung_up = Instant::now();
    drop(stream);
    assert_stopped(&gateway, hung_up).await;
}

async fn a_hang_up_without_streaming_reaches_the_provider(topology: Topology) {
    for reply in [Reply::silence(), Reply::stream().delta("one").hang()] {
        let gateway = Gateway::start(topology).await;
        gateway.provider.answers(reply);
        let request = tokio::spawn(gateway.ask("count").send());
        gateway.provider.request(1).await;
        let hung_up = Instant::now();
        request.abort();
        assert_stopped(&gateway, hung_up).await;
    }
}

async fn a_hang_up_gives_the_session_back(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers_once(Reply::stream().delta("one").hang());
    let mut stream = gateway.ask("count").user("alice").stream().await;
    stream.text("one").await;
    let hung_up = Instant::now();
    drop(stream);
    assert_eq!(gateway.ask("again").user("alice").send().await.content(), "hello");
    assert!(hung_up.elapsed() < LIMIT, "{:?}", hung_up.elapsed());
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: again"]);
}
