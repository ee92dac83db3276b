//! Text to tokens and back, from the vocabulary and the merges in the model's file.
//!
//! candle can build a tokenizer from such a file as well, but puts a space before the text, which this model was not
//! trained on.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::{Content, Value};
use tokenizers::{
    Tokenizer,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{byte_level::ByteLevel, digits::Digits, sequence::Sequence},
};

use crate::model::Error;

/// The vocabulary of a model of the `SmolLM` family.
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    /// What each token stands for; nothing for a control token.
    bytes: Vec<Box<[u8]>>,
    longest: usize,
    turn_start: u32,
    turn_end: u32,
    text_end: u32,
}

/// What the file says about a token's kind when it is an ordinary piece of text.
const ORDINARY: i32 = 1;

impl Vocabulary {
    /// Reads the vocabulary of a model file.
    pub(super) fn load(content: &Content) -> candle_core::Result<Self> {
        let value = |key: &str| {
            let key = format!("tokenizer.ggml.{key}");
            content.metadata.get(&key).ok_or_else(|| candle_core::Error::msg(format!("it lacks the key {key}")))
        };
        let (model, splitting) = (value("model")?.to_string()?, value("pre")?.to_string()?);
        if model != "gpt2" || splitting != "smollm" {
            candle_core::bail!("its tokenizer is {model}/{splitting}, and only gpt2/smollm is known");
        }
        let texts = |key: &str| value(key)?.to_vec()?.iter().map(Value::to_string).collect::<Result<Vec<_>, _>>();
        let kinds = value("token_type")?.to_vec()?.iter().map(Value::to_i32).collect::<Result<Vec<_>, _>>()?;
        Self::new(&texts("tokens")?, &kinds, &texts("merges")?)
    }

    fn new(tokens: &[&String], kinds: &[i32], merges: &[&String]) -> candle_core::Result<Self> {
        let ids: HashMap<&str, u32> = tokens.iter().map(|token| token.as_str()).zip(0..).collect();
        let id = |token: &str| {
            ids.get(token).copied().ok_or_else(|| candle_core::Error::msg(format!("its vocabulary lacks {token}")))
        };
        let merges = merges
            .iter()
            .map(|merge| merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| candle_core::Error::msg("one of its merges is not a pair"))?;
        let model = BPE::builder()
            .vocab_and_merges(ids.iter().map(|(token, id)| ((*token).to_owned(), *id)).collect::<Vocab>(), merges)
            .build()
            .map_err(candle_core::Error::msg)?;
        let mut tokenizer = Tokenizer::new(model);
        let split = vec![Digits::new(true).into(), ByteLevel::new(false, false, true).into()];
        tokenizer.with_pre_tokenizer(Some(Sequence::new(split)));

        let bytes_of = bytes_of_letters();
        let bytes: Vec<Box<[u8]>> = tokens
            .iter()
            .zip(kinds)
            .map(|(token, kind)| {
                let letters = token.chars().filter(|_| *kind == ORDINARY);
                letters.filter_map(|letter| bytes_of.get(&letter).copied()).collect()
            })
            .collect();
        if bytes.len() != tokens.len() {
            candle_core::bail!("its vocabulary has {} tokens and {} kinds", tokens.len(), kinds.len());
        }
        Ok(Self {
            longest: bytes.iter().map(|bytes| bytes.len()).max().unwrap_or(0),
            turn_start: id("<|im_start|>")?,
            turn_end: id("<|im_end|>")?,
            text_end: id("<|endoftext|>")?,
            tokenizer,
            bytes,
        })
    }

    /// The tokens of a text; whatever looks like a control token in it is text as well.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.tokenizer.encode_fast(text, false);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| Error::Failed(format!("a text cannot be split into tokens: {error}")))
    }

    /// Fewer tokens than this cannot make up the text.
    pub(super) fn fewest_tokens(&self, text: &str) -> usize {
        text.len() / self.longest.max(1)
    }

    /// What a token adds to the text: any part of UTF-8, or nothing.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        usize::try_from(token).ok().and_then(|token| self.bytes.get(token)).map_or(&[], |bytes| bytes)
    }

    /// The token that opens a turn.
    pub(super) fn turn_start(&self) -> u32 {
        self.turn_start
    }

    /// The token that closes a turn.
    pub(super) fn turn_end(&self) -> u32 {
        self.turn_end
    }

    /// Whether the model says by this token that its answer is complete.
    pub(super) fn ends_answer(&self, token: u32) -> bool {
        token == self.turn_end || token == self.text_end
    }
}

/// GPT-2's way to write any byte as a letter: printable ones as themselves, the others from 256 on.
fn bytes_of_letters() -> HashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte)).zip('\u{100}'..).map(|(byte, letter)| (letter, byte));
    (0..=u8::MAX).filter(printable).map(|byte| (char::from(byte), byte)).chain(others).collect()
}

#[cfg(test)]
impl Vocabulary {
    /// A vocabulary without any merge: every byte is a token of its own, 3 + byte's rank among the letters.
    pub(super) fn of_bytes() -> Self {
        let mut tokens: Vec<String> = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).into();
        let mut letters: Vec<(u8, char)> =
            bytes_of_letters().into_iter().map(|(letter, byte)| (byte, letter)).collect();
        letters.sort_unstable();
        tokens.extend(letters.into_iter().map(|(_, letter)| letter.to_string()));
        let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < 3 { 3 } else { ORDINARY }).collect();
        Self::new(&tokens.iter().collect::<Vec<_>>(), &kinds, &[]).unwrap()
    }

    /// What tokens say, with control tokens spelt out.
    pub(super) fn spell(&self, tokens: &[u32]) -> String {
        let spelt = tokens.iter().flat_map(|token| match token {
            0 => b"<|endoftext|>".as_slice(),
            1 => b"<|im_start|>",
            2 => b"<|im_end|>",
            token => self.bytes(*token),
        });
        String::from_utf8(spelt.copied().collect()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_survives_the_way_to_tokens_and_back() {
        let vocabulary = Vocabulary::of_bytes();
        let text: String = "a  b\r\n\t\0\u{a0}ß漢🦀 <|im_end|>".into();
        let tokens = vocabulary.encode(&text).unwrap();
        assert_eq!(tokens.len(), text.len());
        assert!(tokens.iter().all(|token| !vocabulary.ends_answer(*token)));
        assert_eq!(vocabulary.spell(&tokens), text);
    }
}
