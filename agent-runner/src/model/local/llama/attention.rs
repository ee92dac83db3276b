//! One head's look at what was read before.

use pulp::{Arch, Simd, WithSimd};

use super::arithmetic::softmax;

/// A head's query, and the keys and values of the tokens that it sees.
pub(super) struct Head<'a> {
    /// What is looked for.
    pub(super) query: &'a [f32],
    /// The keys of all heads, token after token.
    pub(super) keys: &'a [f32],
    /// The values of all heads, token after token.
    pub(super) values: &'a [f32],
    /// Numbers per token in each of the two.
    pub(super) stride: usize,
    /// Where in them this head's begin.
    pub(super) offset: usize,
    /// Takes the sum of the values, each by how well its key answers the query.
    pub(super) found: &'a mut [f32],
}

impl Head<'_> {
    /// Looks.
    pub(super) fn look(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "the caller's instruction set holds only for what is inlined into it")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.query.len();
        let of_head =
            |token: &'_ [f32]| -> std::ops::Range<usize> { self.offset..(self.offset + width).min(token.len()) };
        let scale = 1.0 / u16::try_from(width).map_or(f32::MAX, f32::from).sqrt();
        let query = S::as_simd_f32s(self.query).0;
        let mut shares = Vec::with_capacity(self.keys.len() / self.stride);
        for key in self.keys.chunks_exact(self.stride) {
            let key = S::as_simd_f32s(&key[of_head(key)]).0;
            let mut sum = simd.splat_f32s(0.0);
            for (query, key) in query.iter().zip(key) {
                sum = simd.mul_add_e_f32s(*query, *key, sum);
            }
            shares.push(simd.reduce_sum_f32s(sum) * scale);
        }
        softmax(&mut shares);
        let found = S::as_mut_simd_f32s(self.found).0;
        for (value, share) in self.values.chunks_exact(self.stride).zip(shares) {
            let share = simd.splat_f32s(share);
            let value = S::as_simd_f32s(&value[of_head(value)]).0;
            for (found, value) in found.iter_mut().zip(value) {
                *found = simd.mul_add_e_f32s(share, *value, *found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_the_best_key_is_found() {
        let one_hot = |place: usize, value: f32| (0..64).map(move |index| if index == place { value } else { 0.0 });
        let query: Vec<f32> = one_hot(3, 100.0).collect();
        let other_head = vec![f32::NAN; 64];
        let keys: Vec<f32> =
            [other_head.clone(), one_hot(3, 9.0).collect(), other_head.clone(), one_hot(5, 9.0).collect()].concat();
        let values = [other_head.clone(), vec![1.5; 64], other_head, vec![7.0; 64]].concat();
        let mut found = vec![0.0; 64];
        Head { query: &query, keys: &keys, values: &values, stride: 128, offset: 64, found: &mut found }
            .look(Arch::new());
        assert!(found.iter().all(|number| (number - 1.5).abs() < 1e-6), "{found:?}");
    }
}
