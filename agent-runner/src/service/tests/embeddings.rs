//! Vectors from the outside: what is taken, for how long it is waited, and what is counted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use proto::agent::v1::{EmbedRequest, EmbedResponse, Embedding};
use tonic::Status;
use tonic_types::StatusExt;

use super::{fakes::Setup, *};
use crate::model::{self, Embedded, EventStream, Model, Texts};

/// A model that makes the same vector of every text, once it has failed so often; or that never answers.
struct Embedder {
    failures: AtomicUsize,
    hangs: bool,
}

impl Model for Embedder {
    fn stream(&self, _: &model::Request) -> EventStream {
        Box::pin(futures_util::stream::empty())
    }

    fn embed(&self, texts: &Texts) -> model::Embedding {
        assert_eq!((texts.model.as_str(), texts.dimensions), ("m", Some(2)));
        let usage = Usage { prompt_tokens: 5, ..Usage::default() };
        let embedded = Embedded { vectors: vec![vec![0.5, 1.0]; texts.texts.len()], usage };
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let hangs = self.hangs;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            if fails { Err(Error::RateLimited { retry_after: Some(Duration::from_secs(7)) }) } else { Ok(embedded) }
        })
    }
}

async fn embed(failures: usize, hangs: bool, texts: usize) -> Result<EmbedResponse, Status> {
    let embedder = Embedder { failures: failures.into(), hangs };
    let setup = Setup { models: vec![("fake", Arc::new(embedder))], ..Setup::of(Script::of([])) };
    let (mut client, _service) = setup.runner(&FakeStore::default());
    let request = EmbedRequest {
        agent_id: "main".to_owned(),
        input: vec!["x".to_owned(); texts],
        model: "fake/m".to_owned(),
        dimensions: 2,
    };
    client.embed(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn vectors_are_made_and_counted_like_answers() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let embedded = embed(0, false, 2).await.expect("are made");
    let vector = Embedding { values: vec![0.5, 1.0] };
    let usage = Some(Usage { prompt_tokens: 5, ..Usage::default() });
    let expected = EmbedResponse { embeddings: vec![vector; 2], usage, model: "fake/m".to_owned() };
    assert_eq!(embedded, expected);
    let rendered = metrics.render();
    for line in [
        r#"clawdbot_model_calls_total{provider="fake",model="m",outcome="ok"} 1"#,
        r#"clawdbot_tokens_total{agent="main",model="m",kind="prompt"} 5"#,
    ] {
        assert!(rendered.lines().any(|shown| shown == line), "{line}\n{rendered}");
    }
}

#[tokio::test]
async fn a_failure_is_told_by_its_code() {
    let status = embed(9, false, 1).await.expect_err("is limited");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let reason = status.get_details_error_info().expect("has a reason").reason;
    assert_eq!(reason, FailureCode::UpstreamRateLimit.as_str_name());
    let after = status.get_details_retry_info().expect("says when").retry_delay;
    assert_eq!(after, Some(Duration::from_secs(7)));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_does_not_come_back_is_given_up() {
    let status = embed(0, true, 1).await.expect_err("takes too long");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn too_many_texts_and_none_are_refused() {
    for texts in [0, 2049] {
        let status = embed(0, false, texts).await.expect_err("is refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{texts}");
    }
}
