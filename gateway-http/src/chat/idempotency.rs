//! `Idempotency-Key`: a request that is made twice runs once.

use bytes::Bytes;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use shared::{AgentId, Namespace, SessionKey};
use uuid::Uuid;

use super::Shown;
use crate::error::ApiError;

const NAME: &str = "Idempotency-Key";
const MAX_BYTES: usize = 255;

/// What a client calls a request that it may make again.
#[derive(Debug)]
pub(crate) struct IdempotencyKey<'a>(&'a str);

impl<'a> IdempotencyKey<'a> {
    /// The key in the headers, if there is one.
    pub(crate) fn of(headers: &'a HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get(NAME) else { return Ok(None) };
        match value.to_str().map(str::trim) {
            Ok(key) if (1..=MAX_BYTES).contains(&key.len()) => Ok(Some(Self(key))),
            Ok(_) | Err(_) => Err(ApiError::invalid_value(NAME, "expected 1 to 255 printable ASCII characters")),
        }
    }

    /// The id of the run that the key stands for, which nobody in another namespace can come to.
    pub(crate) fn run_id(&self, namespace: &Namespace) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(namespace.as_str());
        // A namespace's name has no colon.
        hash.update(":");
        hash.update(self.0);
        let hash: [u8; 32] = hash.finalize().into();
        let (id, _) = hash.split_first_chunk::<16>().expect("32 bytes are more than 16");
        uuid::Builder::from_custom_bytes(*id).into_uuid()
    }
}

/// Tells a request from another with the same key. The session is the one that is asked for, which is the same whenever
/// the request comes again.
pub(crate) fn fingerprint(
    body: &[u8],
    agent_id: &AgentId,
    session_key: &SessionKey,
    model: &str,
    shown: Shown,
) -> Bytes {
    let mut hash = Sha256::new();
    for part in [agent_id.as_str(), session_key.as_str(), model] {
        hash.update(part);
        // None of them has a line break.
        hash.update("\n");
    }
    hash.update([u8::from(shown.tools), u8::from(shown.reasoning)]);
    hash.update(body);
    Bytes::copy_from_slice(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_printable_and_not_too_long() {
        let check = |value: &[u8], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(NAME, http::HeaderValue::from_bytes(value).expect("a header value"));
            let key = IdempotencyKey::of(&headers).map(|key| key.expect("there is one").0.to_owned());
            assert_eq!(key.as_deref().ok(), expected, "{value:?}");
        };
        check(b"k1", Some("k1"));
        check(b" k1 ", Some("k1"));
        check(&[b'k'; 255], Some(&"k".repeat(255)));
        check(&[b'k'; 256], None);
        check(b" ", None);
        check("é".as_bytes(), None);
        assert!(IdempotencyKey::of(&HeaderMap::new()).expect("no key is no error").is_none());
    }

    #[test]
    fn a_key_names_one_run_in_each_namespace() {
        let (main, bob): (Namespace, Namespace) = (Namespace::MAIN, "bob".parse().expect("a name"));
        let id = |key, namespace: &Namespace| IdempotencyKey(key).run_id(namespace);
        assert_eq!(id("k1", &bob), id("k1", &bob));
        assert_ne!(id("k1", &bob), id("k1", &main));
        assert_ne!(id("k1", &bob), id("k2", &bob));
    }
}
