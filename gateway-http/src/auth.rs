//! Who may use the gateway.

use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{caller::Caller, error::ApiError};

/// What callers must show. Only the secrets' hashes are kept, so that neither their text nor their length can leak.
#[derive(Default)]
pub(crate) struct Auth {
    keys: Vec<Key>,
    is_open: bool,
}

struct Key {
    hash: [u8; 32],
    caller: Caller,
}

impl Auth {
    /// Everybody may come in; who shows no known secret is a main caller.
    pub(crate) fn open() -> Self {
        Self { is_open: true, ..Self::default() }
    }

    /// Whoever knows the secret may come in, as `caller`.
    pub(crate) fn with_key(mut self, secret: &str, caller: Caller) -> Self {
        self.keys.push(Key { hash: Sha256::digest(secret).into(), caller });
        self
    }

    /// The caller who sent these headers.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        match bearer(headers).and_then(|bearer| self.owner(bearer)) {
            Some(caller) => Ok(caller.clone()),
            None if self.is_open => Ok(Caller::default()),
            None => Err(ApiError::unauthenticated()),
        }
    }

    /// Whose secret it is. Every one is compared, each in constant time, so that the time does not tell which it was.
    fn owner(&self, bearer: &str) -> Option<&Caller> {
        let hash: [u8; 32] = Sha256::digest(bearer).into();
        self.keys.iter().fold(None, |owner, key| if key.hash.ct_eq(&hash).into() { Some(&key.caller) } else { owner })
    }
}

/// The bearer token: the scheme in any case, spaces around it ignored, nothing as if absent.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = std::str::from_utf8(headers.get(AUTHORIZATION)?.as_bytes()).ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl std::fmt::Debug for Auth {
    /// Leaves out the hashes.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let callers: Vec<_> = self.keys.iter().map(|key| &key.caller).collect();
        formatter
            .debug_struct("Auth")
            .field("is_open", &self.is_open)
            .field("callers", &callers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Caller {
        Caller::named("bob".parse().expect("a name"), None)
    }

    fn caller(auth: &Auth, authorization: Option<&'static str>) -> Option<Caller> {
        let authorization = authorization.map(|value| (AUTHORIZATION, value.parse().expect("a header value")));
        auth.check(&authorization.into_iter().collect()).ok()
    }

    #[test]
    fn only_the_right_bearer_is_let_in() {
        let auth = Auth::default().with_key("secret", Caller::default()).with_key("of-bob", bob());
        let check = |value, expected: Option<Caller>| assert_eq!(caller(&auth, value), expected, "{value:?}");
        check(Some("Bearer secret"), Some(Caller::default()));
        check(Some("  bEaReR   secret  "), Some(Caller::default()));
        check(Some("Bearer of-bob"), Some(bob()));
        check(Some("Bearer Secret"), None);
        check(Some("Bearer secret2"), None);
        check(Some("Bearer "), None);
        check(Some("Basic secret"), None);
        check(Some("secret"), None);
        check(None, None);
    }

    #[test]
    fn an_open_gateway_lets_everybody_in_and_still_knows_its_tokens() {
        let auth = Auth::open().with_key("of-bob", bob());
        let check = |value, expected: Caller| assert_eq!(caller(&auth, value), Some(expected), "{value:?}");
        check(None, Caller::default());
        check(Some("Bearer anything"), Caller::default());
        check(Some("Bearer of-bob"), bob());
    }
}
