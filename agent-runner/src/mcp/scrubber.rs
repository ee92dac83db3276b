//! What a server or the way to it says, as it may stand in the log.

use std::{fmt::Display, iter};

use reqwest::Url;

use super::Endpoint;

/// How much of a text is kept.
const MAX_BYTES: usize = 500;
const SECRET: &str = "<secret>";
/// What is shorter would be found in all words, and guessed as well.
const MIN_SECRET_BYTES: usize = 4;

/// Takes out of texts what may be secret of one server's settings.
pub(super) struct Scrubber {
    /// The longest first, since they may hold shorter ones.
    secrets: Vec<String>,
}

impl Scrubber {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let mut secrets: Vec<String> = match endpoint {
            // What a process says is its own affair, as on its standard error.
            Endpoint::Stdio { .. } => Vec::new(),
            Endpoint::Http { url, headers } => {
                let values = headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                // Of `Bearer <token>` the token is the secret.
                let values = values.flat_map(|value| {
                    let token = value.split_once(' ').map(|(_, token)| token.to_owned());
                    iter::once(value).chain(token)
                });
                values.chain(parts(url)).collect()
            }
        };
        secrets.retain(|secret| secret.len() >= MIN_SECRET_BYTES);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The text on one line, cut, and without secrets.
    pub(super) fn scrub(&self, text: &impl Display) -> String {
        let text = text.to_string();
        // What is replaced is replaced before the cut, which could leave half of a secret.
        let text = self.secrets.iter().fold(text, |text, secret| text.replace(secret, SECRET));
        let text = text.escape_debug().to_string();
        let kept = text.floor_char_boundary(MAX_BYTES);
        format!("{}{}", &text[..kept], if kept < text.len() { "…" } else { "" })
    }
}

/// An address as others may show it, and what of it may be secret: all but the host.
fn parts(url: &Url) -> Vec<String> {
    let mut parts = vec![url.as_str().to_owned()];
    // The HTTP client sends these as a header, and speaks of the address without them.
    let mut bare = url.clone();
    if bare.set_username("").is_ok() && bare.set_password(None).is_ok() {
        parts.push(bare.to_string());
    }
    parts.extend(url.password().map(str::to_owned));
    parts.extend(url.query().map(str::to_owned));
    parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    let as_written = url.query().into_iter().flat_map(|query| query.split('&'));
    parts.extend(as_written.filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
    // A path such as `/` or `/mcp` says nothing, and would be found everywhere.
    parts.extend(Some(url.path()).filter(|path| path.len() > SECRET.len()).map(str::to_owned));
    parts
}

#[cfg(test)]
mod tests {
    use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn no_part_of_an_address_and_no_header_is_told() {
        let url: Url = "http://alice:pass-word@example.com/mcp?key=k%20ey1".parse().expect("a URL");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer token-t"))]);
        let scrubber = Scrubber::of(&Endpoint::Http { url, headers });
        let check = |said: &str, expected: &str| assert_eq!(scrubber.scrub(&said), expected);
        check("cannot reach http://alice:pass-word@example.com/mcp?key=k%20ey1", "cannot reach <secret>");
        check("for url (http://example.com/mcp?key=k%20ey1)", "for url (<secret>)");
        check(
            "no such key: k ey1; nor k%20ey1 in /mcp?key=k%20ey1",
            "no such key: <secret>; nor <secret> in /mcp?<secret>",
        );
        check("no `Bearer token-t`, no `token-t`, no `pass-word`", "no `<secret>`, no `<secret>`, no `<secret>`");
    }

    #[test]
    fn what_is_told_is_one_line_and_cut() {
        let scrubber = Scrubber { secrets: Vec::new() };
        assert_eq!(scrubber.scrub(&"a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        let long = scrubber.scrub(&"ü".repeat(MAX_BYTES));
        assert_eq!(long, format!("{}…", "ü".repeat(MAX_BYTES / 2)));
    }
}
