//! A write of which nobody knows whether it was applied: look before writing again.
//!
//!     cargo run -p rkv-client --example unknown_write [PEER...]

mod cluster;

use rkv_client::{Client, Error};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mut own, builder) = cluster::builder().await?;
    let client = builder.build().await?;

    let mut looked = 0;
    for number in 0..300 {
        if number == 100
            && let Some(cluster) = &mut own
        {
            cluster.kill(1).await?;
            println!("node2 is dead");
        }
        // A value that nobody else writes: finding it proves that this very write was applied.
        let (key, value) = (
            format!("order:{number}"),
            format!("{number} by this process"),
        );
        looked += u32::from(write_once(&client, &key, &value).await?);
    }
    println!("300 orders are written, once each; {looked} had to be looked up");
    Ok(())
}

/// Writes until it is known to be written; returns whether it had to look.
async fn write_once(client: &Client, key: &str, value: &str) -> Result<bool, Error> {
    let mut has_looked = false;
    loop {
        match client.put(key.to_owned(), value.to_owned()).await {
            Ok(()) => return Ok(has_looked),
            Err(error) if error.was_maybe_applied() => {
                println!("{key}: {error}");
                has_looked = true;
                if client.get(key).await?.as_deref() == Some(value.as_bytes()) {
                    return Ok(true);
                }
                // Not seen by a majority: it may still turn up, but only as what is about to be written anyway.
            }
            // All else was tried again by the client as long as that made sense.
            Err(error) => return Err(error),
        }
    }
}
