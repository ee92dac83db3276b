//! The pictures of a conversation: those that are new are checked, those that are only named are fetched, and models
//! see what they can.

mod fetch;
mod media_type;
mod settings;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use futures_util::future::try_join_all;
use proto::session::v1::{Image, Message, Part, part::Kind};

use crate::failover::Candidate;
use fetch::Fetcher;
use media_type::MediaType;
pub(crate) use settings::Settings;

/// Takes base64 with its padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a model is told in the place of a picture that it is not shown.
pub(crate) const NOTE: &str = "[image]";

/// Checks and fetches pictures.
pub(crate) struct Images {
    settings: Settings,
    fetcher: Fetcher,
}

/// What models are shown of a conversation's pictures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gallery {
    /// By what stands in the conversation.
    shown: HashMap<String, Shown>,
}

/// What a picture is shown as.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    /// Nothing where it can be shown as it stands.
    data_url: Option<String>,
    /// How often, counted from the newest: the same may stand at several places.
    times: usize,
}

/// A picture of the request cannot be shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{place}`: {reason}")]
pub(crate) struct Error {
    /// Where it stands in the request, as the client wrote it.
    pub(crate) place: String,
    reason: Reason,
}

/// What is wrong with a picture, in words that say nothing of where it was fetched from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("expected a `data:` or http(s) URL")]
    Malformed,
    #[error("the `data:` URL is not valid base64")]
    NotBase64,
    #[error("it is none of {0}")]
    OtherType(String),
    #[error("it has more than {0} bytes (`gateway.http.endpoints.chatCompletions.images.maxBytes`)")]
    TooLarge(usize),
    #[error(
        "together the images have more than {0} bytes (`gateway.http.endpoints.chatCompletions.maxTotalImageBytes`)"
    )]
    TooMuch(usize),
    #[error("there are more than {0} images (`gateway.http.endpoints.chatCompletions.maxImageParts`)")]
    TooMany(usize),
    #[error(
        "images are taken as `data:` URLs; `gateway.http.endpoints.chatCompletions.images.allowUrl` turns on that \
         others are fetched"
    )]
    NotFetched,
    #[error("it cannot be fetched: {0}")]
    Fetch(String),
    #[error("{0} (`models.providers.<id>.models[].input`)")]
    Blind(String),
}

/// Whose picture it is, which decides what happens when it cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// What the client asks about now.
    Input,
    /// What was shown before, as the transcript or the client has it. Of these, as many of the newest are shown as may be,
    /// and what is wrong with one is no fault of what is asked now.
    Earlier,
}

/// How many bytes all pictures together still may have.
struct Budget(AtomicUsize);

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Images {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { fetcher: Fetcher::public(&settings), settings }
    }

    /// Makes ready what is shown of the pictures of an earlier transcript and of the request's messages, the last
    /// `input_count` of which are new. Takes the places out of these: they mean nothing later.
    pub(crate) async fn gallery(
        &self,
        transcript: &[Message],
        new: &mut [Message],
        input_count: usize,
    ) -> Result<Gallery, Error> {
        let (history, input) = new.split_at(new.len() - input_count);
        let chosen = self.choose(transcript, history, input)?;
        let budget = Budget(AtomicUsize::new(self.settings.max_total_image_bytes));
        let (input, earlier): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|(_, standing)| *standing == Standing::Input);
        let mut gallery = Gallery::default();
        // What is asked about now has its room first.
        for of_one_standing in [input, earlier] {
            let shown = of_one_standing.into_iter().map(|(image, standing)| self.show(image, standing, &budget));
            for (url, data_url) in try_join_all(shown).await?.into_iter().flatten() {
                let shown = gallery.shown.entry(url).or_default();
                shown.data_url = data_url;
                shown.times += 1;
            }
        }
        for part in new.iter_mut().flat_map(|message| &mut message.parts) {
            if let Some(Kind::Image(image)) = &mut part.kind {
                image.path.clear();
            }
        }
        Ok(gallery)
    }

    /// All pictures of the input, and the newest of the others as far as there is room for them.
    fn choose<'a>(
        &self,
        transcript: &'a [Message],
        history: &'a [Message],
        input: &'a [Message],
    ) -> Result<Vec<(&'a Image, Standing)>, Error> {
        let most = self.settings.max_image_parts;
        if let Some(image) = images(input).nth(most) {
            return Err(Error::of(image, Reason::TooMany(most)));
        }
        let newest_first = |messages| images(messages).collect::<Vec<_>>().into_iter().rev();
        let input = images(input).map(|image| (image, Standing::Input));
        let earlier = newest_first(history).chain(newest_first(transcript)).map(|image| (image, Standing::Earlier));
        Ok(input.chain(earlier).take(most).collect())
    }

    /// A picture and what is shown in its place; nothing when it is left out.
    async fn show(
        &self,
        image: &Image,
        standing: Standing,
        budget: &Budget,
    ) -> Result<Option<(String, Option<String>)>, Error> {
        match self.load(&image.url, budget).await {
            Ok(shown) => Ok(Some((image.url.clone(), shown))),
            Err(reason) => match standing {
                Standing::Earlier => Ok(None),
                Standing::Input => Err(Error::of(image, reason)),
            },
        }
    }

    async fn load(&self, url: &str, budget: &Budget) -> Result<Option<String>, Reason> {
        let Some((scheme, rest)) = url.split_once(':') else { return Err(Reason::Malformed) };
        if scheme.eq_ignore_ascii_case("data") {
            return self.of_data(url, rest, budget);
        }
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(Reason::Malformed);
        }
        if !self.settings.images.allow_url {
            return Err(Reason::NotFetched);
        }
        let taken = AtomicUsize::new(0);
        let take = |bytes| {
            if !budget.take(bytes) {
                return Err(self.too_much());
            }
            taken.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        };
        let fetched = self.fetcher.fetch(url, take).await;
        let fetched = fetched.and_then(|bytes| Ok(data_url(self.media_type(&bytes)?, &bytes)));
        if fetched.is_err() {
            budget.give_back(taken.into_inner());
        }
        fetched.map(Some)
    }

    /// The URL as it should be, unless it is so already. What is declared counts for nothing.
    fn of_data(&self, url: &str, rest: &str, budget: &Budget) -> Result<Option<String>, Reason> {
        let (head, content) = rest.split_once(',').ok_or(Reason::NotBase64)?;
        let head = head.strip_suffix(";base64").ok_or(Reason::NotBase64)?;
        let max_bytes = self.settings.images.max_bytes;
        // Four characters stand for three bytes.
        if content.len() / 4 > max_bytes / 3 + 1 {
            return Err(Reason::TooLarge(max_bytes));
        }
        let bytes = BASE64.decode(content).map_err(|_| Reason::NotBase64)?;
        if bytes.len() > max_bytes {
            return Err(Reason::TooLarge(max_bytes));
        }
        let media_type = self.media_type(&bytes)?;
        if !budget.take(bytes.len()) {
            return Err(self.too_much());
        }
        let is_as_it_should_be = url.starts_with("data:") && head == media_type.name() && content.len() % 4 == 0;
        Ok((!is_as_it_should_be).then(|| data_url(media_type, &bytes)))
    }

    fn media_type(&self, bytes: &[u8]) -> Result<MediaType, Reason> {
        let allowed = &self.settings.images.allowed_mimes;
        let sniffed = MediaType::sniff(bytes).filter(|sniffed| allowed.contains(sniffed));
        sniffed.ok_or_else(|| {
            let allowed: Vec<&str> = allowed.iter().map(|allowed| allowed.name()).collect();
            Reason::OtherType(allowed.join(", "))
        })
    }

    fn too_much(&self) -> Reason {
        Reason::TooMuch(self.settings.max_total_image_bytes)
    }
}

impl Gallery {
    /// Puts into a prompt what its pictures are shown as, and a note where there is nothing to show.
    pub(crate) fn hang(&self, prompt: &mut [Message]) {
        let mut times_left: HashMap<&str, usize> =
            self.shown.iter().map(|(url, shown)| (url.as_str(), shown.times)).collect();
        for part in prompt.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev()) {
            let Some(Kind::Image(image)) = &mut part.kind else { continue };
            match times_left.get_mut(image.url.as_str()) {
                Some(times) if *times > 0 => *times -= 1,
                Some(_) | None => {
                    *part = note();
                    continue;
                }
            }
            if let Some(data_url) = self.shown.get(&image.url).and_then(|shown| shown.data_url.as_ref()) {
                image.url.clone_from(data_url);
            }
        }
    }
}

impl Error {
    fn of(image: &Image, reason: Reason) -> Self {
        let place = if image.path.is_empty() { "messages" } else { &image.path };
        Self { place: place.to_owned(), reason }
    }
}

/// Those of the candidates that can be shown what is new. Fails when there is none.
pub(crate) fn seeing(candidates: Vec<Candidate>, new: &[Message]) -> Result<Vec<Candidate>, Error> {
    let Some(first) = images(new).next() else { return Ok(candidates) };
    let (seeing, blind): (Vec<_>, Vec<_>) = candidates.into_iter().partition(takes_images);
    if !seeing.is_empty() {
        return Ok(seeing);
    }
    let names: Vec<String> = blind.iter().map(|candidate| format!("`{}`", candidate.name)).collect();
    let which = match names.as_slice() {
        [name] => format!("the model {name} takes no images"),
        names => format!("none of the models {} takes images", names.join(", ")),
    };
    Err(Error::of(first, Reason::Blind(which)))
}

/// Whether a model can be shown pictures.
pub(crate) fn takes_images(candidate: &Candidate) -> bool {
    candidate.provided.profile(&candidate.name.model).takes_images
}

/// Stands for a picture that is not shown.
pub(crate) fn note() -> Part {
    Part { kind: Some(Kind::Text(NOTE.to_owned())) }
}

fn images(messages: &[Message]) -> impl Iterator<Item = &Image> {
    messages.iter().flat_map(|message| &message.parts).filter_map(|part| match &part.kind {
        Some(Kind::Image(image)) => Some(image),
        Some(Kind::Text(_) | Kind::Audio(_) | Kind::File(_) | Kind::Refusal(_) | Kind::Reasoning(_)) | None => None,
    })
}

fn data_url(media_type: MediaType, bytes: &[u8]) -> String {
    format!("data:{};base64,{}", media_type.name(), BASE64.encode(bytes))
}

#[cfg(test)]
mod tests;
