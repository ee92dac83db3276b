//! The choice of the next token.

use std::collections::HashMap;

use proto::agent::v1::GenerationOptions;

/// What the model's authors recommend; a model this small rambles at more.
const DEFAULT_TEMPERATURE: f32 = 0.2;
/// What the model's authors recommend.
const DEFAULT_TOP_P: f32 = 0.9;
/// Keeps a model this small from saying the same thing over and over. A greedy draw is left as it is.
const DEFAULT_FREQUENCY_PENALTY: f32 = 0.4;
/// Below this, dividing by the temperature would overflow, and the draw is certain anyway.
const COLDEST: f32 = 1e-3;

/// Draws tokens as a request's options say.
pub(super) struct Sampler {
    temperature: f32,
    top_p: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    /// How often each token has been drawn.
    drawn: HashMap<u32, f32>,
    random: fastrand::Rng,
}

impl Sampler {
    /// Reads `temperature`, `top_p`, `frequency_penalty`, `presence_penalty` and `seed`.
    pub(super) fn new(options: &GenerationOptions) -> Self {
        let temperature = options.temperature.map_or(DEFAULT_TEMPERATURE, narrow);
        let temperature = if temperature < COLDEST { 0.0 } else { temperature };
        let frequency_penalty = if temperature == 0.0 { 0.0 } else { DEFAULT_FREQUENCY_PENALTY };
        Self {
            temperature,
            top_p: options.top_p.map_or(DEFAULT_TOP_P, narrow).clamp(0.0, 1.0),
            frequency_penalty: options.frequency_penalty.map_or(frequency_penalty, narrow),
            presence_penalty: options.presence_penalty.map_or(0.0, narrow),
            drawn: HashMap::new(),
            random: options.seed.map_or_else(fastrand::Rng::new, |seed| fastrand::Rng::with_seed(seed.cast_unsigned())),
        }
    }

    /// Draws the next token by its score, less what it costs to be drawn again.
    pub(super) fn draw(&mut self, scores: &[f32]) -> u32 {
        let mut candidates: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).collect();
        for (token, times) in &self.drawn {
            candidates[*token as usize].1 -= self.frequency_penalty * times + self.presence_penalty;
        }
        let token = self.choose(candidates);
        *self.drawn.entry(token).or_default() += 1.0;
        token
    }

    fn choose(&mut self, mut candidates: Vec<(u32, f32)>) -> u32 {
        let best = candidates.iter().copied().reduce(|best, other| if other.1 > best.1 { other } else { best });
        let best = best.expect("a vocabulary is not empty");
        if self.temperature == 0.0 {
            return best.0;
        }
        let mut sum = 0.0;
        for (_, score) in &mut candidates {
            *score = ((*score - best.1) / self.temperature).exp();
            sum += *score;
        }
        self.keep_nucleus(&mut candidates, sum);
        self.pick(&candidates).unwrap_or(best.0)
    }

    /// Keeps the most likely tokens that together reach `top_p`, most likely first.
    fn keep_nucleus(&self, candidates: &mut Vec<(u32, f32)>, sum: f32) {
        // Even all of the vocabulary below this would not add up to what the nucleus may leave out.
        let vocabulary = u16::try_from(candidates.len()).map_or(f32::from(u16::MAX), f32::from);
        let negligible = (1.0 - self.top_p) * sum / vocabulary / 2.0;
        candidates.retain(|(_, weight)| *weight > negligible);
        candidates.sort_unstable_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        let mut reached = 0.0;
        let beyond = candidates.iter().position(|(_, weight)| {
            let enough = reached >= self.top_p * sum;
            reached += weight;
            enough
        });
        candidates.truncate(beyond.unwrap_or(candidates.len()).max(1));
    }

    fn pick(&mut self, candidates: &[(u32, f32)]) -> Option<u32> {
        let mut left = self.random.f32() * candidates.iter().map(|(_, weight)| weight).sum::<f32>();
        let picked = candidates.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        picked.or(candidates.last()).map(|(token, _)| *token)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an option of a request needs no more precision")]
fn narrow(option: f64) -> f32 {
    option as f32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn draws(options: &GenerationOptions, scores: &[f32]) -> BTreeSet<u32> {
        let mut sampler = Sampler::new(options);
        (0..500).map(|_| sampler.draw(scores)).collect()
    }

    #[test]
    fn zero_temperature_is_greedy() {
        let options = GenerationOptions { temperature: Some(0.0), ..Default::default() };
        assert_eq!(draws(&options, &[0.5, 2.0, 2.0, -1.0]), BTreeSet::from([1]));
    }

    #[test]
    fn only_the_nucleus_is_drawn_from() {
        let scores = [0.5_f32.ln(), 0.3_f32.ln(), 0.15_f32.ln(), 0.05_f32.ln()];
        let draws = |top_p| {
            let options = GenerationOptions {
                temperature: Some(1.0),
                top_p: Some(top_p),
                frequency_penalty: Some(0.0),
                seed: Some(7),
                ..Default::default()
            };
            draws(&options, &scores)
        };
        assert_eq!(draws(0.0), BTreeSet::from([0]));
        assert_eq!(draws(0.75), BTreeSet::from([0, 1]));
        assert_eq!(draws(1.0), BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn what_was_drawn_before_is_less_likely() {
        let drawn = |frequency_penalty, presence_penalty| {
            let options = GenerationOptions {
                temperature: Some(0.0),
                frequency_penalty: Some(frequency_penalty),
                presence_penalty: Some(presence_penalty),
                ..Default::default()
            };
            let mut sampler = Sampler::new(&options);
            (0..6).map(|_| sampler.draw(&[1.0, 0.5, 0.0])).collect::<Vec<_>>()
        };
        assert_eq!(drawn(0.0, 0.0), [0, 0, 0, 0, 0, 0]);
        assert_eq!(drawn(0.4, 0.0), [0, 0, 1, 0, 1, 2]);
        assert_eq!(drawn(0.0, 2.0), [0, 1, 2, 0, 0, 0]);
    }

    #[test]
    fn a_seed_repeats_the_draws() {
        let drawn = |seed| {
            let options = GenerationOptions { temperature: Some(2.0), seed: Some(seed), ..Default::default() };
            let mut sampler = Sampler::new(&options);
            (0..20).map(|_| sampler.draw(&[0.0; 1_000])).collect::<Vec<_>>()
        };
        assert_eq!(drawn(-1), drawn(-1));
        assert_ne!(drawn(1), drawn(2));
    }
}
