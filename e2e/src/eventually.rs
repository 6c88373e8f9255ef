//! Waiting for a state, with a deadline and the last thing seen.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use anyhow::bail;

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value. Its error says what is still missing; the last one is part of ours.
pub async fn eventually<T, F, W>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, W>>,
    W: Display,
{
    let looks = limit.as_millis().div_ceil(LOOK_EVERY.as_millis()).max(1);
    let mut last = String::new();
    for _ in 0..looks {
        match look().await {
            Ok(value) => return Ok(value),
            Err(missing) => last = missing.to_string(),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("{what}: not within {limit:?}; last seen: {last}")
}
