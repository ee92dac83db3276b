//! Reading and parsing requests' bodies, within bounds of size, time and memory.

use std::{panic::resume_unwind, pin::Pin, sync::Arc, thread::available_parallelism};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::{Limits, error::ApiError};

/// Bodies larger than that are parsed where nobody waits for it.
const LARGE_BYTES: usize = 256 * 1024;
/// What the room for bodies is counted in.
const UNIT_BYTES: usize = 1024;

/// All bodies that are held at a time.
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    /// Large ones that are parsed at a time: what is made of one can take several times its size.
    parsers: Arc<Semaphore>,
}

/// A whole body, which has its room until it is dropped.
pub(crate) struct Read {
    bytes: Bytes,
    parsers: Arc<Semaphore>,
    room: Room,
}

/// Room for what a request says, for as long as this lives.
pub(crate) struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let units = (max_bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let parsers = available_parallelism().map_or(1, usize::from);
        Self { room: Arc::new(Semaphore::new(units)), parsers: Arc::new(Semaphore::new(parsers)) }
    }

    /// Reads the whole body. One that says it is too large is refused unread.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Read, ApiError> {
        let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: usize| length > limits.max_body_bytes) {
            return Err(ApiError::request_too_large(limits.max_body_bytes));
        }
        let reading = self.collect(body, limits.max_body_bytes);
        let read = tokio::time::timeout(limits.body_timeout, reading).await;
        read.unwrap_or_else(|_| Err(ApiError::request_timeout(limits.body_timeout)))
    }

    async fn collect(&self, mut body: Body, max_bytes: usize) -> Result<Read, ApiError> {
        let mut bytes = BytesMut::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = Pin::new(&mut body).frame().await {
            let frame = frame.map_err(|error| ApiError::invalid_json(&format!("it broke off ({error})")))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > max_bytes {
                return Err(ApiError::request_too_large(max_bytes));
            }
            let units = length.div_ceil(UNIT_BYTES) - room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = self.room.clone().try_acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
            let more = more.map_err(|_| ApiError::too_many_bodies())?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            if bytes.is_empty() && body.is_end_stream() {
                return Ok(Read { bytes: data, parsers: self.parsers.clone(), room: Room { _permit: room } });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Read { bytes: bytes.freeze(), parsers: self.parsers.clone(), room: Room { _permit: room } })
    }
}

impl Read {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its room, for the request that it has become.
    pub(crate) fn into_room(self) -> Room {
        self.room
    }

    /// Makes a request of it.
    pub(crate) async fn parse<T: Send + 'static>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if self.bytes.len() <= LARGE_BYTES {
            return parse(&self.bytes);
        }
        let turn = self.parsers.clone().acquire_owned().await;
        let bytes = self.bytes.clone();
        let parsing = spawn_blocking(move || {
            let parsed = parse(&bytes);
            drop(turn);
            parsed
        });
        match parsing.await {
            Ok(parsed) => parsed,
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bodies: &Bodies, bytes: usize) -> Result<Read, ApiError> {
        bodies.collect(Body::from(vec![b'x'; bytes]), 4 * UNIT_BYTES).await
    }

    #[tokio::test]
    async fn all_bodies_have_room_together_until_they_are_dropped() {
        let bodies = Bodies::new(5 * UNIT_BYTES);
        let first = read(&bodies, 4 * UNIT_BYTES - 1).await.expect("there is room");
        assert_eq!(first.bytes().len(), 4 * UNIT_BYTES - 1);
        let second = read(&bodies, 1).await.expect("there is room left");
        assert_eq!(read(&bodies, 1).await.err(), Some(ApiError::too_many_bodies()));
        drop(first);
        read(&bodies, 3 * UNIT_BYTES).await.expect("there is room again");
        drop(second);
        assert_eq!(read(&bodies, 4 * UNIT_BYTES + 1).await.err(), Some(ApiError::request_too_large(4 * UNIT_BYTES)));
        assert_eq!(bodies.room.available_permits(), 5);
        read(&bodies, 0).await.expect("nothing needs no room");
    }

    #[tokio::test]
    async fn a_large_body_is_parsed_like_a_small_one() {
        let bodies = Bodies::new(2 * LARGE_BYTES);
        for size in [1, LARGE_BYTES, LARGE_BYTES + 1] {
            let body = bodies.collect(Body::from(vec![b'x'; size]), 2 * LARGE_BYTES).await.expect("there is room");
            assert_eq!(body.parse(|bytes| Ok(bytes.len())).await, Ok(size));
            assert_eq!(
                body.parse(|_| Err::<(), _>(ApiError::invalid_json("why"))).await,
                Err(ApiError::invalid_json("why"))
            );
        }
    }
}
