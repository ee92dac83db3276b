//! The sizes of a model, as its file states them.

use candle_core::quantized::gguf_file::{Content, Value};

/// No model that is worth running on a processor is larger; a corrupt file may say anything.
const MOST: usize = 1 << 20;

/// No processor's vectors hold more numbers, so that a head of a multiple of this has no odd ones.
const VECTOR: usize = 16;

/// The sizes of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) inner_width: usize,
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) head_width: usize,
    pub(super) vocabulary: usize,
    pub(super) epsilon: f32,
    pub(super) rope_base: f32,
}

impl Shape {
    pub(super) fn read(content: &Content) -> candle_core::Result<Self> {
        let architecture = value(content, "general.architecture")?.to_string()?;
        if architecture != "llama" {
            candle_core::bail!("its architecture is {architecture:?}, not \"llama\"");
        }
        let width = size(content, "llama.embedding_length")?;
        let heads = size(content, "llama.attention.head_count")?;
        let key_heads = size(content, "llama.attention.head_count_kv")?;
        let shape = Self {
            layers: size(content, "llama.block_count")?,
            width,
            inner_width: size(content, "llama.feed_forward_length")?,
            heads,
            key_heads,
            head_width: width / heads,
            vocabulary: value(content, "tokenizer.ggml.tokens")?.to_vec()?.len(),
            epsilon: value(content, "llama.attention.layer_norm_rms_epsilon")?.to_f32()?,
            rope_base: value(content, "llama.rope.freq_base")?.to_f32()?,
        };
        let rotated = size(content, "llama.rope.dimension_count")?;
        let divides = width.is_multiple_of(heads) && heads.is_multiple_of(key_heads);
        if !divides || rotated != shape.head_width || !rotated.is_multiple_of(VECTOR) {
            candle_core::bail!("its sizes do not fit together: {shape:?}");
        }
        Ok(shape)
    }

    /// Numbers in the keys, or the values, of one token in one layer.
    pub(super) fn key_width(&self) -> usize {
        self.key_heads * self.head_width
    }
}

fn value<'a>(content: &'a Content, key: &str) -> candle_core::Result<&'a Value> {
    content.metadata.get(key).ok_or_else(|| candle_core::Error::msg(format!("it lacks the key {key}")))
}

fn size(content: &Content, key: &str) -> candle_core::Result<usize> {
    match usize::try_from(value(content, key)?.to_u32()?) {
        Ok(size) if (1..=MOST).contains(&size) => Ok(size),
        Ok(size) => candle_core::bail!("its {key} is {size}"),
        Err(error) => Err(candle_core::Error::wrap(error)),
    }
}
