//! Which models and keys one question goes to, by how they fail.

use std::{collections::HashMap, sync::Arc};

use futures_util::stream;

use super::*;
use crate::{
    config::{Models, Profiles, Provided},
    failover::{Before, Patience},
    model::{Error, EventStream, Model, Request},
};

struct Never;

impl Model for Never {
    fn stream(&self, _: &Request) -> EventStream {
        Box::pin(stream::empty())
    }
}

/// `a/m`, then `b/m`, where the provider `a` has so many keys.
fn candidates(keys_of_a: usize) -> (Failover, Vec<Candidate>) {
    let provided = |keys: usize| Provided {
        keys: (0..keys).map(|_| Arc::new(Never) as Arc<dyn Model>).collect(),
        names: Arc::new(["m".to_owned()]),
        profiles: Profiles::default(),
    };
    let models: Models = HashMap::from([("a".to_owned(), provided(keys_of_a)), ("b".to_owned(), provided(1))]);
    let patience = Patience { retries: 1, longest_pause: Duration::from_secs(5) };
    let candidate = |id: &str| Candidate {
        name: format!("{id}/m").parse().expect("a name"),
        provided: models[id].clone(),
        is_configured: true,
    };
    (Failover::new(&models, patience, None), vec![candidate("a"), candidate("b")])
}

/// The way of a question whose every attempt fails like this, as `provider:key`, with `~` for one after a pause.
fn way(failover: &Failover, candidates: &[Candidate], error: impl Fn() -> Error) -> (String, Failure) {
    let (mut plan, first) = Plan::new(failover, candidates);
    let told = |attempt: Attempt| {
        let pause = if attempt.pause.is_zero() { "" } else { "~" };
        format!("{pause}{}:{}", candidates[attempt.candidate].name.provider, attempt.key)
    };
    let mut way = vec![told(first)];
    while let Some(next) = plan.failed(error()) {
        way.push(told(next));
        assert!(way.len() < 20, "it never ends: {way:?}");
    }
    (way.join(" "), plan.failure())
}

#[tokio::test(start_paused = true)]
async fn what_is_known_outlives_a_configuration_as_far_as_the_same_is_asked() {
    let models = |candidates: &[Candidate]| -> Models {
        candidates.iter().map(|candidate| (candidate.name.provider.clone(), candidate.provided.clone())).collect()
    };
    let (failover, before) = candidates(2);
    let began_with = |failover: &Failover, candidates: &[Candidate]| {
        let (_, Attempt { candidate, key, .. }) = Plan::new(failover, candidates);
        format!("{}:{key}", candidates[candidate].name.provider)
    };
    let (mut plan, _) = Plan::new(&failover, &before);
    plan.failed(limited(None));
    assert_eq!(began_with(&failover, &before), "a:1");
    let patience = failover.patience;
    let known = models(&before);
    let follow = |after: &[Candidate]| {
        Failover::new(&models(after), patience, Some(Before { failover: &failover, models: &known }))
    };
    assert_eq!(began_with(&follow(&before), &before), "a:1");
    // The key that failed is another one now.
    let (_, mut after) = candidates(2);
    after[0].provided.keys[1] = before[0].provided.keys[1].clone();
    assert_eq!(began_with(&follow(&after), &after), "a:0");
    // A provider that is down is down for its new key, too.
    let (mut plan, _) = Plan::new(&failover, &before);
    plan.broke_off(&Error::ProviderOverloaded { retry_after: None });
    assert_eq!(began_with(&follow(&after), &after), "b:0");
}

fn limited(seconds: Option<u64>) -> Error {
    Error::RateLimited { retry_after: seconds.map(Duration::from_secs) }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_failure_has_its_way() {
    let check = |keys: usize, error: fn() -> Error, expected: &str| {
        let (failover, candidates) = candidates(keys);
        assert_eq!(way(&failover, &candidates, error).0, expected, "{:?} with {keys} keys", error().class());
    };
    // What may pass is tried again.
    check(1, || Error::Failed(String::new()), "a:0 ~a:0 b:0 ~b:0");
    check(1, || Error::ProviderOverloaded { retry_after: None }, "a:0 ~a:0 b:0 ~b:0");
    check(1, || Error::Overloaded, "a:0 ~a:0 b:0 ~b:0");
    check(1, || Error::Slipped(String::new()), "a:0 ~a:0 b:0 ~b:0");
    check(1, || limited(None), "a:0 ~a:0 b:0 ~b:0");
    check(1, || limited(Some(3)), "a:0 ~a:0 b:0 ~b:0");
    // A provider that asks for more patience than there is isn't.
    check(1, || limited(Some(6)), "a:0 b:0");
    // Another key comes before another try, where it is the key that is at fault.
    check(3, || limited(None), "a:0 a:1 a:2 ~a:2 b:0 ~b:0");
    check(3, || Error::Unauthorized, "a:0 a:1 a:2 b:0");
    check(3, || Error::QuotaExceeded, "a:0 a:1 a:2 b:0");
    // Where it is not, no other key is asked.
    check(3, || Error::Failed(String::new()), "a:0 ~a:0 b:0 ~b:0");
    check(3, || Error::Idle(Duration::from_secs(120)), "a:0 b:0");
    check(3, || Error::TimedOut, "a:0 b:0");
    check(3, || Error::InvalidRequest(String::new()), "a:0 b:0");
    check(3, || Error::ContextLengthExceeded(String::new()), "a:0 b:0");
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_left_alone_for_a_while() {
    let (failover, candidates) = candidates(1);
    let first_asked = || {
        let (plan, first) = Plan::new(&failover, &candidates);
        plan.answered();
        candidates[first.candidate].name.provider.as_str()
    };
    let fail_first = |error: Error| {
        let (mut plan, _) = Plan::new(&failover, &candidates);
        let next = plan.failed(error).expect("there is another model");
        assert_eq!(next.candidate, 1);
        plan.answered();
    };
    assert_eq!(first_asked(), "a");
    fail_first(Error::Unauthorized);
    assert_eq!(first_asked(), "b");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(first_asked(), "b");
    tokio::time::advance(Duration::from_secs(1)).await;
    fail_first(Error::TimedOut);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(first_asked(), "a");
    // It has answered, so that only the next failure in a row takes longer.
    fail_first(Error::QuotaExceeded);
    tokio::time::advance(Duration::from_secs(5 * 3600 - 1)).await;
    assert_eq!(first_asked(), "b");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(first_asked(), "a");
    // The request's own fault is nobody's else.
    fail_first(Error::InvalidRequest(String::new()));
    fail_first(Error::ContextLengthExceeded(String::new()));
    assert_eq!(first_asked(), "a");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_broke_off_says_who_is_to_be_left_alone() {
    let check = |error: fn() -> Error, next: &str| {
        let (failover, candidates) = candidates(1);
        Plan::new(&failover, &candidates).0.broke_off(&error());
        let (_, first) = Plan::new(&failover, &candidates);
        assert_eq!(candidates[first.candidate].name.provider, next, "{:?}", error().class());
    };
    check(|| limited(None), "b");
    check(|| Error::ProviderOverloaded { retry_after: None }, "b");
    check(|| Error::Failed("the connection to it broke".to_owned()), "a");
}

#[tokio::test(start_paused = true)]
async fn when_everything_cools_down_one_is_asked_all_the_same() {
    let (failover, candidates) = candidates(2);
    let failed = || Error::Unauthorized;
    assert_eq!(way(&failover, &candidates, failed).0, "a:0 a:1 b:0");
    // Once each, and with the key that is ready soonest.
    assert_eq!(way(&failover, &candidates, failed).0, "a:0 b:0");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(way(&failover, &candidates, failed).0, "a:0 a:1 b:0");
}

#[tokio::test(start_paused = true)]
async fn of_what_cools_down_the_soonest_is_asked_first() {
    let (failover, candidates) = candidates(1);
    // The first is out of credit, the second had a bad moment.
    let (mut plan, _) = Plan::new(&failover, &candidates);
    plan.failed(Error::QuotaExceeded);
    plan.failed(Error::TimedOut);
    assert_eq!(way(&failover, &candidates, || Error::TimedOut).0, "b:0 a:0");
    // Also when the first refuses the request, and nothing else is left.
    let (failover, candidates) = self::candidates(1);
    Plan::new(&failover, &candidates[1..]).0.broke_off(&limited(None));
    assert_eq!(way(&failover, &candidates, || Error::InvalidRequest(String::new())).0, "a:0 b:0");
}

#[tokio::test(start_paused = true)]
async fn the_failure_is_the_first_that_may_pass_and_names_them_all() {
    let (failover, candidates) = candidates(1);
    let (_, failure) = way(&failover, &candidates, || limited(Some(9)));
    let limit = "the model provider limits the rate of requests; try again later";
    assert_eq!(failure.to_string(), format!("no model answered: a/m: {limit}; b/m: {limit}"));
    assert_eq!(failure.code(), proto::agent::v1::FailureCode::UpstreamRateLimit);
    let (failover, candidates) = self::candidates(1);
    let (mut plan, _) = Plan::new(&failover, &candidates);
    plan.failed(Error::Unauthorized);
    plan.failed(limited(Some(9)));
    assert_eq!(plan.failure().code(), proto::agent::v1::FailureCode::UpstreamRateLimit);
    let (failover, candidates) = self::candidates(1);
    let (_, failure) = way(&failover, &candidates[..1], || limited(None));
    assert_eq!(failure.to_string(), limit);
}
