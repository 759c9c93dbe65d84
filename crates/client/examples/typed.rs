//! Values of a Rust type. A field added later reads what was written before it was there.
//!
//!     cargo run -p rkv-client --example typed [PEER...]

mod cluster;

use std::time::Duration;

use rkv_client::WriteOptions;
use rkv_client::typed::encode;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    user: String,
    visits: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SessionOfNextYear {
    user: String,
    visits: u32,
    #[serde(default)]
    language: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (_own, builder) = cluster::builder().await?;
    let client = builder.build().await?;

    let sessions = client.typed::<Session>();
    let session = Session {
        user: "ada".to_owned(),
        visits: 3,
    };
    sessions.put("session:ada", &session).await?;
    assert_eq!(sessions.get("session:ada").await?, Some(session));

    let later = client.typed::<SessionOfNextYear>();
    println!("{:?}", later.get("session:ada").await?);

    // With options: this one ends by itself.
    let value = encode(&Session {
        user: "guest".to_owned(),
        visits: 1,
    })?;
    let hour = WriteOptions::default().ttl(Duration::from_secs(3600));
    client.put_with("session:guest", value, &hour).await?;

    // Bytes that are no session are told as what they are.
    client.put("session:odd", "no session").await?;
    println!("{}", sessions.get("session:odd").await.unwrap_err());
    Ok(())
}
