//! A retry policy of one's own: here every write may be repeated, because its value is the same each time.
//!
//!     cargo run -p rkv-client --example own_retry [PEER...]

mod cluster;

use std::time::Duration;

use rkv_client::{Error, RetryPolicy};

/// Tries again whatever may get better, unknown writes included, and says so.
struct Idempotent;

impl RetryPolicy for Idempotent {
    fn after(&self, tries: u32, error: &Error) -> Option<Duration> {
        let may_get_better = error.is_retryable() || error.was_maybe_applied();
        (may_get_better && tries < 20).then(|| {
            println!("try {tries}: {error}");
            Duration::from_millis(50)
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mut own, builder) = cluster::builder().await?;
    let client = builder.retry(Idempotent).build().await?;
    for number in 0..300 {
        if number == 100
            && let Some(cluster) = &mut own
        {
            cluster.kill(2).await?;
            println!("node3 is dead");
        }
        client.put(format!("seen:{number}"), "yes").await?;
    }
    println!("300 keys are written");
    Ok(())
}
