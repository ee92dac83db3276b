//! Pictures in runs: what is kept, and what is sent.

use proto::session::v1::{Image, Part, part};

use super::{
    fakes::{Dialogue, Setup},
    *,
};

fn showing(url: &str, path: &str) -> Message {
    let image = Image { url: url.to_owned(), path: path.to_owned(), ..Image::default() };
    let parts = vec![Part { kind: Some(part::Kind::Image(image)) }];
    Message { role: Role::User.into(), parts, ..Message::default() }
}

fn answer() -> Dialogue {
    Dialogue::of([Script::of([text("a dot"), Event::Finished(FinishReason::Stop)])])
}

#[tokio::test]
async fn a_picture_is_kept_as_it_was_sent_and_shown_as_what_it_is() {
    let (store, model) = (FakeStore::default(), answer());
    let (mut client, _service) = Setup::of(model.clone()).runner(&store);
    let misnamed = "data:image/jpeg;base64,iVBORw0KGgo=";
    let input = vec![showing(misnamed, "messages[0].content[0].image_url")];
    run(&mut client, RunRequest { input, ..request("r1") }).await;
    assert_eq!(model.asked()[0].messages, [showing("data:image/png;base64,iVBORw0KGgo=", "")]);
    let committed = vec![showing(misnamed, ""), message(Role::Assistant, "a dot")];
    assert_eq!(store.calls(), [Call::Begin, Call::Commit(committed)]);
}

#[tokio::test]
async fn a_picture_that_cannot_be_shown_fails_the_run_before_it_begins() {
    let (store, model) = (FakeStore::default(), answer());
    let (mut client, _service) = Setup::of(model.clone()).runner(&store);
    let input = vec![showing("https://example.com/a.png", "input[0].content[0]")];
    let kinds = run(&mut client, RunRequest { input, ..request("r1") }).await;
    let [Kind::Failed(failed)] = kinds.as_slice() else { panic!("{kinds:?}") };
    assert_eq!((failed.code(), failed.param.as_str()), (FailureCode::InvalidRequest, "input[0].content[0]"));
    assert!(!failed.retryable);
    assert!(model.asked().is_empty());
    assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
}
