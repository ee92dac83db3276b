//! Which thoughts and signatures of a conversation a provider is sent: those that it wants back, and nobody else's.
//!
//! Providers check them: a thought of another provider's, or one that stood in another prompt, has the whole request
//! refused.

use std::borrow::Cow;

use proto::session::v1::{Message, Part, Reasoning, Role, ToolCall, part::Kind};

use super::{Error, Request};

/// What the refusals of a thought or a signature have in common.
const REFUSAL_PHRASES: &[&str] = &[
    "signature",
    "thinking",
    "thought",
    "reasoning",
    "encrypted content",
    "encrypted_content",
    "bound to a different conversation",
];

/// The request with no thoughts but what `origin` wants back: its own that led to calls, as far back as the present turn
/// goes, and its own signatures of calls.
pub(super) fn wanted_by<'a>(origin: &str, request: &'a Request) -> Cow<'a, Request> {
    let turn = present_turn(&request.messages);
    let keeps_thought =
        |index, thought: &Reasoning| index >= turn && thought.origin == origin && !thought.signature.is_empty();
    sift(request, keeps_thought, |call| call.signature_origin == origin)
}

/// The request without thoughts and signatures; `None` when it has none.
pub(super) fn without(request: &Request) -> Option<Request> {
    match sift(request, |_, _| false, |_| false) {
        Cow::Owned(bare) => Some(bare),
        Cow::Borrowed(_) => None,
    }
}

/// Whether an error may be about a thought or a signature.
pub(super) fn may_be_refused(error: &Error) -> bool {
    let Error::InvalidRequest(message) = error else { return false };
    let message = message.to_ascii_lowercase();
    REFUSAL_PHRASES.iter().any(|phrase| message.contains(phrase))
}

/// Where the present turn begins: with the last thing that the user said, unless that follows a tool's results at once.
fn present_turn(messages: &[Message]) -> usize {
    let mut follows_result = false;
    let mut turn = 0;
    for (index, message) in messages.iter().enumerate() {
        match message.role() {
            Role::User | Role::Unspecified if !follows_result => turn = index,
            Role::User | Role::Unspecified | Role::System | Role::Developer => {}
            Role::Tool => follows_result = true,
            Role::Assistant => follows_result = false,
        }
    }
    turn
}

/// Copies the request only if it has to lose something.
fn sift(
    request: &Request,
    keeps_thought: impl Fn(usize, &Reasoning) -> bool,
    keeps_signature: impl Fn(&ToolCall) -> bool,
) -> Cow<'_, Request> {
    let keeps_part = |index: usize, has_calls: bool, part: &Part| match &part.kind {
        Some(Kind::Reasoning(thought)) => has_calls && keeps_thought(index, thought),
        Some(Kind::Text(_) | Kind::Image(_) | Kind::Audio(_) | Kind::File(_) | Kind::Refusal(_)) | None => true,
    };
    let keeps_call = |call: &ToolCall| call.signature.is_empty() || keeps_signature(call);
    let is_fine = request.messages.iter().enumerate().all(|(index, message)| {
        let has_calls = !message.tool_calls.is_empty();
        message.parts.iter().all(|part| keeps_part(index, has_calls, part)) && message.tool_calls.iter().all(keeps_call)
    });
    if is_fine {
        return Cow::Borrowed(request);
    }
    let mut sifted = request.clone();
    for (index, message) in sifted.messages.iter_mut().enumerate() {
        let has_calls = !message.tool_calls.is_empty();
        message.parts.retain(|part| keeps_part(index, has_calls, part));
        for call in &mut message.tool_calls {
            if !keeps_call(call) {
                call.signature.clear();
            }
        }
    }
    Cow::Owned(sifted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{message, reasoning, result, text, tool_call};

    /// A conversation as `role: parts`, and what is left of its signatures.
    fn shown(request: &Request) -> Vec<String> {
        let thought = |part: &Part| match &part.kind {
            Some(Kind::Reasoning(thought)) => thought.text.clone(),
            _ => "text".to_owned(),
        };
        let shown = |message: &Message| {
            let signatures = message.tool_calls.iter().map(|call| format!("call {}", call.signature));
            message.parts.iter().map(thought).chain(signatures).collect::<Vec<_>>().join(", ")
        };
        request.messages.iter().map(shown).collect()
    }

    fn calling(origin: &str, thought: &str) -> Message {
        let call = ToolCall { signature: "s".to_owned(), signature_origin: origin.to_owned(), ..tool_call("c", "{}") };
        Message {
            tool_calls: vec![call],
            ..message(Role::Assistant, vec![reasoning(origin, thought, "sig"), text("let me")])
        }
    }

    #[test]
    fn a_provider_is_sent_its_own_thoughts_of_the_present_turn() {
        let says = |role: Role| message(role, vec![text("hi")]);
        let check = |messages: Vec<Message>, expected: &[&str]| {
            let request = Request { messages, ..Request::default() };
            assert_eq!(shown(&wanted_by("a/p", &request)), expected);
        };
        let past = || vec![says(Role::User), calling("a/p", "past"), result("c", vec![])];
        let now = |origin| {
            [past(), vec![says(Role::Assistant), says(Role::User), calling(origin, "now"), result("c", vec![])]]
        };
        let before = ["text", "text, call s", "", "text", "text"];
        check(now("a/p").concat(), &[&before[..], &["now, text, call s", ""]].concat());
        check(now("b/p").concat(), &[&before[..], &["text, call ", ""]].concat());
        // Results and what the user adds to them are one turn.
        check([past(), vec![says(Role::User)]].concat(), &["text", "past, text, call s", "", "text"]);
        // A thought that led to no call, or that is not signed, is nobody's.
        let thinking = message(Role::Assistant, vec![reasoning("a/p", "idle", "sig")]);
        let unsigned = Message {
            tool_calls: vec![tool_call("c", "{}")],
            ..message(Role::Assistant, vec![reasoning("a/p", "unsigned", "")])
        };
        check(vec![says(Role::User), thinking, unsigned], &["text", "", "call "]);
    }

    #[test]
    fn a_request_without_thoughts_is_not_copied() {
        let request = Request { messages: vec![message(Role::User, vec![text("hi")])], ..Request::default() };
        assert!(matches!(wanted_by("a/p", &request), Cow::Borrowed(_)));
        assert_eq!(without(&request).map(|bare| bare.messages), None);
        let request = Request { messages: vec![calling("a/p", "hm")], ..Request::default() };
        assert_eq!(without(&request).map(|bare| shown(&bare)), Some(vec!["text, call ".to_owned()]));
    }

    #[test]
    fn a_refused_thought_is_told_from_other_refusals() {
        let check = |message: &str, expected: bool| {
            assert_eq!(may_be_refused(&Error::InvalidRequest(message.to_owned())), expected, "{message}");
        };
        check("messages.1.content.0: Invalid `signature` in `thinking` block", true);
        check(
            "The encrypted content gAAA could not be verified. Reason: Encrypted content could not be decrypted",
            true,
        );
        check("Thought signature is not valid", true);
        check("The block is bound to a different conversation", true);
        check("property 'reasoning_content' is unsupported", true);
        check("max_tokens: must be at least 1", false);
        assert!(!may_be_refused(&Error::Failed("signature".to_owned())));
    }
}
