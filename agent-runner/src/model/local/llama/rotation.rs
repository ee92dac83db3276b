//! Rotary position embedding, in the interleaved order of llama's GGUF files.

/// The rotations of every position.
pub(super) struct Rotation {
    /// Sine and cosine for each pair of numbers of a head, position after position.
    angles: Vec<(f32, f32)>,
    pairs: usize,
}

impl Rotation {
    /// Prepares for heads of the given width.
    pub(super) fn new(base: f32, head_width: usize, positions: usize) -> Self {
        let pairs = head_width / 2;
        let as_number = |index: usize| u16::try_from(index).map_or(f32::MAX, f32::from);
        let frequency = |pair: usize| 1.0 / base.powf(as_number(2 * pair) / as_number(head_width));
        let angles = (0..positions)
            .flat_map(|position| (0..pairs).map(move |pair| (as_number(position) * frequency(pair)).sin_cos()))
            .collect();
        Self { angles, pairs }
    }

    /// Rotates all heads of one token.
    pub(super) fn apply(&self, heads: &mut [f32], position: usize) {
        let angles = &self.angles[position * self.pairs..][..self.pairs];
        for head in heads.chunks_exact_mut(2 * self.pairs) {
            for (pair, (sine, cosine)) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                let [x, y] = *pair;
                *pair = [x * cosine - y * sine, x * sine + y * cosine];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_zero_turns_nothing_and_position_one_turns_the_first_pair_by_one_radian() {
        let rotation = Rotation::new(10_000.0, 4, 2);
        let mut head = [1.0, 0.0, 5.0, 6.0];
        rotation.apply(&mut head, 0);
        assert_eq!(format!("{head:?}"), "[1.0, 0.0, 5.0, 6.0]");
        rotation.apply(&mut head, 1);
        assert_eq!(format!("{:?}", &head[..2]), format!("{:?}", [1.0_f32.cos(), 1.0_f32.sin()]));
    }
}
