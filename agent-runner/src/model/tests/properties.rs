//! No bytes, however they come, make a decoder panic, say twice that it ended, or depend on where they are cut.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{Told, read, recorded};
use crate::model::{Api, Event, anthropic, google, openai, responses};

fn decode(api: Api, chunks: Vec<Bytes>) -> Told {
    match api {
        Api::OpenaiCompletions => read(openai::Answer::default(), chunks),
        Api::OpenaiResponses => read(responses::Answer::default(), chunks),
        Api::AnthropicMessages => read(anthropic::Answer::default(), chunks),
        Api::GoogleGenerativeAi => read(google::Answer::new("made_up_".to_owned()), chunks),
    }
}

fn cut(bytes: &[u8], places: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]])).collect()
}

fn check(bytes: &[u8], places: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let apis = [Api::OpenaiCompletions, Api::OpenaiResponses, Api::AnthropicMessages, Api::GoogleGenerativeAi];
    for api in apis {
        let told = decode(api, vec![Bytes::copy_from_slice(bytes)]);
        prop_assert_eq!(&decode(api, cut(bytes, places)), &told, "{:?}", api);
        let ends = told.iter().filter(|event| matches!(event, Ok(Event::Finished(_)) | Err(_)));
        prop_assert_eq!(ends.count(), 1, "{:?} {:?}", api, &told);
        let after = told.iter().skip_while(|event| !matches!(event, Ok(Event::Finished(_)) | Err(_))).skip(1);
        prop_assert!(after.into_iter().all(|event| matches!(event, Ok(Event::Usage(_)))), "{:?} {:?}", api, &told);
    }
    Ok(())
}

/// A change to a recorded answer.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    /// Swaps two of its lines.
    Swap(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(place, byte)| Mutation::Set(place, byte)),
        (place(), 1..64_usize).prop_map(|(place, length)| Mutation::Remove(place, length)),
        (place(), 1..512_usize).prop_map(|(place, length)| Mutation::Repeat(place, length)),
        (place(), place()).prop_map(|(one, other)| Mutation::Swap(one, other)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let range = |place: &prop::sample::Index, length: usize| {
        let start = place.index(bytes.len());
        start..bytes.len().min(start + length)
    };
    match mutation {
        Mutation::Set(place, byte) => {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        Mutation::Remove(place, length) => {
            bytes.drain(range(place, *length));
        }
        Mutation::Repeat(place, length) => {
            let range = range(place, *length);
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, copy);
        }
        Mutation::Swap(one, other) => {
            let mut lines: Vec<_> = bytes.split(|&byte| byte == b'\n').collect();
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines.swap(one, other);
            *bytes = lines.join(&b'\n');
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..512), places in vec(any::<prop::sample::Index>(), 0..8)) {
        check(&bytes, &places)?;
    }

    #[test]
    fn a_damaged_answer_is_read_without_harm(
        answer in prop::sample::select(vec![recorded::OPENAI, recorded::RESPONSES, recorded::ANTHROPIC, recorded::GOOGLE]),
        mutations in vec(mutation(), 1..6),
        places in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = answer.as_bytes().to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        check(&bytes, &places)?;
    }
}
