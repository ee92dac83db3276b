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
        if self.key(environment).is_none() && self.base_url(environment).is_none() {
            return None;
        }
        let mut section = Section::default();
        self.complete(&mut section, environment);
        Some(section)
    }

    /// Fills in what a file leaves out. Where it names a server, that may be another's: the environment's key is not for it.
    pub(super) fn complete(&self, section: &mut Section, environment: &Environment) {
        let protocol = *section.api.get_or_insert(self.api);
        if !section.base_url.is_empty() || protocol == Protocol::Local {
            return;
        }
        self.base_url(environment).unwrap_or(self.base_url).clone_into(&mut section.base_url);
        if let Some(key) = self.key(environment)
            && !section.has_key()
        {
            key.clone_into(&mut section.api_key);
        }
    }

    fn key<'a>(&self, environment: &'a Environment) -> Option<&'a str> {
        self.key_variables.iter().find_map(|name| environment.get(name))
    }

    fn base_url<'a>(&self, environment: &'a Environment) -> Option<&'a str> {
        environment.get(self.base_url_variable?)
    }
}
