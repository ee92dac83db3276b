//! Products of several rows with several inputs at a time: each number that is loaded is then used more than once.

use pulp::{Arch, Simd, WithSimd};

/// Rows in one step; with [`INPUTS`] of them, the sums just fit into the registers.
pub(super) const ROWS: usize = 4;
/// Inputs in one step.
const INPUTS: usize = 2;

/// Some rows of a matrix, and what to multiply them with.
pub(super) struct Products<'a> {
    /// [`ROWS`] rows, one behind the other.
    pub(super) rows: &'a [f32],
    /// Any number of inputs, one behind the other, each as long as a row.
    pub(super) inputs: &'a [f32],
    /// For each input, an output that is as long as the matrix has rows.
    pub(super) outputs: &'a mut [f32],
    /// How long that is.
    pub(super) output_length: usize,
    /// The place of the first row in its matrix.
    pub(super) first_row: usize,
}

impl Products<'_> {
    /// Writes the products of the rows with each input to their places in its output.
    pub(super) fn compute(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "the caller's instruction set holds only for what is inlined into it")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let columns = self.rows.len() / ROWS;
        let (lower, upper) = self.rows.split_at(2 * columns);
        let ((first, second), (third, fourth)) = (lower.split_at(columns), upper.split_at(columns));
        let rows = [first, second, third, fourth];
        let inputs = self.inputs.chunks(INPUTS * columns);
        let outputs = self.outputs.chunks_mut(INPUTS * self.output_length);
        for (inputs, outputs) in inputs.zip(outputs) {
            let (first, second) = inputs.split_at(columns);
            let (first_output, second_output) = outputs.split_at_mut(self.output_length);
            if second.is_empty() {
                let [products] = dot_all(simd, rows, [first]);
                first_output[self.first_row..][..ROWS].copy_from_slice(&products);
            } else {
                let [first_products, second_products] = dot_all(simd, rows, [first, second]);
                first_output[self.first_row..][..ROWS].copy_from_slice(&first_products);
                second_output[self.first_row..][..ROWS].copy_from_slice(&second_products);
            }
        }
    }
}

/// The product of each row with each input. They are as long as each other, and a multiple of any vector's length.
///
/// There are loops where closures would read better: a closure that is not inlined loses the instruction set.
#[expect(clippy::inline_always, reason = "the caller's instruction set holds only for what is inlined into it")]
#[inline(always)]
fn dot_all<S: Simd, const N: usize>(simd: S, rows: [&[f32]; ROWS], inputs: [&[f32]; N]) -> [[f32; ROWS]; N] {
    let length = S::as_simd_f32s(rows[0]).0.len();
    let (mut row_vectors, mut input_vectors) = ([&[][..]; ROWS], [&[][..]; N]);
    for (vectors, row) in row_vectors.iter_mut().zip(rows) {
        *vectors = &S::as_simd_f32s(row).0[..length];
    }
    for (vectors, input) in input_vectors.iter_mut().zip(inputs) {
        *vectors = &S::as_simd_f32s(input).0[..length];
    }
    let mut sums = [[simd.splat_f32s(0.0); ROWS]; N];
    for index in 0..length {
        for (input, sums) in input_vectors.iter().zip(&mut sums) {
            for (row, sum) in row_vectors.iter().zip(sums) {
                *sum = simd.mul_add_e_f32s(row[index], input[index], *sum);
            }
        }
    }
    let mut products = [[0.0; ROWS]; N];
    for (sums, products) in sums.iter().zip(&mut products) {
        for (sum, product) in sums.iter().zip(products) {
            *product = simd.reduce_sum_f32s(*sum);
        }
    }
    products
}
