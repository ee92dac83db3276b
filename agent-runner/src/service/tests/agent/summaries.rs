//! Runs whose conversation has become too long for the model.

use super::*;

/// A transcript of about so many thousand tokens.
fn long_transcript(thousands: usize) -> Vec<Message> {
    let long = "x".repeat(4_000);
    let role = |index: usize| if index.is_multiple_of(2) { Role::User } else { Role::Assistant };
    (0..thousands).map(|index| message(role(index), &format!("<{index}> {long}"))).collect()
}

#[tokio::test]
async fn a_conversation_that_fills_the_model_is_summed_up_and_the_summary_is_kept() {
    let transcript = long_transcript(190);
    let store = FakeStore { transcript: transcript.clone(), ..FakeStore::default() };
    let dialogue = Dialogue::of([says("They spoke of y."), says("They spoke of x."), says("hello")]);
    let (mut client, _service) = Setup::of(dialogue.clone()).runner(&store);
    let kinds = run(&mut client, request("r1")).await;
    assert_eq!(heard(&kinds), "hello");

    let Some(Call::Commit(turn)) = store.calls().pop() else { panic!("{:?}", store.calls()) };
    let summary = &turn[1];
    assert_eq!(
        *summary,
        Message {
            compaction: summary.compaction,
            ..message(Role::User, "What was said before this, summed up:\n\nThey spoke of x.")
        }
    );
    let kept = summary.compaction.expect("a summary").kept_messages as usize;
    assert!((18..=20).contains(&kept), "{kept}");
    assert_eq!(turn, [message(Role::User, "hi"), summary.clone(), message(Role::Assistant, "hello")]);

    let asked = dialogue.asked();
    // Every message is summed up, in as many pieces as fit the model, each with the summary of those before.
    let pieces = format!("{:?}{:?}", asked[0].messages, asked[1].messages);
    for index in 0..transcript.len() - (kept - 1) {
        assert!(pieces.contains(&format!("<{index}> ")), "{index} is forgotten");
    }
    assert!(format!("{:?}", asked[1].messages).contains("They spoke of y."));
    assert_eq!((asked[0].messages.len(), asked[0].tools.len()), (1, 0));
    // Then the model sees the summary in the place of the rest.
    let newest = transcript[transcript.len() - (kept - 1)..].iter().cloned();
    let seen: Vec<Message> = [summary.clone()].into_iter().chain(newest).chain([message(Role::User, "hi")]).collect();
    assert_eq!(asked[2].messages, seen);
}

#[tokio::test]
async fn what_is_too_long_to_be_summed_up_at_once_is_halved() {
    // A model that takes less than it was thought to.
    let too_long = || Script::failing([], || Error::ContextLengthExceeded("too long".to_owned()));
    let store = FakeStore { transcript: long_transcript(20), ..FakeStore::default() };
    let sums = [too_long(), too_long(), says("one"), says("two"), says("three"), says("hello")];
    let dialogue = Dialogue::of([too_long()].into_iter().chain(sums));
    let (mut client, _service) = Setup::of(dialogue.clone()).runner(&store);
    let kinds = run(&mut client, request("r1")).await;
    assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
    let asked: Vec<usize> = dialogue.asked().iter().map(|asked| format!("{:?}", asked.messages).len()).collect();
    assert!(asked[2] < asked[1] * 2 / 3 && asked[3] < asked[2] * 2 / 3, "{asked:?}");
}

#[tokio::test]
async fn without_a_whole_summary_nothing_is_replaced() {
    let cut_off = Script::of([text("They sp"), finished(FinishReason::Length)]);
    for summary in [says(" "), cut_off, Script::failing([], || Error::Unauthorized)] {
        let store = FakeStore { transcript: long_transcript(190), ..FakeStore::default() };
        let dialogue = Dialogue::of([summary, says("hello")]);
        let (mut client, _service) = Setup::of(dialogue.clone()).runner(&store);
        assert_eq!(heard(&run(&mut client, request("r1")).await), "hello");
        let Some(Call::Commit(turn)) = store.calls().pop() else { panic!("{:?}", store.calls()) };
        assert_eq!(turn, [message(Role::User, "hi"), message(Role::Assistant, "hello")]);
        assert_eq!(dialogue.asked()[1].messages.len(), 191);
    }
}

#[tokio::test]
async fn a_conversation_that_the_model_finds_too_long_is_summed_up_once() {
    let too_long = || Script::failing([], || Error::ContextLengthExceeded("too long".to_owned()));
    let store = FakeStore { transcript: long_transcript(20), ..FakeStore::default() };
    let dialogue = Dialogue::of([too_long(), says("x"), says("hello")]);
    let (mut client, _service) = Setup::of(dialogue.clone()).runner(&store);
    assert_eq!(heard(&run(&mut client, request("r1")).await), "hello");
    let lengths: Vec<_> = dialogue.asked().iter().map(|asked| asked.messages.len()).collect();
    assert_eq!(lengths[..2], [21, 1]);
    assert!(lengths[2] <= 12, "{lengths:?}");

    let dialogue = Dialogue::of([too_long(), says("x"), too_long()]);
    let (mut client, _service) = Setup::of(dialogue.clone()).runner(&store);
    let kinds = run(&mut client, request("r2")).await;
    assert_eq!(failure_code(&kinds), Some(FailureCode::ContextLengthExceeded));
    assert_eq!(dialogue.asked().len(), 3);
}
