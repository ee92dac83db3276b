//! The system text of a prompt. What changes seldom comes first, so that providers can serve most of it from a cache.

use std::fmt::Write;

use jiff::civil::Date;
use proto::session::v1::part::Kind;

use super::Parts;
use crate::bootstrap::{Contents, File, Skill};

/// The tool with which an agent reads a skill's file.
const READ: &str = "read";

const SKILLS: &str = "# Skills\n\nEach of these files says how something is done. When one fits the task, read it with the \
                      `read` tool before you begin, and do as it says; leave the others unread.\n";

/// The date. A time of day would make every prompt another one.
pub(super) struct Today<'a> {
    pub(super) date: Date,
    pub(super) time_zone: &'a str,
}

/// In this order: the agent's own prompt, its workspace's files, its skills, the facts, the client's instructions.
pub(super) fn text(parts: &Parts<'_>, workspace: Option<&Contents>, today: &Today<'_>) -> String {
    let mut paragraphs = Paragraphs::default();
    paragraphs.push(&parts.agent.system_prompt);
    if let Some(Contents { files, skills }) = workspace {
        if !files.is_empty() {
            paragraphs.push("# Project context");
        }
        for file in files {
            let File { name, text } = &**file;
            paragraphs.push(&format!("## {name}"));
            paragraphs.push(text);
        }
        if !skills.is_empty() && parts.tools.iter().any(|tool| tool.name == READ) {
            let mut list = SKILLS.to_owned();
            for skill in skills {
                let Skill { name, description, path } = &**skill;
                write!(list, "\n- {name}: {description} ({path})").expect("a text can be written to");
            }
            paragraphs.push(&list);
        }
    }
    paragraphs.push(&facts(parts, today));
    for part in parts.instructions.iter().flat_map(|message| &message.parts) {
        if let Some(Kind::Text(text)) = &part.kind {
            paragraphs.push(text);
        }
    }
    paragraphs.0
}

fn facts(parts: &Parts<'_>, today: &Today<'_>) -> String {
    let Parts { agent, model, .. } = parts;
    let name = if agent.name.is_empty() { String::new() } else { format!(" ({})", agent.name) };
    let (date, time_zone) = (today.date.strftime("%A, %Y-%m-%d"), today.time_zone);
    format!("Facts: today is {date} ({time_zone}); agent {}{name}; model {model}.", agent.id)
}

/// Texts with an empty line between each two.
#[derive(Default)]
struct Paragraphs(String);

impl Paragraphs {
    fn push(&mut self, text: &str) {
        let text = text.trim();
        if !self.0.is_empty() && !text.is_empty() {
            self.0.push_str("\n\n");
        }
        self.0.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::date;
    use proto::{
        agent::v1::FunctionTool,
        session::v1::{Image, Message, Part, Role},
    };

    use super::*;
    use crate::agents::{Agent, ModelName};

    const FACTS: &str = "Facts: today is Wednesday, 2026-11-25 (UTC); agent beta (Beta); model openrouter/meta/llama.";

    fn built(system_prompt: &str, tools: &[&str], instructions: &[&str], workspace: Option<&Contents>) -> String {
        let model = ModelName { provider: "openrouter".to_owned(), model: "meta/llama".to_owned() };
        let agent = Agent {
            id: "beta".parse().expect("a valid id"),
            name: "Beta".to_owned(),
            model: model.clone(),
            system_prompt: system_prompt.to_owned(),
            fallbacks: Vec::new(),
            workspace: None,
        };
        let tool = |name: &&str| FunctionTool { name: (*name).to_owned(), ..FunctionTool::default() };
        let tools: Vec<FunctionTool> = tools.iter().map(tool).collect();
        let picture = Part { kind: Some(Kind::Image(Image::default())) };
        let message = |text: &&str| {
            let parts = vec![crate::prompt::text((*text).to_owned()), picture.clone()];
            Message { role: Role::Developer.into(), parts, ..Message::default() }
        };
        let instructions: Vec<Message> = instructions.iter().map(message).collect();
        let parts = Parts { agent: &agent, model: &model, tools: &tools, instructions: &instructions };
        text(&parts, workspace, &Today { date: date(2026, 11, 25), time_zone: "UTC" })
    }

    fn workspace() -> Contents {
        let file = |name, text: &str| Arc::new(File { name, text: text.to_owned() });
        let skill = |name: &str| {
            let (description, path) = (format!("Does {name}."), format!("skills/{name}/SKILL.md"));
            Arc::new(Skill { name: name.to_owned(), description, path })
        };
        Contents {
            files: vec![file("AGENTS.md", "Be good."), file("MEMORY.md", "Alice likes tea.")],
            skills: vec![skill("a"), skill("b")],
        }
    }

    #[test]
    fn everything_stands_in_its_place() {
        let expected = format!(
            "You are beta.\n\n# Project context\n\n## AGENTS.md\n\nBe good.\n\n## MEMORY.md\n\nAlice likes tea.\n\n\
             {SKILLS}\n- a: Does a. (skills/a/SKILL.md)\n- b: Does b. (skills/b/SKILL.md)\n\n{FACTS}\n\n\
             Be brief.\n\nBe kind."
        );
        let all = built(" You are beta.\n", &["exec", "read"], &["Be brief.", "", " Be kind.\n"], Some(&workspace()));
        assert_eq!(all, expected);
    }

    #[test]
    fn skills_are_not_offered_to_an_agent_that_cannot_read_them() {
        let expected =
            format!("# Project context\n\n## AGENTS.md\n\nBe good.\n\n## MEMORY.md\n\nAlice likes tea.\n\n{FACTS}");
        assert_eq!(built("", &["reader"], &[], Some(&workspace())), expected);
    }

    #[test]
    fn without_anything_only_the_facts_are_left() {
        assert_eq!(built("", &["read"], &[], None), FACTS);
        assert_eq!(built(" ", &["read"], &[" "], Some(&Contents::default())), FACTS);
    }
}
