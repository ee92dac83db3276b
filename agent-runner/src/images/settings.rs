//! What is said of pictures in the configuration, under Clawdbot's own names.

use reqwest::Url;
use serde::Deserialize;

use super::media_type::MediaType;

/// `gateway.http.endpoints.chatCompletions`, as far as it is about pictures.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(crate) images: Each,
    /// How many pictures a model is shown at most.
    pub(crate) max_image_parts: usize,
    /// How many bytes they may have together.
    pub(crate) max_total_image_bytes: usize,
}

/// What each picture may be.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Each {
    /// Whether pictures are fetched that the client only names.
    pub(crate) allow_url: bool,
    /// Where from; empty for everywhere.
    pub(crate) url_allowlist: Vec<Host>,
    pub(crate) allowed_mimes: Vec<MediaType>,
    pub(crate) max_bytes: usize,
    pub(crate) max_redirects: usize,
    /// For one picture, redirects included.
    pub(crate) timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { images: Each::default(), max_image_parts: 8, max_total_image_bytes: 20 * 1024 * 1024 }
    }
}

impl Default for Each {
    fn default() -> Self {
        Self {
            allow_url: false,
            url_allowlist: Vec::new(),
            allowed_mimes: MediaType::ALL.to_vec(),
            max_bytes: 10 * 1024 * 1024,
            max_redirects: 3,
            timeout_ms: 10_000,
        }
    }
}

impl Each {
    /// Whether a URL is at a host of the list.
    pub(super) fn allows(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        self.url_allowlist.is_empty() || self.url_allowlist.iter().any(|allowed| allowed.covers(host))
    }
}

/// The name of a host, or of a domain all of whose hosts are meant: `example.com`, `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Host {
    Named(String),
    /// With the dot before it.
    Below(String),
}

impl Host {
    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Named(name) => host == name,
            Self::Below(domain) => host.len() > domain.len() && host.ends_with(domain),
        }
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let lower = text.trim().trim_end_matches('.').to_ascii_lowercase();
        let (name, is_below) = match lower.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (lower.as_str(), false),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(format!("`{text}` is neither a host like `example.com` nor hosts like `*.example.com`"));
        }
        Ok(if is_below { Self::Below(format!(".{name}")) } else { Self::Named(name.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::config::documented_default;

    use super::*;

    #[test]
    fn the_documented_defaults_are_the_real_ones() {
        let Settings { images, max_image_parts, max_total_image_bytes } = Settings::default();
        let names: Vec<&str> = images.allowed_mimes.iter().map(|allowed| allowed.name()).collect();
        let real = [
            ("maxImageParts", max_image_parts.to_string()),
            ("maxTotalImageBytes", max_total_image_bytes.to_string()),
            ("images.allowUrl", images.allow_url.to_string()),
            ("images.allowedMimes", names.join(", ")),
            ("images.maxBytes", images.max_bytes.to_string()),
            ("images.maxRedirects", images.max_redirects.to_string()),
            ("images.timeoutMs", images.timeout_ms.to_string()),
        ];
        for (key, real) in real {
            let key = format!("gateway.http.endpoints.chatCompletions.{key}");
            assert_eq!(documented_default(&key), Some(real.as_str()), "{key}");
        }
        assert_eq!(images.url_allowlist, []);
    }

    #[test]
    fn hosts_are_allowed_by_their_names() {
        let listed = |hosts: serde_json::Value| serde_json::from_value::<Each>(json!({"urlAllowlist": hosts}));
        let allows = |hosts: serde_json::Value, url: &str| {
            listed(hosts).expect("is a list of hosts").allows(&url.parse().expect("is a URL"))
        };
        assert!(allows(json!([]), "https://anywhere.example.net/a.png"));
        let hosts = json!(["Example.com", "*.example.org"]);
        let check = |url: &str, expected: bool| assert_eq!(allows(hosts.clone(), url), expected, "{url}");
        check("https://example.com/a.png", true);
        check("https://EXAMPLE.com.:8443/", true);
        check("https://a.example.com/", false);
        check("https://notexample.com/", false);
        check("https://a.b.example.org/", true);
        check("https://example.org/", false);
        check("https://evilexample.org/", false);
        check("https://example.com.evil.net/", false);
        for wrong in ["", "*", "https://example.com", "example.com:443", "a.*.com", "*."] {
            assert!(listed(json!([wrong])).is_err(), "{wrong}");
        }
    }
}
