//! This file answers: is a pipeline whose requests are known ahead carried out as if they were not?

use super::*;

/// Lost without it: requests that are known ahead of their turn are begun twice, out of order or never, or an error behind them
/// takes their replies away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_ahead_is_carried_out_in_its_turn() {
    for kind in [BackendKind::Memory, BackendKind::Fjall] {
        let running = start(kind, RedisConfig::default(), Bounds::default()).await;
        let mut client = running.client().await;
        let (mut lines, mut expected) = (String::new(), Vec::new());
        let mut add = |line: &str, reply: &str| {
            lines += &format!("{line}\n");
            expected.push(reply.to_owned());
        };
        for round in 0..20 {
            // Now and then one that is too large to look further than it.
            let value = "v".repeat(if round % 4 == 0 { 20_000 } else { 3 });
            add(&format!("SET k{round} {value}{round}"), "+OK");
            add(&format!("get k{round}"), &format!("'{value}{round}'"));
            add("GET none", "nil");
            add("SET twice a", "+OK");
            add(&format!("SET twice b{round} PX 100000"), "+OK");
            add("GET twice", &format!("'b{round}'"));
            add("EXISTS twice none", "1");
            add("GET", "-ERR wrong number of arguments for 'get' command");
            add("DEL twice", "1");
        }
        assert_eq!(client.say(&lines).await, expected, "{kind}");
        client.send("SET last 1\nGET last\nGET \"x").await;
        let mut replies = Vec::new();
        while let Some(reply) = client.reply().await {
            replies.push(shown(&reply));
        }
        let error = "-ERR Protocol error: unbalanced quotes in request";
        assert_eq!(replies, ["+OK", "'1'", error], "{kind}");
        let mut other = running.client().await;
        assert_eq!(other.say("GET last").await, ["'1'"], "{kind}");
    }
}
