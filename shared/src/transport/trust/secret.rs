//! The secret that services share.

use std::fmt;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::{Request, Status, service::Interceptor};

use super::{Error, TOKEN, complaint::Complaint};
use crate::transport::refusal;

const SCHEME: &str = "Bearer ";

/// What is shown to others, and what they may show.
pub(crate) struct Secrets {
    shown: HeaderValue,
    /// Only hashes, so that neither text nor length can leak.
    taken: Vec<[u8; 32]>,
    refused: Complaint,
}

impl Secrets {
    /// Reads secrets that are separated by commas: the first is shown, and all are taken.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let secrets: Vec<&str> = text.split(',').map(str::trim).filter(|secret| !secret.is_empty()).collect();
        let Some(first) = secrets.first() else { return Err(Error::value(TOKEN, "is empty".to_owned())) };
        if !secrets.iter().all(|secret| secret.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Error::value(TOKEN, "has characters that no header can carry".to_owned()));
        }
        let mut shown = HeaderValue::try_from(format!("{SCHEME}{first}"))
            .map_err(|_| Error::value(TOKEN, "has characters that no header can carry".to_owned()))?;
        shown.set_sensitive(true);
        Ok(Self {
            shown,
            taken: secrets.iter().map(|secret| Sha256::digest(secret).into()).collect(),
            refused: Complaint::default(),
        })
    }

    /// Has a call show the secret.
    pub(crate) fn show(&self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.shown.clone());
    }

    fn refuse(&self, message: &'static str) -> Status {
        if let Some(before) = self.refused.due() {
            tracing::warn!(before, "calls are refused: {message}");
        }
        refusal::unknown_caller(message)
    }

    /// Each is compared in constant time, so that the time does not tell which it was.
    fn takes(&self, shown: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(shown).into();
        self.taken.iter().fold(false, |known, taken| known | bool::from(taken.ct_eq(&hash)))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Refuses calls that do not show a secret which is taken; all are let through where there is none.
#[derive(Clone, Debug)]
pub(crate) struct Gate(pub(crate) Option<std::sync::Arc<Secrets>>);

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(secrets) = &self.0 else { return Ok(request) };
        let shown = request.metadata().get(AUTHORIZATION.as_str()).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix(SCHEME));
        match shown {
            Some(shown) if secrets.takes(shown) => Ok(request),
            Some(_) => Err(secrets.refuse("the call shows a secret that is not services.token of this service")),
            None => Err(secrets.refuse("the call shows no secret, and this service has services.token")),
        }
    }
}
