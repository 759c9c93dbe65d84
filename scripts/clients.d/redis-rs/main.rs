//! redis-rs, plain and cluster. The cluster connection is the asynchronous one: the blocking one asks for the ring only
//! at a MOVED, which is never sent here, and would dial a dead node for ever.

use std::fmt::Debug;

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::{AsyncCommands, RedisResult};

fn line<T: PartialEq + Debug>(name: &str, expected: T, got: RedisResult<T>) {
    match got {
        Ok(got) if got == expected => println!("ok {name}"),
        Ok(got) => println!("fail {name}: expected {expected:?} got {got:?}"),
        Err(error) => println!("fail {name}: {error}"),
    }
}

async fn set_get<C: AsyncCommands>(client: &mut C, key: &str, value: &[u8]) -> RedisResult<Vec<u8>> {
    client.set::<_, _, ()>(key, value).await?;
    client.get(key).await
}

async fn mget<C: ConnectionLike>(client: &mut C, keys: [&str; 2]) -> RedisResult<Vec<Option<i32>>> {
    redis::cmd("SET").arg(keys[0]).arg(1).query_async::<()>(client).await?;
    redis::cmd("MGET").arg(&keys).query_async(client).await
}

async fn common<C: ConnectionLike + AsyncCommands>(client: &mut C, prefix: &str) {
    let (a, m, none) = (
        format!("{prefix}:a"),
        format!("{{{prefix}}}:m"),
        format!("{{{prefix}}}:none"),
    );
    line("set-get", b"1".to_vec(), set_get(client, &a, b"1").await);
    line("del", 1, client.del(&a).await);
    line("mget", vec![Some(1), None], mget(client, [&m, &none]).await);
    line("expire", 1, client.expire(&m, 100).await);
    let binary: Vec<u8> = (0..=255).collect();
    line("binary", binary.clone(), set_get(client, &a, &binary).await);
}

async fn reads<C: AsyncCommands>(client: &mut C, prefix: &str, dies: bool) -> usize {
    let mut failed = 0;
    for i in 0..300 {
        if dies && i == 100 {
            println!("kill");
            let mut answer = String::new();
            let _ = std::io::stdin().read_line(&mut answer);
        }
        match client.get::<_, Option<i32>>(format!("{prefix}:{}", i % 100)).await {
            Ok(Some(_)) => {}
            Ok(None) => failed += 1,
            Err(error) => {
                failed += 1;
                println!("note killed: {error}");
            }
        }
    }
    println!("note killed: {failed} of 300 reads failed");
    failed
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> RedisResult<()> {
    let ports = std::env::var("PORTS").unwrap_or_default();
    let urls: Vec<String> = ports
        .split(' ')
        .map(|port| format!("redis://127.0.0.1:{port}"))
        .collect();
    let client = redis::Client::open(urls[0].as_str())?;
    let mut plain = client.get_multiplexed_async_connection().await?;
    let pong = redis::cmd("PING").query_async(&mut plain).await;
    line("connect", "PONG".to_owned(), pong);
    common(&mut plain, "rs").await;
    let mut pipe = redis::pipe();
    for i in 0..100 {
        pipe.set(format!("rs:{i}"), i).ignore();
    }
    line("pipeline", (), pipe.query_async(&mut plain).await);

    let mut cluster = ClusterClient::new(urls)?.get_async_connection().await?;
    common(&mut cluster, "rsc").await;
    let mut written = Ok(());
    for i in 0..100 {
        written = written.and(cluster.set::<_, _, ()>(format!("rsc:{i}"), i).await);
    }
    line("cluster", (), written);
    let failed = reads(&mut cluster, "rsc", true).await;
    line("cluster-killed", true, Ok(failed <= 1));
    let failed = reads(&mut plain, "rs", false).await;
    line("killed", 0, Ok(failed));
    Ok(())
}
