//! The providers that need no configuration but a key.

use shared::config::Environment;

use super::section::{Protocol, Section};

/// A provider whose address and protocol are known.
pub(super) struct Known {
    pub(super) id: &'static str,
    /// The model of agents that name none.
    pub(super) default_model: &'static str,
    base_url: &'static str,
    api: Protocol,
    /// The environment variables for its key; the first that is set counts.
    key_variables: &'static [&'static str],
    base_url_variable: Option<&'static str>,
}

pub(super) const ANTHROPIC: Known = Known {
    id: "anthropic",
    default_model: "claude-opus-4-5",
    base_url: "https://api.anthropic.com",
    api: Protocol::AnthropicMessages,
    key_variables: &["ANTHROPIC_API_KEY"],
    base_url_variable: Some("ANTHROPIC_BASE_URL"),
};

pub(super) const OPENAI: Known = Known {
    id: "openai",
    default_model: "gpt-5-mini",
    base_url: "https://api.openai.com/v1",
    api: Protocol::OpenaiCompletions,
    key_variables: &["OPENAI_API_KEY"],
    base_url_variable: Some("OPENAI_BASE_URL"),
};

pub(super) const GOOGLE: Known = Known {
    id: "google",
    default_model: "gemini-2.5-flash",
    base_url: "https://generativelanguage.googleapis.com/v1beta",
    api: Protocol::GoogleGenerativeAi,
    key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    base_url_variable: None,
};

impl Known {
    pub(super) const ALL: [&'static Self; 3] = [&ANTHROPIC, &OPENAI, &GOOGLE];

    /// What the environment says of it; `None` when it says nothing.
    pub(super) fn section_from(&self, environment: &Environment) -> Option<Section> {
        let api_key = self.key_variables.iter().find_map(|name| environment.get(name));
        let base_url = self.base_url_variable.and_then(|name| environment.get(name));
        if api_key.is_none() && base_url.is_none() {
            return None;
        }
        let mut section = Section::new(base_url.unwrap_or_default(), api_key.unwrap_or_default());
        self.complete(&mut section);
        Some(section)
    }

    /// Fills in what a file leaves out. The environment's key is not among it: the file may name another's server.
    pub(super) fn complete(&self, section: &mut Section) {
        let protocol = *section.api.get_or_insert(self.api);
        if section.base_url.is_empty() && protocol != Protocol::Local {
            self.base_url.clone_into(&mut section.base_url);
        }
    }
}
