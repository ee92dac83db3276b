//! Who may use the gateway.

mod failed_logins;
mod proxy;

use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    Gateway, Settings,
    address::{Block, Source},
    caller::Caller,
    error::ApiError,
    metrics,
};

pub(crate) use failed_logins::{FailedLogins, LoginLimits};
pub(crate) use proxy::ProxyAuth;

/// What callers must show. Only the secrets' hashes are kept, so that neither their text nor their length can leak.
#[derive(Default)]
pub(crate) struct Auth {
    keys: Vec<Key>,
    door: Door,
}

/// Who comes in without a secret.
#[derive(Debug, Default)]
enum Door {
    /// Nobody.
    #[default]
    Locked,
    /// Everybody, as a main caller.
    Open,
    /// Whom a trusted proxy has let in.
    Proxy(ProxyAuth),
}

struct Key {
    hash: [u8; 32],
    caller: Caller,
}

/// Why somebody may not come in.
#[derive(Debug, PartialEq)]
enum Refusal {
    /// No secret was shown.
    Missing,
    /// A secret was shown that is nobody's.
    Wrong,
    /// Something else.
    Other(ApiError),
}

impl Auth {
    /// Everybody may come in; who shows no known secret is a main caller.
    pub(crate) fn open() -> Self {
        Self { door: Door::Open, ..Self::default() }
    }

    /// Whom a proxy vouches for may come in.
    pub(crate) fn behind(proxy: ProxyAuth) -> Self {
        Self { door: Door::Proxy(proxy), ..Self::default() }
    }

    /// Whoever knows the secret may come in, as `caller`.
    pub(crate) fn with_key(mut self, secret: &str, caller: Caller) -> Self {
        self.keys.push(Key { hash: Sha256::digest(secret).into(), caller });
        self
    }

    /// Whether a browser could come in without knowing a secret, so that any page that it shows could.
    pub(crate) fn is_open_to_browsers(&self) -> bool {
        match self.door {
            Door::Locked => false,
            Door::Open | Door::Proxy(_) => true,
        }
    }

    /// Whether nobody has to show anything.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.door, Door::Open)
    }

    /// The caller who sent these headers from there.
    fn check(&self, headers: &HeaderMap, source: Source) -> Result<Caller, Refusal> {
        let bearer = bearer(headers);
        if let Some(caller) = bearer.and_then(|bearer| self.owner(bearer)) {
            return Ok(caller.clone());
        }
        match &self.door {
            Door::Locked if bearer.is_none() => Err(Refusal::Missing),
            Door::Locked => Err(Refusal::Wrong),
            Door::Open => Ok(Caller::anonymous(source.client.map(Block::of))),
            Door::Proxy(proxy) => proxy.check(headers, source).map_err(Refusal::Other),
        }
    }

    /// Whose secret it is. Every one is compared, each in constant time, so that the time does not tell which it was.
    fn owner(&self, bearer: &str) -> Option<&Caller> {
        if self.keys.is_empty() {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(bearer).into();
        self.keys.iter().fold(None, |owner, key| if key.hash.ct_eq(&hash).into() { Some(&key.caller) } else { owner })
    }
}

impl Gateway {
    /// The caller who sent these headers from there. Whoever showed too many wrong secrets is refused unheard.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        source: Source,
        settings: &Settings,
    ) -> Result<Caller, ApiError> {
        let Settings { auth, limits, .. } = settings;
        let failed_logins = &self.inner.failed_logins;
        let client = source.client.map(Block::of);
        failed_logins.check(client, &limits.logins).inspect_err(|_| metrics::locked_out())?;
        match auth.check(headers, source) {
            Ok(caller) => {
                if caller.is_known() {
                    failed_logins.forget(client);
                }
                Ok(caller)
            }
            Err(Refusal::Missing) => Err(ApiError::unauthenticated()),
            Err(Refusal::Wrong) => {
                metrics::login_failed();
                tokio::time::sleep(failed_logins.note(client, &limits.logins)).await;
                Err(ApiError::unauthenticated())
            }
            Err(Refusal::Other(error)) => Err(error),
        }
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
        formatter.debug_struct("Auth").field("door", &self.door).field("callers", &callers).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Auth {
    /// The caller with this `Authorization`, if it is let in.
    pub(crate) fn caller_with(&self, authorization: Option<&str>) -> Option<Caller> {
        let authorization = authorization.map(|value| (AUTHORIZATION, value.parse().expect("a header value")));
        self.check(&authorization.into_iter().collect(), Source::default()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Caller {
        Caller::named("bob".parse().expect("a name"), None)
    }

    #[test]
    fn only_the_right_bearer_is_let_in() {
        let auth = Auth::default().with_key("secret", Caller::default()).with_key("of-bob", bob());
        let check = |value, expected: Option<Caller>| assert_eq!(auth.caller_with(value), expected, "{value:?}");
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
        let check = |value, expected: Caller| assert_eq!(auth.caller_with(value), Some(expected), "{value:?}");
        check(None, Caller::anonymous(None));
        check(Some("Bearer anything"), Caller::anonymous(None));
        check(Some("Bearer of-bob"), bob());
    }
}
