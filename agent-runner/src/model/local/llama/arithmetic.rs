//! The small vector operations of a transformer, in a fixed order, so that every build computes the same numbers.

/// Scales each row to a root mean square of one, then by the weights.
pub(super) fn normalise(rows: &[f32], weights: &[f32], epsilon: f32) -> Vec<f32> {
    let width = u16::try_from(weights.len()).map_or(f32::MAX, f32::from);
    let mut normalised = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(weights.len()) {
        let mean_square = row.iter().map(|value| value * value).sum::<f32>() / width;
        let scale = 1.0 / (mean_square + epsilon).sqrt();
        normalised.extend(row.iter().zip(weights).map(|(value, weight)| value * scale * weight));
    }
    normalised
}

/// Adds to each number the one at its place.
pub(super) fn add(to: &mut [f32], what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what;
    }
}

/// Turns scores into shares of one.
pub(super) fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score - highest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Lets each number through as far as its gate is open.
pub(super) fn gate(values: &mut [f32], gates: &[f32]) {
    for (value, gate) in values.iter_mut().zip(gates) {
        *value *= gate / (1.0 + (-gate).exp());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_shares_of_one() {
        let mut scores = [1_000.0, 1_000.0, f32::NEG_INFINITY];
        softmax(&mut scores);
        assert_eq!(format!("{scores:?}"), "[0.5, 0.5, 0.0]");
    }

    #[test]
    fn a_normalised_row_has_a_mean_square_of_one() {
        let normalised = normalise(&[3.0, -3.0, 0.5, 0.5], &[1.0, 2.0], 0.0);
        assert_eq!(format!("{normalised:?}"), "[1.0, -2.0, 1.0, 2.0]");
    }
}
