//! This file answers: what becomes of clients that owe something and are slow?

use super::super::pace::Patience;
use super::*;

const SHORT: Duration = Duration::from_millis(300);
/// A machine may be busy; only that it ends matters.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

async fn impatient(password: Option<&str>) -> (Running, super::super::RedisFigures) {
    let config = RedisConfig {
        password: password.map(str::to_owned),
        patience: Patience {
            auth: SHORT,
            slow: SHORT,
        },
        ..RedisConfig::default()
    };
    let figures = config.figures.clone();
    let running = start(BackendKind::Memory, config, Bounds::default()).await;
    (running, figures)
}

/// Reads to the end of the connection, which must come.
async fn end(client: &mut Client) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(ENDS_WITHIN, client.stream.read_to_end(&mut rest));
    // A reset is an end as well.
    let _ = read.await.expect("the connection is ended");
}

/// Sends `bytes` and then, as long as it is heard, one byte more now and then.
async fn trickle(client: &mut Client, bytes: &[u8]) {
    client.stream.write_all(bytes).await.unwrap();
    let trickling = async {
        while client.stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    let ended = tokio::time::timeout(ENDS_WITHIN, trickling).await;
    ended.expect("the connection is ended");
}

#[tokio::test]
async fn a_request_that_never_comes_whole_ends() {
    // Lost without it: a byte now and then holds a connection, and what it announced, for ever.
    let (running, figures) = impatient(None).await;
    let mut idle = running.client().await;
    for begun in [
        &b"*2\r\n$3\r\nGET\r\n$1"[..],
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n",
        b"PING without an end",
        b"PING\r\n*1\r\n$4\r\nPI",
    ] {
        let mut slow = running.client().await;
        slow.stream.write_all(begun).await.unwrap();
        end(&mut slow).await;
        trickle(&mut running.client().await, begun).await;
    }
    assert_eq!(
        idle.say("PING").await,
        ["+PONG"],
        "who owes nothing may be idle"
    );
    assert_eq!(figures.read().open, 1);
}

#[tokio::test]
async fn before_the_password_there_is_no_time_at_all() {
    // Lost without it: strangers keep everybody else out by saying nothing.
    let (running, figures) = impatient(Some("secret")).await;
    end(&mut running.client().await).await;
    for begun in [&b"*2\r\n$4\r\nAUTH\r\n$1"[..], b"AUTH ", b"PING\r\n"] {
        trickle(&mut running.client().await, begun).await;
    }
    let mut known = running.client().await;
    assert_eq!(known.say("AUTH secret").await, ["+OK"]);
    tokio::time::sleep(3 * SHORT).await;
    assert_eq!(known.say("PING").await, ["+PONG"]);
    assert_eq!(figures.read().open, 1);
}

#[tokio::test]
async fn a_client_that_takes_no_replies_ends() {
    // Lost without it: clients that ask and never read, or a byte now and then, keep the replies in memory for ever.
    let (running, figures) = impatient(None).await;
    let mut first = running.client().await;
    let value = "v".repeat(60_000);
    assert_eq!(first.say(&format!("SET a {value}")).await, ["+OK"]);
    for reads in [false, true] {
        let mut stuck = running.client().await;
        let asking = async {
            let mut byte = [0];
            loop {
                let write = stuck
                    .stream
                    .write_all(b"GET a\r\nGET a\r\nGET a\r\nGET a\r\n");
                match tokio::time::timeout(SHORT / 10, write).await {
                    Ok(Err(_)) => return,
                    Ok(Ok(())) => {}
                    Err(_) if reads && stuck.stream.read(&mut byte).await.is_err() => return,
                    Err(_) => {}
                }
            }
        };
        let ended = tokio::time::timeout(ENDS_WITHIN, asking).await;
        ended.expect("the connection is ended");
    }
    assert_eq!(first.say("PING").await, ["+PONG"]);
    assert_eq!(figures.read().open, 1);
}
