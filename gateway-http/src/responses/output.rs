//! A run's output as items: what a whole answer lists, and what the events of a stream tell piece by piece.

use proto::agent::v1::{ToolCallDelta, run_event::Kind};
use serde::Serialize;

/// The items so far. The same events make the same items, under the same ids.
pub(super) struct Output {
    /// What the items' ids end with.
    suffix: String,
    items: Vec<Item>,
    /// Where among the items a call is that its deltas know by their index. Several may go on at once, so that all of
    /// them end with the response.
    calls: Vec<(u32, usize)>,
}

/// One item.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    Message(Message),
    FunctionCall(FunctionCall),
}

/// What the agent says between two calls of tools.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) id: String,
    status: &'static str,
    role: &'static str,
    pub(super) content: Vec<Content>,
}

/// A call of one of the client's tools.
#[derive(Debug, Serialize)]
pub(super) struct FunctionCall {
    pub(super) id: String,
    status: &'static str,
    call_id: String,
    name: String,
    pub(super) arguments: String,
}

/// A part of a message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content {
    OutputText { text: String, annotations: [(); 0], logprobs: [(); 0] },
    Refusal { refusal: String },
}

/// What an event changes, told to whoever writes a stream; `usize`s are places among the items and their parts.
pub(super) enum Change<'a> {
    ItemAdded(usize, &'a Item),
    PartAdded(usize, usize, &'a Message),
    TextDelta(usize, usize, &'a Message, &'a str),
    RefusalDelta(usize, usize, &'a Message, &'a str),
    ArgumentsDelta(usize, &'a FunctionCall, &'a str),
    PartDone(usize, usize, &'a Message),
    ArgumentsDone(usize, &'a FunctionCall),
    ItemDone(usize, &'a Item),
}

const IN_PROGRESS: &str = "in_progress";
const COMPLETED: &str = "completed";
const INCOMPLETE: &str = "incomplete";

impl Output {
    /// Nothing yet, of the response with this id.
    pub(super) fn new(response_id: &str) -> Self {
        let (_, suffix) = response_id.split_once('_').unwrap_or(("", response_id));
        Self { suffix: suffix.to_owned(), items: Vec::new(), calls: Vec::new() }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Takes an event in, and tells what it changes.
    pub(super) fn take(&mut self, event: Kind, tell: &mut impl FnMut(Change<'_>)) {
        match event {
            Kind::TextDelta(text) => self.say(&text, false, tell),
            Kind::RefusalDelta(text) => self.say(&text, true, tell),
            Kind::ToolCallDelta(delta) => self.call(delta, tell),
            // What is said next is another message.
            Kind::ToolStarted(_) => self.end_message(COMPLETED, tell),
            Kind::Accepted(_)
            | Kind::Started(_)
            | Kind::ReasoningDelta(_)
            | Kind::LogprobsDelta(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_)
            | Kind::Finished(_)
            | Kind::Failed(_) => {}
        }
    }

    /// Nothing more comes; the last item may lack its end.
    pub(super) fn end(&mut self, is_whole: bool, tell: &mut impl FnMut(Change<'_>)) {
        let status = if is_whole { COMPLETED } else { INCOMPLETE };
        self.end_message(status, tell);
        for (_, index) in std::mem::take(&mut self.calls) {
            self.end_item(index, status, tell);
        }
    }

    fn say(&mut self, text: &str, is_refusal: bool, tell: &mut impl FnMut(Change<'_>)) {
        let is_open = matches!(self.items.last(), Some(Item::Message(message)) if message.status == IN_PROGRESS);
        if !is_open {
            let id = format!("msg_{}_{}", self.suffix, self.items.len());
            let message = Message { id, status: IN_PROGRESS, role: "assistant", content: Vec::new() };
            self.add(Item::Message(message), tell);
        }
        let index = self.items.len() - 1;
        let Some(Item::Message(message)) = self.items.last_mut() else { return };
        let goes_on = match message.content.last() {
            Some(Content::OutputText { .. }) => !is_refusal,
            Some(Content::Refusal { .. }) => is_refusal,
            None => false,
        };
        if !goes_on {
            if let Some(last) = message.content.len().checked_sub(1) {
                tell(Change::PartDone(index, last, message));
            }
            message.content.push(if is_refusal {
                Content::Refusal { refusal: String::new() }
            } else {
                Content::OutputText { text: String::new(), annotations: [], logprobs: [] }
            });
            tell(Change::PartAdded(index, message.content.len() - 1, message));
        }
        let part = message.content.len() - 1;
        match &mut message.content[part] {
            Content::OutputText { text: said, .. } => {
                said.push_str(text);
                tell(Change::TextDelta(index, part, message, text));
            }
            Content::Refusal { refusal } => {
                refusal.push_str(text);
                tell(Change::RefusalDelta(index, part, message, text));
            }
        }
    }

    /// The call's first delta names it; the others only add arguments.
    fn call(&mut self, delta: ToolCallDelta, tell: &mut impl FnMut(Change<'_>)) {
        let known = self.calls.iter().find(|(index, _)| *index == delta.index).map(|&(_, item)| item);
        let index = known.unwrap_or(self.items.len());
        if known.is_none() {
            self.end_message(COMPLETED, tell);
            self.calls.push((delta.index, index));
            let id = format!("fc_{}_{}", self.suffix, self.items.len());
            let (call_id, name) = (delta.id, delta.name);
            let call = FunctionCall { id, status: IN_PROGRESS, call_id, name, arguments: String::new() };
            self.add(Item::FunctionCall(call), tell);
        }
        if let Item::FunctionCall(call) = &mut self.items[index]
            && !delta.arguments.is_empty()
        {
            call.arguments.push_str(&delta.arguments);
            tell(Change::ArgumentsDelta(index, call, &delta.arguments));
        }
    }

    fn add(&mut self, item: Item, tell: &mut impl FnMut(Change<'_>)) {
        tell(Change::ItemAdded(self.items.len(), &item));
        self.items.push(item);
    }

    /// Ends what is being said, which is always the last item.
    fn end_message(&mut self, status: &'static str, tell: &mut impl FnMut(Change<'_>)) {
        if let Some(index) = self.items.len().checked_sub(1)
            && matches!(self.items[index], Item::Message(_))
        {
            self.end_item(index, status, tell);
        }
    }

    fn end_item(&mut self, index: usize, status: &'static str, tell: &mut impl FnMut(Change<'_>)) {
        let item = &mut self.items[index];
        match item {
            Item::Message(message) if message.status == IN_PROGRESS => {
                message.status = status;
                if let Some(last) = message.content.len().checked_sub(1) {
                    tell(Change::PartDone(index, last, message));
                }
            }
            Item::FunctionCall(call) if call.status == IN_PROGRESS => {
                call.status = status;
                tell(Change::ArgumentsDone(index, call));
            }
            Item::Message(_) | Item::FunctionCall(_) => return,
        }
        tell(Change::ItemDone(index, item));
    }
}
