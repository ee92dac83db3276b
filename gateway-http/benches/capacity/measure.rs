//! What is measured of a deployment, all in one go.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::{
    client::{Ask, Client, Error},
    deployment::Deployment,
};

/// Callers that ask one request after another.
const CALLERS: usize = 32;
const CALLING: Duration = Duration::from_secs(4);
/// Streams that say a token every so often.
const PACED_STREAMS: [usize; 2] = [64, 512];
const PACED_TOKENS: usize = 30;
const PACE: Duration = Duration::from_millis(50);
/// Streams that say everything at once.
const FLOODING_STREAMS: usize = 64;
const FLOODING_TOKENS: usize = 4000;

/// The figures of a deployment.
#[derive(Clone, Default)]
pub(super) struct Measured {
    /// Of requests without a session, with one token each.
    pub(super) requests_per_second: f64,
    pub(super) cpu_per_request: f64,
    /// Of requests in a session of the caller's own.
    pub(super) turns_per_second: f64,
    pub(super) cpu_per_turn: f64,
    /// To the first of the paced tokens; p50 and p99, for each number of streams.
    pub(super) first_token: [[f64; 2]; 2],
    /// Of resident memory, before any stream is open.
    pub(super) idle_bytes: f64,
    /// For each of the most paced streams.
    pub(super) bytes_per_stream: f64,
    /// While a token comes now and then, so that nothing can be taken together.
    pub(super) cpu_per_paced_token: f64,
    pub(super) tokens_per_second: f64,
    pub(super) cpu_per_token: f64,
}

pub(super) async fn all(deployment: &Deployment) -> Result<Measured, Error> {
    let mut measured = Measured { idle_bytes: float(deployment.used()?.memory_bytes), ..Measured::default() };
    for (streams, first_token) in PACED_STREAMS.into_iter().zip(&mut measured.first_token) {
        let before = deployment.used()?;
        let (times, during) = paced(deployment, streams).await?;
        *first_token = [percentile(&times, 50), percentile(&times, 99)];
        measured.bytes_per_stream = float(during.saturating_sub(before.memory_bytes)) / float(streams);
        let cpu_seconds = deployment.used()?.cpu_seconds - before.cpu_seconds;
        measured.cpu_per_paced_token = cpu_seconds / float(streams * PACED_TOKENS);
    }
    let before = deployment.used()?.cpu_seconds;
    let count = calls(deployment, false).await?;
    measured.requests_per_second = count / CALLING.as_secs_f64();
    measured.cpu_per_request = (deployment.used()?.cpu_seconds - before) / count;
    let before = deployment.used()?.cpu_seconds;
    let count = calls(deployment, true).await?;
    measured.turns_per_second = count / CALLING.as_secs_f64();
    measured.cpu_per_turn = (deployment.used()?.cpu_seconds - before) / count;
    let (before, begun) = (deployment.used()?.cpu_seconds, Instant::now());
    let tokens = flood(deployment).await?;
    measured.tokens_per_second = tokens / begun.elapsed().as_secs_f64();
    measured.cpu_per_token = (deployment.used()?.cpu_seconds - before) / tokens;
    Ok(measured)
}

/// How many requests are answered in the time.
async fn calls(deployment: &Deployment, has_sessions: bool) -> Result<f64, Error> {
    let end = Instant::now() + CALLING;
    // A transcript that grows from round to round would make each dearer than the last.
    let epoch = std::time::UNIX_EPOCH.elapsed()?.as_millis();
    let callers = (0..CALLERS).map(async |number| {
        let mut client = Client::connect(deployment).await?;
        let mut count = 0;
        while Instant::now() < end {
            let user = has_sessions.then(|| format!("user-{epoch}-{number}-{}", count / 20));
            let stream = deployment.is_direct();
            client.ask(Ask { tokens: 1, pause: Duration::ZERO, stream, user: user.as_deref() }).await?;
            count += 1;
        }
        Ok::<_, Error>(count)
    });
    Ok(float(try_join_all(callers).await?.into_iter().sum::<usize>()))
}

/// The times to the first token of that many streams, and the memory in the midst of them.
async fn paced(deployment: &Deployment, streams: usize) -> Result<(Vec<f64>, u64), Error> {
    let streaming = try_join_all((0..streams).map(async |number| {
        let mut client = Client::connect(deployment).await?;
        // They begin one after another, within a second.
        tokio::time::sleep(Duration::from_secs_f64(float(number) / float(streams))).await;
        let answer = client.ask(Ask { tokens: PACED_TOKENS, pause: PACE, stream: true, user: None }).await?;
        check(answer.tokens, PACED_TOKENS)?;
        Ok::<_, Error>(answer.first_token.as_secs_f64())
    }));
    let looking = async {
        tokio::time::sleep(Duration::from_millis(1300)).await;
        Ok(deployment.used()?.memory_bytes)
    };
    tokio::try_join!(streaming, looking)
}

/// How many tokens came.
async fn flood(deployment: &Deployment) -> Result<f64, Error> {
    let streams = (0..FLOODING_STREAMS).map(async |_| {
        let mut client = Client::connect(deployment).await?;
        let ask = Ask { tokens: FLOODING_TOKENS, pause: Duration::ZERO, stream: true, user: None };
        let tokens = client.ask(ask).await?.tokens;
        check(tokens, FLOODING_TOKENS)?;
        Ok::<_, Error>(tokens)
    });
    Ok(float(try_join_all(streams).await?.into_iter().sum::<usize>()))
}

fn check(tokens: usize, expected: usize) -> Result<(), Error> {
    if tokens == expected { Ok(()) } else { Err(format!("{tokens} tokens of {expected}").into()) }
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().map_or(f64::NAN, |number| number as f64)
}

impl Measured {
    /// Each figure's median.
    pub(super) fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| percentile(&rounds.iter().map(figure).collect::<Vec<_>>(), 50);
        Self {
            requests_per_second: of(|round| round.requests_per_second),
            cpu_per_request: of(|round| round.cpu_per_request),
            turns_per_second: of(|round| round.turns_per_second),
            cpu_per_turn: of(|round| round.cpu_per_turn),
            first_token: [
                [of(|round| round.first_token[0][0]), of(|round| round.first_token[0][1])],
                [of(|round| round.first_token[1][0]), of(|round| round.first_token[1][1])],
            ],
            // Before anything was asked of it; an allocator keeps what it once had.
            idle_bytes: rounds.first().map_or(f64::NAN, |round| round.idle_bytes),
            cpu_per_paced_token: of(|round| round.cpu_per_paced_token),
            bytes_per_stream: rounds.first().map_or(f64::NAN, |round| round.bytes_per_stream),
            tokens_per_second: of(|round| round.tokens_per_second),
            cpu_per_token: of(|round| round.cpu_per_token),
        }
    }
}
