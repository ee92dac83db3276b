//! What users of upstream have complained of, and what answers it here. The numbers are those of openclaw/openclaw.
//!
//! | complaint | test |
//! |---|---|
//! | #23013, #115718 no finish chunk, only `[DONE]` | `streaming::a_stream_is_role_then_text_then_finish_then_done`, `streaming::a_stream_without_text_still_ends_properly` |
//! | #124038, #124039, #113770 a failed run looks like a success | all of `upstream_errors` and `error_table` |
//! | #81991, #82355, #115652 the first `<` or the last fragment is lost | [`no_letter_of_a_text_is_lost`], `streaming::text_survives_any_cut_of_the_providers_bytes` |
//! | #70739 no keep-alive | `streaming::an_idle_stream_is_kept_alive_by_comments` |
//! | #54174 tools at work are not seen; #68374, #56674, #80861 nor are thoughts | `visible_events::tools_and_thoughts_are_streamed_to_those_who_ask` |
//! | #82484 a run should go on after a hang-up | `resume::a_client_that_has_its_run_go_on_may_hang_up` |
//! | #54388, #61742, #148317 a hang-up does not cancel | all of `cancellation` |
//! | #71128, #30558, #66531 no way to abort | `session_changes::an_abort_stops_the_turn_in_flight` |
//! | #44026 requests to one agent run one after the other | [`requests_to_one_agent_run_at_once`], `sessions::turns_of_different_sessions_do_not_wait` |
//! | #69112 concurrent callers are dropped in silence | `limits::a_turn_that_waits_too_long_is_told_to_come_back` |
//! | #71118 usage is always zero | `completions::an_answer_carries_the_providers_usage`, `streaming::a_stream_ends_with_its_usage_when_asked` |
//! | #81274, #83661, #83664 options are dropped | `completions::options_reach_the_provider` |
//! | #17685, #84918 images are ignored | `images::a_picture_reaches_the_model_as_what_it_is`, `history::a_picture_arrives_as_a_part` |
//! | #5643 and monomind #243 tools are dropped | all of `tools` and of `clients` |
//! | #20731, #68647 no CORS | `protection::listed_pages_may_use_the_gateway` |
//! | #30381 an unknown model is refused, even beside an agent's header | [`an_unknown_model_does_not_hinder_the_agent_in_the_header`] |
//! | #80418 fields that clients send are refused | [`fields_that_nobody_knows_are_taken`], `responses::what_is_asked_reaches_the_provider` |
//! | #42232 another model for one request | `completions::a_header_names_another_model` |
//! | #78091 a new session for every message | `conversations::a_listed_header_continues_its_conversation` |
//! | #126461, #126616 `user` is one session for all, without bounds | `sessions::users_do_not_share_a_session`, `summaries::a_long_session_is_summed_up_and_goes_on` |
//! | #37765, #94908 `user` does not continue | `sessions::a_users_second_turn_holds_the_first_once`, `responses::a_response_is_followed_by_its_id` |
//! | #20934 no sessions over HTTP, and slash commands are plain text | all of `sessions_over_http` and `session_changes`; the README says which stands for which |
//! | #55334, #22506, #69450, #55768, #92608 every request bloats the store | `sessions::a_stateless_request_leaves_nothing_behind` |
//! | #1147 history is ignored | `history::history_arrives_as_real_turns` |
//! | #13602, #3507, #33518 no probes | `contract::probes_need_no_secret`, `metrics::every_process_has_probes_that_follow_it` |
//! | #13868 a provider's error is not logged | [`a_providers_error_is_logged`] |
//! | #56763 and others, a valid token is forbidden | `ownership::a_named_token_opens_the_gateway`: there are no scopes |
//! | #43903, #89314, #15334 one token for all | `ownership::the_same_user_of_two_tokens_has_two_sessions` |
//! | #29567 no rate limits | all of `caller_limits`, `protection::who_guesses_secrets_is_locked_out_by_the_address_behind_the_proxy` |
//! | #11793 any session key is taken | `ownership::a_session_key_in_a_header_reaches_no_other_namespace` |

use serde_json::json;

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::{Gate, Reply},
};

each_topology![
    no_letter_of_a_text_is_lost,
    requests_to_one_agent_run_at_once,
    an_unknown_model_does_not_hinder_the_agent_in_the_header,
    fields_that_nobody_knows_are_taken,
    a_providers_error_is_logged,
];

async fn no_letter_of_a_text_is_lost(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for deltas in [["<", "b> is bold", "</b>"], ["<think", "> not a thought", " <"], ["a", "\n", "\n"], [" ", "x", " "]]
    {
        gateway.provider.answers(Reply::text(&deltas));
        let text = deltas.concat();
        assert_eq!(gateway.ask("hi").send().await.content(), text);
        let events = gateway.ask("hi").stream().await.end().await;
        assert_eq!(events.content(), text);
    }
}

async fn requests_to_one_agent_run_at_once(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::text(&["hello"]).after(&gate));
    let answers: Vec<_> = (0..8).map(|_| tokio::spawn(gateway.ask("hi").send())).collect();
    // All are at the provider before any is answered.
    gateway.provider.request(answers.len()).await;
    gate.open();
    for answer in answers {
        assert_eq!(answer.await.unwrap().content(), "hello");
    }
}

async fn an_unknown_model_does_not_hinder_the_agent_in_the_header(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for model in ["gpt-4o", "anthropic/claude", "", "beta"] {
        let answer = gateway.ask("hi").with("model", model).header("x-clawdbot-agent-id", "beta").send().await;
        assert_eq!(answer.content(), "hello", "{model:?}");
        assert!(answer.session_key().starts_with("agent:beta:"), "{model:?}: {}", answer.session_key());
        assert_eq!(answer.json()["model"], model);
    }
}

async fn fields_that_nobody_knows_are_taken(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let fields = json!({
        "x_of_the_future": {"deep": [1, null, "text"]},
        "chat_id": "1",
        "extra_body": {},
        "top_k": 40,
        "keep_alive": "5m",
        "enable_thinking": false,
    });
    let request = fields
        .as_object()
        .unwrap()
        .iter()
        .fold(gateway.ask("hi"), |request, (name, value)| request.with(name, value.clone()));
    assert_eq!(request.clone().send().await.content(), "hello");
    assert_eq!(request.stream().await.end().await.content(), "hello");
}

async fn a_providers_error_is_logged(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::error(401, "invalid_request_error", "invalid_api_key", "the key has expired"));
    let answer = gateway.ask("hi").send().await;
    answer.assert_error(502, "api_error", "upstream_auth");
    // What the provider wrote may hold what it was asked, so the log has its codes.
    let logs = gateway.logs();
    let line =
        logs.lines().find(|line| line.contains("a model provider refused a request")).expect("a line of its own");
    for told in [r#""stub""#, "401", r#""invalid_api_key""#] {
        assert!(line.contains(told), "{told} is not in {line}");
    }
}
