//! What the built-in tools are told by the configuration.

use shared::config::{self, Document, Environment};

use super::builtin::{exec, files, memory, web_fetch};

/// How the built-in tools behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) exec: exec::Settings,
    pub(crate) web_fetch: web_fetch::Settings,
    pub(crate) fs: files::Settings,
    pub(crate) memory: memory::Settings,
}

impl Settings {
    /// Reads the sections of the tools. Of the environment, `exec` hands on where programs are found and how text and
    /// time look.
    pub(crate) fn load(document: &Document, environment: &Environment) -> Result<Self, config::Error> {
        let mut exec: exec::Settings = document.section("tools.exec")?;
        exec.inherit(environment);
        Ok(Self {
            exec,
            web_fetch: document.section("tools.web.fetch")?,
            fs: document.section("tools.fs")?,
            memory: document.section("tools.memory")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::config::Sources;

    use super::*;
    use crate::tool::builtin::exec::Security;

    fn load(text: &str) -> Result<Settings, String> {
        let document = Document::from_text(text, Path::new("clawdbot.json"), &Sources::default()).expect("readable");
        Settings::load(&document, &Environment::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_configured_is_taken_and_the_rest_is_the_default() {
        let text = "{ tools: {
            exec: { security: 'allowlist', safeBins: ['ls'], pathPrepend: ['/opt/bin'], timeoutSec: 5, env: { A: 'b' } },
            web: { fetch: { enabled: false, maxChars: 10 } },
            fs: { maxReadLines: 7 },
            memory: { maxFiles: 3 },
        } }";
        let Settings { exec, web_fetch, fs, memory } = load(text).expect("usable");
        assert_eq!(exec.security, Security::Allowlist);
        assert_eq!((exec.safe_bins.as_slice(), exec.timeout_sec), (["ls".to_owned()].as_slice(), 5));
        assert_eq!(exec.path_prepend, [Path::new("/opt/bin")]);
        assert_eq!(exec.env.get("A").map(String::as_str), Some("b"));
        assert_eq!((web_fetch.enabled, web_fetch.max_chars, web_fetch.max_redirects), (false, 10, 5));
        assert_eq!((fs.max_read_lines, memory.max_files), (7, 3));
        assert_eq!(load("{}").expect("usable").exec.security, Security::Deny);
        let error = load("{ tools: { exec: { security: 'some' } } }").expect_err("is no such thing");
        assert!(error.starts_with("tools.exec.security: "), "{error}");
    }

    /// The default of each limit that stands in the table of settings.
    #[test]
    fn the_documented_defaults_are_the_real_ones() {
        let Settings { exec, web_fetch, fs, memory } = Settings::default();
        let real = [
            ("tools.exec.timeoutSec", exec.timeout_sec),
            ("tools.exec.maxOutputBytes", exec.max_output_bytes as u64),
            ("tools.web.fetch.maxChars", web_fetch.max_chars as u64),
            ("tools.web.fetch.maxResponseBytes", web_fetch.max_response_bytes as u64),
            ("tools.web.fetch.timeoutSeconds", web_fetch.timeout_seconds),
            ("tools.web.fetch.maxRedirects", web_fetch.max_redirects as u64),
            ("tools.fs.maxReadBytes", fs.max_read_bytes as u64),
            ("tools.fs.maxReadLines", fs.max_read_lines as u64),
            ("tools.fs.maxFileBytes", fs.max_file_bytes),
            ("tools.memory.maxFiles", memory.max_files as u64),
            ("tools.memory.maxBytes", memory.max_bytes),
            ("tools.memory.maxConcurrent", memory.max_concurrent as u64),
        ];
        for (key, real) in real {
            assert_eq!(config::documented_default(key), Some(real.to_string().as_str()), "{key}");
        }
    }
}
