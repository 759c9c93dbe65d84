//! A short chaos run: `cargo run -p rkv-ct --bin rkv-chaos` is the long one.

use std::time::Duration;

use anyhow::{Result, ensure};
use rkv_ct::chaos::Chaos;

/// Lost without it: what only shows when nodes fail, come and go at once, under clients that note what was acknowledged.
#[test]
fn nothing_is_lost_while_nodes_fail_come_and_go() -> Result<()> {
    let chaos = Chaos {
        lasts: Duration::from_secs(8),
        nodes: 4,
        backend: "fjall".to_owned(),
        seed: 3,
        writers: 6,
        preloaded: 1_000,
        aloud: true,
    };
    let (told, findings, keys) = chaos.run()?;
    println!("{told}");
    ensure!(findings.is_clean(), "{findings:#?}");
    ensure!(keys > 1_000, "{keys} keys show little");
    ensure!(told.sum("acknowledged") > 200, "{told}");
    ensure!(told.sum("member: ") > 0, "no member came or went: {told}");
    ensure!(told.how_often("reads of what nobody wrote") == 0, "{told}");
    Ok(())
}
