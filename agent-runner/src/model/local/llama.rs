//! A llama transformer that reads tokens and says how likely each token is to come next.

mod arithmetic;
mod attention;
mod cache;
mod matrix;
mod products;
mod rotation;
mod shape;

use std::io::{Read, Seek};

use candle_core::{Device, quantized::gguf_file::Content};
use pulp::Arch;

pub(super) use self::cache::Cache;
use self::{
    arithmetic::{add, gate, normalise},
    attention::Head,
    matrix::{Inputs, Matrix},
    rotation::Rotation,
    shape::Shape,
};

/// Tokens that go through the layers together: their weights are then read once, and a prompt is noticed as given up
/// soon enough.
const TOKENS_AT_ONCE: usize = 64;

/// The weights, which any number of threads may read with.
pub(super) struct Llama {
    shape: Shape,
    /// What a token stands for, and, since the model ties the two, what speaks for a token as the next one.
    embedding: Matrix,
    output: Option<Matrix>,
    output_norm: Vec<f32>,
    layers: Vec<Layer>,
    rotation: Rotation,
    most_tokens: usize,
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    attention_output: Matrix,
    inner_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// What the model thinks after the last token that it read.
pub(super) struct LastState(Vec<f32>);

/// Reading was given up half-way; the cache is of no more use.
#[derive(Debug)]
pub(super) struct GivenUp;

impl Llama {
    /// Loads the weights for conversations of up to `most_tokens` tokens.
    pub(super) fn load(
        content: &Content,
        file: &mut (impl Read + Seek),
        most_tokens: usize,
    ) -> candle_core::Result<Self> {
        let shape = Shape::read(content)?;
        let mut tensors = Tensors { content, file };
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let output = content.tensor_infos.contains_key("output.weight");
        Ok(Self {
            embedding: tensors.matrix("token_embd.weight", vocabulary, width)?,
            output: output.then(|| tensors.matrix("output.weight", vocabulary, width)).transpose()?,
            output_norm: tensors.vector("output_norm.weight", width)?,
            layers: (0..shape.layers)
                .map(|index| Layer::load(&mut tensors, &shape, index))
                .collect::<Result<_, _>>()?,
            rotation: Rotation::new(shape.rope_base, shape.head_width, most_tokens),
            shape,
            most_tokens,
        })
    }

    /// The memory of a conversation that has not begun.
    pub(super) fn empty_cache(&self) -> Cache {
        Cache::new(self.shape.layers, self.shape.key_width())
    }

    /// Reads a part of a prompt, at least one token, into the cache; asks before each layer whether it was given up.
    ///
    /// The numbers do not depend on how a prompt is cut into parts.
    ///
    /// # Panics
    /// If the context is exceeded, or a token is not one of the vocabulary.
    pub(super) fn read(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        given_up: &impl Fn() -> bool,
    ) -> Result<LastState, GivenUp> {
        let mut last = LastState(Vec::new());
        for some in tokens.chunks(TOKENS_AT_ONCE) {
            last = self.advance(some, cache, given_up, Inputs::Many)?;
        }
        Ok(last)
    }

    /// Reads the next token of the answer, less exactly but sooner than [`Self::read`].
    pub(super) fn read_next(
        &self,
        token: u32,
        cache: &mut Cache,
        given_up: &impl Fn() -> bool,
    ) -> Result<LastState, GivenUp> {
        self.advance(&[token], cache, given_up, |state| Inputs::one(&state))
    }

    fn advance(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        given_up: &impl Fn() -> bool,
        inputs: fn(Vec<f32>) -> Inputs,
    ) -> Result<LastState, GivenUp> {
        assert!(cache.len() + tokens.len() <= self.most_tokens, "the prompt is fitted to the context");
        let mut states = vec![0.0; tokens.len() * self.shape.width];
        for (token, state) in tokens.iter().zip(states.chunks_exact_mut(self.shape.width)) {
            self.embedding.read_row(usize::try_from(*token).expect("usize has 32 bits or more"), state);
        }
        for (layer, cached) in self.layers.iter().zip(&mut cache.layers) {
            if given_up() {
                return Err(GivenUp);
            }
            self.attend(layer, cached, &mut states, inputs);
            layer.think(&mut states, self.shape.epsilon, inputs);
        }
        cache.grew_by(tokens.len());
        Ok(LastState(states.split_off((tokens.len() - 1) * self.shape.width)))
    }

    /// How much speaks for each token of the vocabulary to come next.
    pub(super) fn scores(&self, state: &LastState) -> Vec<f32> {
        let normalised = normalise(&state.0, &self.output_norm, self.shape.epsilon);
        self.output.as_ref().unwrap_or(&self.embedding).multiply(&Inputs::one(&normalised))
    }

    /// Lets each token look at itself and at those before it.
    fn attend(&self, layer: &Layer, cached: &mut cache::Layer, states: &mut [f32], inputs: fn(Vec<f32>) -> Inputs) {
        let Shape { width, head_width, epsilon, .. } = self.shape;
        let key_width = self.shape.key_width();
        let before = cached.keys.len() / key_width;
        let normalised = inputs(normalise(states, &layer.attention_norm, epsilon));
        let mut queries = layer.query.multiply(&normalised);
        let mut keys = layer.key.multiply(&normalised);
        for (index, key) in keys.chunks_exact_mut(key_width).enumerate() {
            self.rotation.apply(key, before + index);
        }
        cached.keys.extend(keys);
        cached.values.extend(layer.value.multiply(&normalised));

        let arch = Arch::new();
        let mut found = vec![0.0; states.len()];
        for (index, (query, found)) in queries.chunks_exact_mut(width).zip(found.chunks_exact_mut(width)).enumerate() {
            let visible = (before + index + 1) * key_width;
            self.rotation.apply(query, before + index);
            let (keys, values) = (&cached.keys[..visible], &cached.values[..visible]);
            let heads = query.chunks_exact(head_width).zip(found.chunks_exact_mut(head_width));
            for (head, (query, found)) in heads.enumerate() {
                let offset = head * self.shape.key_heads / self.shape.heads * head_width;
                Head { query, keys, values, stride: key_width, offset, found }.look(arch);
            }
        }
        add(states, &layer.attention_output.multiply(&inputs(found)));
    }
}

impl Layer {
    fn load(tensors: &mut Tensors<impl Read + Seek>, shape: &Shape, index: usize) -> candle_core::Result<Self> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let (width, inner, keys) = (shape.width, shape.inner_width, shape.key_width());
        Ok(Self {
            attention_norm: tensors.vector(&name("attn_norm"), width)?,
            query: tensors.matrix(&name("attn_q"), width, width)?,
            key: tensors.matrix(&name("attn_k"), keys, width)?,
            value: tensors.matrix(&name("attn_v"), keys, width)?,
            attention_output: tensors.matrix(&name("attn_output"), width, width)?,
            inner_norm: tensors.vector(&name("ffn_norm"), width)?,
            gate: tensors.matrix(&name("ffn_gate"), inner, width)?,
            up: tensors.matrix(&name("ffn_up"), inner, width)?,
            down: tensors.matrix(&name("ffn_down"), width, inner)?,
        })
    }

    /// The part of a layer that looks at each token alone.
    fn think(&self, states: &mut [f32], epsilon: f32, inputs: fn(Vec<f32>) -> Inputs) {
        let normalised = inputs(normalise(states, &self.inner_norm, epsilon));
        let mut inner = self.up.multiply(&normalised);
        gate(&mut inner, &self.gate.multiply(&normalised));
        add(states, &self.down.multiply(&inputs(inner)));
    }
}

/// The tensors of a file, by name.
struct Tensors<'a, F> {
    content: &'a Content,
    file: &'a mut F,
}

impl<F: Read + Seek> Tensors<'_, F> {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> candle_core::Result<Matrix> {
        let tensor = self.content.tensor(self.file, name, &Device::Cpu)?;
        Matrix::new(&tensor, rows, columns).map_err(|error| error.context(name.to_owned()))
    }

    fn vector(&mut self, name: &str, length: usize) -> candle_core::Result<Vec<f32>> {
        let tensor = self.content.tensor(self.file, name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        match tensor.to_vec1::<f32>()? {
            vector if vector.len() == length => Ok(vector),
            vector => candle_core::bail!("{name} has {} numbers instead of {length}", vector.len()),
        }
    }
}
