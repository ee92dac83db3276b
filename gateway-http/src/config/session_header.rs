//! The name of a header whose value names a conversation.

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
};
use serde::{Deserialize, Deserializer, de};

/// A header that may name a conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SessionHeader(HeaderName);

/// What they hold would become part of session keys, which everybody may see.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

impl<'de> Deserialize<'de> for SessionHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name: HeaderName =
            text.trim().parse().map_err(|_| de::Error::custom(format_args!("`{text}` is no name of a header")))?;
        if SECRET.contains(&name) {
            return Err(de::Error::custom(format_args!("`{name}` holds a secret, which is no name of a conversation")));
        }
        Ok(Self(name))
    }
}

impl From<SessionHeader> for HeaderName {
    fn from(SessionHeader(name): SessionHeader) -> Self {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_known_in_any_case_and_no_secret() {
        let check = |text: &str, expected: Option<&str>| {
            let header = serde_json::from_value::<SessionHeader>(text.into()).map(HeaderName::from).ok();
            assert_eq!(header.as_ref().map(HeaderName::as_str), expected, "{text}");
        };
        check("X-OpenWebUI-Chat-Id", Some("x-openwebui-chat-id"));
        check(" x-conversation-id ", Some("x-conversation-id"));
        check("", None);
        check("two words", None);
        check("Authorization", None);
        check("cookie", None);
    }
}
