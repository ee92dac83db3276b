//! What an answer holds: read up to a limit, unpacked, and as text.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use encoding_rs::{Encoding, UTF_8};
use futures_util::TryStreamExt as _;
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap},
};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;

use crate::tool::Error;

/// Text of some kind, and how its characters are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Html(&'static Encoding),
    Plain(&'static Encoding),
}

impl Kind {
    /// The kind that the headers tell; refuses what is no text.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("text/plain");
        let mut parts = content_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let label = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        let encoding = label.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
        match essence.as_str() {
            "text/html" | "application/xhtml+xml" => Ok(Self::Html(encoding)),
            "application/json" | "application/xml" | "application/javascript" | "application/yaml" | "" => {
                Ok(Self::Plain(encoding))
            }
            other if other.starts_with("text/") || other.ends_with("+json") || other.ends_with("+xml") => {
                Ok(Self::Plain(encoding))
            }
            other => Err(Error(format!("the page is of type `{other:.80}`, which is no text"))),
        }
    }

    /// A byte order mark says more than the header.
    pub(super) fn decode(self, bytes: &[u8]) -> String {
        let (Self::Html(encoding) | Self::Plain(encoding)) = self;
        encoding.decode(bytes).0.into_owned()
    }
}

/// The content of an answer.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Whether that is all.
    pub(super) is_whole: bool,
}

impl Body {
    /// Reads an answer to its end or to the limit, which counts what comes out of a packed one.
    pub(super) async fn read(response: Response, max_bytes: usize) -> Result<Self, Error> {
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        let stream = StreamReader::new(Box::pin(response.bytes_stream().map_err(io::Error::other)));
        match encoding.as_deref() {
            None | Some(b"" | b"identity") => Self::take(stream, max_bytes).await,
            Some(b"gzip" | b"x-gzip") => Self::take(unpacked(stream), max_bytes).await,
            Some(_) => Err(Error("the page is packed in a way that was not asked for".to_owned())),
        }
    }

    async fn take(content: impl AsyncRead + Unpin, max_bytes: usize) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let read = content.take((max_bytes as u64).saturating_add(1)).read_to_end(&mut bytes).await;
        read.map_err(|_| Error("the page broke off".to_owned()))?;
        let is_whole = bytes.len() <= max_bytes;
        bytes.truncate(max_bytes);
        Ok(Self { bytes, is_whole })
    }
}

fn unpacked(packed: impl AsyncBufRead + Unpin) -> impl AsyncRead + Unpin {
    GzipDecoder::new(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_what_is_none() {
        let kind = |content_type: &'static str| {
            Kind::of(&HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().expect("is a header"))]))
        };
        assert_eq!(kind("text/html; Charset=\"utf-8\""), Ok(Kind::Html(UTF_8)));
        assert_eq!(kind("application/ld+json"), Ok(Kind::Plain(UTF_8)));
        assert_eq!(kind("TEXT/CSV"), Ok(Kind::Plain(UTF_8)));
        assert_eq!(Kind::of(&HeaderMap::new()), Ok(Kind::Plain(UTF_8)));
        assert_eq!(kind("text/plain; charset=latin1").expect("is text").decode(b"caf\xe9"), "café");
        for binary in ["image/png", "application/octet-stream", "application/pdf", "video/mp4"] {
            let error = kind(binary).expect_err("is no text").0;
            assert!(error.contains(binary), "{error}");
        }
    }
}
