//! Weights as rows of 8-bit blocks, multiplied on the calling thread.
//!
//! The format and the kernel for one input are candle's. Its own matrix product is not used: that one spreads over a
//! pool that the whole process shares and that admits one caller at a time, so that generations would wait for each
//! other at every layer, and spins for cores that others need.

use candle_core::{
    Device, Tensor,
    quantized::{GgmlType, QTensor, k_quants::BlockQ8_0},
};
use pulp::Arch;

use super::products::{self, Products};

/// Numbers per block.
const BLOCK: usize = BlockQ8_0::BLCK_SIZE;

/// Rows per call of candle's kernel, which shares the loads of its input between them where that pays.
const ROWS_AT_ONCE: usize = 4;

/// Rows that are requantised at a time, so that loading needs little memory beyond the result.
const ROWS_PER_STEP: usize = 1_024;

/// A matrix of weights, quantised to 8 bits.
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    blocks: Vec<BlockQ8_0>,
}

impl Matrix {
    /// Requantises a tensor of any of the file's types.
    pub(super) fn new(tensor: &QTensor, rows: usize, columns: usize) -> candle_core::Result<Self> {
        if tensor.shape().dims() != [rows, columns] {
            candle_core::bail!("a tensor has shape {:?} instead of [{rows}, {columns}]", tensor.shape().dims());
        }
        if !rows.is_multiple_of(ROWS_AT_ONCE.max(products::ROWS)) || !columns.is_multiple_of(BLOCK) {
            candle_core::bail!("a tensor of {rows} × {columns} does not divide into blocks");
        }
        let rows_u32 = u32::try_from(rows).map_err(candle_core::Error::wrap)?;
        let mut blocks = Vec::with_capacity(rows * columns / BLOCK);
        for from in (0..rows_u32).step_by(ROWS_PER_STEP) {
            let to = rows_u32.min(from + u32::try_from(ROWS_PER_STEP).expect("a small constant"));
            let values = tensor.embedding(&Tensor::arange(from, to, &Device::Cpu)?)?;
            blocks.extend(quantise(&values.flatten_all()?.to_vec1::<f32>()?));
        }
        Ok(Self { rows, columns, blocks })
    }

    /// Writes one row, as numbers.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn read_row(&self, row: usize, into: &mut [f32]) {
        let length = self.columns / BLOCK;
        BlockQ8_0::to_float(&self.blocks[row * length..][..length], into);
    }

    /// Multiplies the matrix with each of the inputs, which lie one behind the other, as the outputs do.
    pub(super) fn multiply(&self, inputs: &Inputs) -> Vec<f32> {
        match inputs {
            Inputs::One(input) => self.multiply_one(input),
            Inputs::Many(inputs) => self.multiply_many(inputs),
        }
    }

    fn multiply_one(&self, input: &[BlockQ8_0]) -> Vec<f32> {
        let length = self.columns / BLOCK;
        let rows = self.blocks.chunks_exact(length * ROWS_AT_ONCE);
        let products = rows.flat_map(|weights| {
            let (first, rest) = weights.split_at(length);
            let (second, rest) = rest.split_at(length);
            let (third, fourth) = rest.split_at(length);
            <[f32; ROWS_AT_ONCE]>::from(BlockQ8_0::vec_dot_4(self.columns, first, second, third, fourth, input))
        });
        products.collect()
    }

    /// Rows outside and inputs inside: each weight is read from memory, and made a number, once.
    fn multiply_many(&self, inputs: &[f32]) -> Vec<f32> {
        let arch = Arch::new();
        let mut outputs = vec![0.0; inputs.len() / self.columns * self.rows];
        let mut rows = vec![0.0; products::ROWS * self.columns];
        for (index, blocks) in self.blocks.chunks_exact(self.columns / BLOCK * products::ROWS).enumerate() {
            BlockQ8_0::to_float(blocks, &mut rows);
            let (first_row, output_length) = (index * products::ROWS, self.rows);
            Products { rows: &rows, inputs, outputs: &mut outputs, output_length, first_row }.compute(arch);
        }
        outputs
    }
}

/// What to multiply matrices with, prepared once for all of them.
pub(super) enum Inputs {
    /// One vector, quantised, so that less has to be computed for each weight than it takes to read it.
    One(Vec<BlockQ8_0>),
    /// Any number of vectors, one behind the other.
    Many(Vec<f32>),
}

impl Inputs {
    /// Prepares a vector.
    pub(super) fn one(values: &[f32]) -> Self {
        Self::One(quantise(values))
    }
}

fn quantise(values: &[f32]) -> Vec<BlockQ8_0> {
    let mut blocks = vec![BlockQ8_0::zeros(); values.len() / BLOCK];
    BlockQ8_0::from_float(values, &mut blocks);
    blocks
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    #[test]
    fn a_product_is_that_of_the_numbers_but_for_quantisation() {
        let (rows, columns) = (8_u8, 64_u8);
        let weights: Vec<f32> =
            (0..rows).flat_map(|r| (0..columns).map(move |c| f32::from(r) - f32::from(c) / 16.0)).collect();
        let tensor =
            Tensor::from_vec(weights.clone(), (usize::from(rows), usize::from(columns)), &Device::Cpu).unwrap();
        let matrix =
            Matrix::new(&QTensor::quantize(&tensor, GgmlDType::F32).unwrap(), rows.into(), columns.into()).unwrap();
        let inputs: Vec<f32> = (0..2 * columns).map(|i| f32::from(i) / 100.0).collect();

        let many = matrix.multiply(&Inputs::Many(inputs.clone()));
        let one = matrix.multiply(&Inputs::one(&inputs[64..]));

        assert_eq!((one.len(), many.len()), (usize::from(rows), 2 * usize::from(rows)));
        for (index, product) in many.iter().enumerate() {
            let (input, row) = (index / usize::from(rows), index % usize::from(rows));
            let exact: f32 = weights[row * 64..][..64].iter().zip(&inputs[input * 64..]).map(|(w, x)| w * x).sum();
            assert!((product - exact).abs() < 1.0, "{product} is not {exact}");
            assert!(input == 0 || (one[row] - exact).abs() < 1.0, "{} is not {exact}", one[row]);
        }
    }
}
