//! Quorum put and get: how many replicas must answer, and what each of them said.
//!
//!     cargo run -p rkv-client --example quorum [PEER...]

mod cluster;

use std::time::Duration;

use rkv_client::Replica;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mut own, builder) = cluster::builder().await?;
    let client = builder.build().await?;
    let timeout = Duration::from_secs(2);

    let put = client.put_quorum("food", "nuts", 3, 3, timeout).await?;
    show("put n=3 w=3", &put.result);
    let got = client.get_quorum("food", 3, 2, timeout).await?;
    show("get n=3 r=2", &got.result);
    println!("  value: {:?}", got.value);

    let (value, node, partition) = client.service().get("food").await?;
    println!("{node} answered {value:?} for partition {partition}");

    if let Some(cluster) = &mut own {
        cluster.kill(0).await?;
        println!("node1 is dead");
        match client.put_quorum("food", "figs", 3, 3, timeout).await {
            Ok(put) => show("put n=3 w=3", &put.result),
            Err(error) => {
                println!("put n=3 w=3: {error}");
                show("  the replicas", error.replicas());
            }
        }
        let put = client.put_quorum("food", "figs", 3, 2, timeout).await?;
        show("put n=3 w=2", &put.result);
    }
    client.delete_quorum("food", 3, 2, timeout).await?;
    Ok(())
}

fn show(what: &str, replicas: &[Replica]) {
    println!("{what}");
    for replica in replicas {
        let Replica {
            node,
            partition,
            replica,
            role,
            result,
            ..
        } = replica;
        println!("  {node} as replica {replica} of partition {partition} ({role}): {result}");
    }
}
