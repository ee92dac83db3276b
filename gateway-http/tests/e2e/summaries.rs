//! A session that outgrows its model: the oldest is summed up, and the summary stands for it from then on.

use serde_json::json;

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::{Asked, Reply},
};

each_topology![a_long_session_is_summed_up_and_goes_on, a_session_without_a_summary_goes_on_all_the_same,];

/// A gateway whose model takes 8,000 tokens.
async fn small(topology: Topology) -> Gateway {
    let models = json!([{"id": "test-model", "contextWindow": 8_000}]);
    Gateway::with_config(topology, json!({"models": {"providers": {"stub": {"models": models}}}})).await
}

/// What alice says in one turn, about 1,250 tokens of it.
fn fact(number: usize) -> String {
    format!("FACT{number} {}", "word ".repeat(1_000))
}

fn is_for_a_summary(asked: &Asked) -> bool {
    asked.system().contains("You sum up a conversation")
}

async fn a_long_session_is_summed_up_and_goes_on(topology: Topology) {
    let gateway = small(topology).await;
    let mut summaries = Vec::new();
    for turn in 0..8 {
        let before = gateway.provider.asked().len();
        // The provider says nothing of tokens, so that they are estimated.
        gateway.provider.answers(Reply::stream().delta("noted").finish("stop").done());
        assert_eq!(gateway.ask(&fact(turn)).user("alice").send().await.content(), "noted");
        let asked = gateway.provider.asked().split_off(before);
        summaries.extend(asked.iter().filter(|asked| is_for_a_summary(asked)).cloned());
        // Whatever happened, the model that answers sees the newest message last.
        assert!(asked.last().unwrap().conversation().last().unwrap().contains(&format!("FACT{turn} ")));
    }
    assert!(!summaries.is_empty(), "nothing was summed up");
    let last = gateway.provider.last_asked();
    let seen = format!("{:?}", last.conversation());
    let summed_up: Vec<_> = summaries.iter().flat_map(Asked::conversation).collect();
    let summed_up = summed_up.join("\n");
    for turn in 0..8 {
        let fact = format!("FACT{turn} ");
        assert!(seen.contains(&fact) || summed_up.contains(&fact), "{fact}is forgotten");
    }
    assert!(last.conversation()[0].starts_with("user: What was said before this, summed up:"), "{seen}");
    assert!(!seen.contains("FACT0 "), "{seen}");

    // The summary is kept, and the transcript is whole.
    let key = "agent:main:openai-user:alice";
    let kept = gateway.session("GET", key, "/messages?limit=100").send().await.json();
    let kept = kept["data"].as_array().unwrap().clone();
    let (marked, said): (Vec<_>, Vec<_>) = kept.into_iter().partition(|message| message["is_summary"] == true);
    assert_eq!(said.len(), 16);
    // One summary may take several questions.
    assert!((1..=summaries.len()).contains(&marked.len()), "{}", marked.len());
}

async fn a_session_without_a_summary_goes_on_all_the_same(topology: Topology) {
    let gateway = small(topology).await;
    for turn in 0..8 {
        // Empty, which is no summary; and an answer is an answer.
        gateway.provider.answers(Reply::stream().finish("stop").done());
        let answer = gateway.ask(&fact(turn)).user("alice").send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert!(gateway.provider.asked().iter().any(is_for_a_summary));
    assert!(format!("{:?}", gateway.provider.last_asked().conversation()).contains("FACT0 "));
}
