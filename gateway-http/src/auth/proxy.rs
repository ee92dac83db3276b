//! Callers that a proxy in front of the gateway has logged in, and names in a header.

use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use shared::Namespace;

use crate::{
    address::{Source, TrustedProxies},
    caller::Caller,
    error::ApiError,
};

/// The proxies that log users in, and what they send along.
#[derive(Clone, Debug)]
pub(crate) struct ProxyAuth {
    pub(crate) proxies: TrustedProxies,
    /// Names the user.
    pub(crate) user_header: HeaderName,
    /// Headers that must be there too.
    pub(crate) required_headers: Vec<HeaderName>,
    /// The users who may come in; empty for all.
    pub(crate) allow_users: Vec<String>,
    /// Whether a proxy may be on this machine, where any other program could pass for it.
    pub(crate) allow_loopback: bool,
}

/// Hexadecimal digits of a hash that make a name that no other user has.
const HASH_DIGITS: usize = 32;
/// The longest name of a namespace.
const MAX_NAME: usize = 64;

impl ProxyAuth {
    /// The user, if a trusted proxy sent the request and named exactly one.
    pub(super) fn check(&self, headers: &HeaderMap, source: Source) -> Result<Caller, ApiError> {
        let is_trusted =
            source.peer.is_some_and(|peer| self.proxies.trusts(peer) && (self.allow_loopback || !peer.is_loopback()));
        if !is_trusted {
            return Err(ApiError::not_by_proxy("requests are taken from the gateway's trusted proxies only"));
        }
        if let Some(missing) = self.required_headers.iter().find(|name| value(headers, name).is_none()) {
            return Err(ApiError::not_by_proxy(&format!("the proxy did not send the header `{missing}`")));
        }
        let user = value(headers, &self.user_header)
            .ok_or_else(|| ApiError::not_by_proxy(&format!("the proxy named no user in `{}`", self.user_header)))?;
        if !self.allow_users.is_empty() && !self.allow_users.iter().any(|allowed| allowed == user) {
            return Err(ApiError::forbidden("this user may not use the gateway", self.user_header.as_str()));
        }
        Ok(Caller::named(namespace(user), None))
    }
}

/// The header's value, if it is there once and not blank. What is there twice, somebody may have smuggled in.
fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = std::str::from_utf8(values.next()?.as_bytes()).ok()?.trim();
    (values.next().is_none() && !value.is_empty()).then_some(value)
}

/// A namespace that only this user has: the user's own name where that can be one, else what is readable of it with a
/// hash of the whole. A name that looks like such a one is hashed as well.
fn namespace(user: &str) -> Namespace {
    let as_it_is = user.parse::<Namespace>().ok().filter(|name| name.as_str() == user && !looks_hashed(user));
    as_it_is.unwrap_or_else(|| {
        let hash: [u8; 32] = Sha256::digest(user).into();
        let half = hash.first_chunk().expect("a half of the hash");
        let readable: String = user
            .chars()
            .map(|character| character.to_ascii_lowercase())
            .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
            .take(MAX_NAME - 1 - HASH_DIGITS)
            .collect();
        let readable = Some(readable.trim_matches('-')).filter(|readable| !readable.is_empty()).unwrap_or("user");
        format!("{readable}-{:0HASH_DIGITS$x}", u128::from_be_bytes(*half))
            .parse()
            .expect("it begins with a letter or digit, and is short")
    })
}

fn looks_hashed(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, end)| {
        end.len() == HASH_DIGITS && end.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USER: HeaderName = HeaderName::from_static("x-user");
    const VERIFIED: HeaderName = HeaderName::from_static("x-verified");

    fn auth() -> ProxyAuth {
        ProxyAuth {
            proxies: serde_json::from_value(json!(["10.0.0.0/8", "127.0.0.1"])).expect("valid networks"),
            user_header: USER,
            required_headers: vec![VERIFIED],
            allow_users: vec!["alice".to_owned(), "bob@example.com".to_owned()],
            allow_loopback: false,
        }
    }

    /// The namespace of the caller, or the status of the refusal.
    fn check(auth: &ProxyAuth, peer: &str, headers: &[(HeaderName, &str)]) -> Result<String, u16> {
        let source = Source::direct((peer.parse::<std::net::IpAddr>().expect("an address"), 1).into());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().expect("a header value"));
        }
        let caller = auth.check(&map, source);
        caller.map(|caller| caller.namespace().to_string()).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn only_a_trusted_proxy_names_the_user() {
        let of_alice = [(USER, "alice"), (VERIFIED, "yes")];
        let check = |peer, headers: &[_], expected: Result<&str, u16>| {
            assert_eq!(check(&auth(), peer, headers), expected.map(str::to_owned), "{peer} {headers:?}");
        };
        check("10.0.0.1", &of_alice, Ok("alice"));
        check("192.0.2.1", &of_alice, Err(401));
        check("127.0.0.1", &of_alice, Err(401));
        check("10.0.0.1", &[(USER, "alice")], Err(401));
        check("10.0.0.1", &[(VERIFIED, "yes")], Err(401));
        check("10.0.0.1", &[(USER, " "), (VERIFIED, "yes")], Err(401));
        check("10.0.0.1", &[(USER, "alice"), (USER, "bob@example.com"), (VERIFIED, "yes")], Err(401));
        check("10.0.0.1", &[(USER, "mallory"), (VERIFIED, "yes")], Err(403));
        check("10.0.0.1", &[(USER, "Alice"), (VERIFIED, "yes")], Err(403));
    }

    #[test]
    fn a_proxy_on_this_machine_is_trusted_when_that_is_allowed() {
        let auth = ProxyAuth { allow_loopback: true, ..auth() };
        assert_eq!(check(&auth, "127.0.0.1", &[(USER, "alice"), (VERIFIED, "yes")]), Ok("alice".to_owned()));
    }

    #[test]
    fn no_two_users_share_a_namespace() {
        let name = |user: &str| namespace(user).to_string();
        assert_eq!(name("alice"), "alice");
        let of_mail = name("alice@example.com");
        assert!(of_mail.starts_with("alice-example-com-"), "{of_mail}");
        let long = "x".repeat(100);
        let others = ["Alice", "alice-example-com", "alice.example.com", &of_mail, "ALICE@example.com", "", "ü", &long];
        let mut names: Vec<_> = others.into_iter().map(name).chain([of_mail.clone()]).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}
