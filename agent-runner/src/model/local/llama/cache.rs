//! What attention remembers of the tokens that were read.

/// The keys and values of a conversation so far, for every layer.
#[derive(Clone)]
pub(in crate::model::local) struct Cache {
    pub(super) layers: Vec<Layer>,
    /// Numbers per token in each of a layer's two lists.
    width: usize,
    length: usize,
}

/// One layer's part: one row per token.
#[derive(Clone, Default)]
pub(super) struct Layer {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Cache {
    pub(super) fn new(layers: usize, width: usize) -> Self {
        Self { layers: vec![Layer::default(); layers], width, length: 0 }
    }

    /// How many tokens it holds.
    pub(in crate::model::local) fn len(&self) -> usize {
        self.length
    }

    /// Copies what it holds of the first tokens.
    pub(in crate::model::local) fn first(&self, tokens: usize) -> Self {
        let numbers = tokens * self.width;
        let copy =
            |layer: &Layer| Layer { keys: layer.keys[..numbers].to_vec(), values: layer.values[..numbers].to_vec() };
        Self { layers: self.layers.iter().map(copy).collect(), width: self.width, length: tokens }
    }

    pub(super) fn grew_by(&mut self, tokens: usize) {
        self.length += tokens;
        debug_assert!(self.layers.iter().all(|layer| layer.keys.len() == self.length * self.width));
    }
}
