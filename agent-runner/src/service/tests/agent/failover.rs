//! Runs whose model does not answer, or not to the end.

use super::*;

#[tokio::test(start_paused = true)]
async fn another_model_answers_when_the_first_does_not() {
    let classes: [fn() -> Error; 8] = [
        || Error::RateLimited { retry_after: None },
        || Error::Unauthorized,
        || Error::QuotaExceeded,
        || Error::ProviderOverloaded { retry_after: None },
        || Error::TimedOut,
        || Error::Failed("HTTP 500".to_owned()),
        || Error::InvalidRequest("no".to_owned()),
        || Error::ContextLengthExceeded("too long".to_owned()),
    ];
    for class in classes {
        let (first, second) = (Dialogue::of([Script::failing([], class)]), Dialogue::of([says("hello")]));
        let store = FakeStore::default();
        let mut setup = Setup::of(first.clone());
        setup.models.push(("other", Arc::new(second.clone())));
        let (mut client, _service) = setup.runner(&store);
        for run_id in ["r1", "r2"] {
            let kinds = run(&mut client, request(run_id)).await;
            assert_eq!(heard(&kinds), "hello", "{:?}: {kinds:?}", class());
            assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
        }
        assert_eq!(second.asked().len(), 2);
        let is_its_own_fault = matches!(class(), Error::InvalidRequest(_) | Error::ContextLengthExceeded(_));
        let asked_before = first.asked().len();
        run(&mut client, request("r3")).await;
        // A provider that cools down is not asked; a request that was at fault says nothing of its provider.
        assert_eq!(first.asked().len() > asked_before, is_its_own_fault, "{:?}", class());
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_takes_over_is_offered_nothing_that_it_may_not_use() {
    let first = Dialogue::of([Script::failing([], || Error::Overloaded)]);
    let second = Dialogue::of([calls(&["c1:secret"]), says("hello")]);
    let tools = vec![fake("open", Does::Says("o")), fake("secret", Does::Says("s"))];
    let rules = policy(json!({"profile": "full", "byProvider": {"other": {"deny": ["secret"]}}}));
    let mut setup = Setup { tools, policy: rules, ..Setup::of(first.clone()) };
    setup.models.push(("other", Arc::new(second.clone())));
    let (mut client, _service) = setup.runner(&FakeStore::default());
    assert_eq!(heard(&run(&mut client, request("r1")).await), "hello");
    let asked = [first.asked(), second.asked()].concat();
    for question in &asked {
        let offered: Vec<&str> = question.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(offered, ["open"]);
    }
    let refusal = asked.last().and_then(|question| question.messages.last()).expect("the call has a result");
    assert!(refusal.parts.iter().any(|part| format!("{part:?}").contains("Error: ")), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_heard_is_never_begun_again() {
    let first = Dialogue::of([Script::failing([text("he")], || Error::Failed("it broke".to_owned()))]);
    let second = Dialogue::of([says("hello")]);
    let mut setup = Setup::of(first.clone());
    setup.models.push(("other", Arc::new(second.clone())));
    let (mut client, _service) = setup.runner(&FakeStore::default());
    let kinds = run(&mut client, request("r1")).await;
    assert_eq!((heard(&kinds).as_str(), failure_code(&kinds)), ("he", Some(FailureCode::UpstreamError)));
    assert_eq!((first.asked().len(), second.asked().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_only_thought_can_be_asked_again() {
    let thinks = Event::Reasoning("hm".to_owned());
    let first = Script::failing([thinks], || Error::Failed("HTTP 500".to_owned()));
    let (mut client, _service) = Setup::of(Dialogue::of([first, says("hello")])).runner(&FakeStore::default());
    let kinds = run(&mut client, request("r1")).await;
    assert_eq!(heard(&kinds), "hello");
    assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_not_even_noticed() {
    let broken = Script::failing([], || Error::Failed("HTTP 500".to_owned()));
    let dialogue = Dialogue::of([broken.clone(), broken, says("hello")]);
    let (mut client, _service) = Setup::of(dialogue.clone()).runner(&FakeStore::default());
    let kinds = run(&mut client, request("r1")).await;
    assert_eq!(heard(&kinds), "hello");
    assert_eq!(dialogue.asked().len(), 3);
}
