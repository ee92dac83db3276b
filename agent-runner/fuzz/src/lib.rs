//! What must hold for any bytes that a model provider may send: nothing panics, and where they are cut changes nothing.

use agent_runner::model::{Api, Error, Event, sse::Decoder};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

/// Checks the decoder of one protocol. The first byte says where the others are cut.
pub fn check_answer(api: Api, bytes: &[u8]) {
    let Some((head, tail)) = cut(bytes) else { return };
    let told = told(api, &[&[head, tail].concat()]);
    assert_eq!(self::told(api, &[head, tail]), told);
    let ends = told.iter().filter(|event| matches!(event, Ok(Event::Finished(_)) | Err(_)));
    assert_eq!(ends.count(), 1, "{told:?}");
}

/// Checks the decoder of server-sent events, likewise.
pub fn check_sse(bytes: &[u8]) {
    let Some((head, tail)) = cut(bytes) else { return };
    assert_eq!(events(&[head, tail]), events(&[&[head, tail].concat()]));
}

fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (place, bytes) = bytes.split_first()?;
    Some(bytes.split_at(usize::from(*place).min(bytes.len())))
}

fn told(api: Api, chunks: &[&[u8]]) -> Vec<Result<Event, String>> {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let told = api.decode(stream::iter(chunks).boxed()).map(|event| event.map(without_id)).collect::<Vec<_>>();
    let told = told.now_or_never().expect("everything is there already");
    told.into_iter().map(|event| event.map_err(|error| Error::to_string(&error))).collect()
}

/// Some ids are made up anew each time.
fn without_id(event: Event) -> Event {
    if let Event::ToolCall(mut delta) = event {
        delta.id.clear();
        return Event::ToolCall(delta);
    }
    event
}

fn events(chunks: &[&[u8]]) -> Vec<Option<Bytes>> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        while let Ok(Some(event)) = decoder.next() {
            events.push(Some(event));
        }
    }
    events.push(decoder.finish().ok().flatten());
    events
}
