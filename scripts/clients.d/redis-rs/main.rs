//! redis-rs, plain and cluster.

use std::fmt::Debug;

use redis::cluster::ClusterClient;
use redis::{Commands, ConnectionLike, RedisResult};

fn line<T: PartialEq + Debug>(name: &str, expected: T, got: RedisResult<T>) {
    match got {
        Ok(got) if got == expected => println!("ok {name}"),
        Ok(got) => println!("fail {name}: expected {expected:?} got {got:?}"),
        Err(error) => println!("fail {name}: {error}"),
    }
}

fn common<C: ConnectionLike + Commands>(client: &mut C, prefix: &str) {
    let (a, m, none) = (
        format!("{prefix}:a"),
        format!("{{{prefix}}}:m"),
        format!("{{{prefix}}}:none"),
    );
    line("set-get", 1, client.set::<_, _, ()>(&a, 1).and_then(|()| client.get(&a)));
    line("del", 1, client.del(&a));
    let both = client
        .set::<_, _, ()>(&m, 1)
        .and_then(|()| redis::cmd("MGET").arg(&m).arg(&none).query(client));
    line("mget", vec![Some(1), None], both);
    line("expire", 1, client.expire(&m, 100));
    let binary: Vec<u8> = (0..=255).collect();
    let read = client.set::<_, _, ()>(&a, &binary).and_then(|()| client.get(&a));
    line("binary", binary.clone(), read);
}

fn reads<C: Commands>(client: &mut C, prefix: &str, dies: bool) -> usize {
    let mut failed = 0;
    for i in 0..300 {
        if dies && i == 100 {
            println!("kill");
            let mut answer = String::new();
            let _ = std::io::stdin().read_line(&mut answer);
        }
        match client.get::<_, Option<i32>>(format!("{prefix}:{}", i % 100)) {
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

fn main() -> RedisResult<()> {
    let ports = std::env::var("PORTS").unwrap_or_default();
    let urls: Vec<String> = ports
        .split(' ')
        .map(|port| format!("redis://127.0.0.1:{port}"))
        .collect();
    let mut plain = redis::Client::open(urls[0].as_str())?.get_connection()?;
    line("connect", "PONG".to_owned(), redis::cmd("PING").query(&mut plain));
    common(&mut plain, "rs");
    let mut pipe = redis::pipe();
    for i in 0..100 {
        pipe.set(format!("rs:{i}"), i).ignore();
    }
    line("pipeline", (), pipe.query(&mut plain));

    let mut cluster = ClusterClient::new(urls)?.get_connection()?;
    common(&mut cluster, "rsc");
    let mut written = Ok(());
    for i in 0..100 {
        written = written.and(cluster.set::<_, _, ()>(format!("rsc:{i}"), i));
    }
    line("cluster", (), written);
    let failed = reads(&mut cluster, "rsc", true);
    line("cluster-killed", true, Ok(failed <= 1));
    let failed = reads(&mut plain, "rs", false);
    line("killed", 0, Ok(failed));
    Ok(())
}
