//! This file answers: what becomes of a connection whose client begins to pipeline, and of one that no longer does?

use tokio::runtime::{Builder, Runtime};

use super::*;

/// Threads that nothing else runs on.
fn threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Sends so many writes, each with a read behind it, together until a connection runs on `pipelines`, or none does. Every
/// reply is looked at.
async fn ask_until(client: &mut Client, pairs: usize, pipelines: &Handle, is_there: bool) {
    let ends = Instant::now() + Duration::from_secs(60);
    let mut last = 0;
    while (pipelines.metrics().num_alive_tasks() > 0) != is_there {
        assert!(Instant::now() < ends, "{pairs} pairs together: {is_there}");
        let numbers = last + 1..=last + pairs;
        let lines = numbers.clone().map(|n| format!("SET k {n}\nGET k\n"));
        let expected = numbers.flat_map(|n| ["+OK".to_owned(), format!("'{n}'")]);
        let expected: Vec<String> = expected.collect();
        assert_eq!(client.say(&lines.collect::<String>()).await, expected);
        last += pairs;
    }
}

/// Lost without it: a connection that moves to other threads loses requests or replies on the way, or never moves back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_runs_where_its_habit_belongs() {
    for kind in [BackendKind::Memory, BackendKind::Fjall] {
        let runtime = threads();
        let pipelines = runtime.handle().clone();
        let (config, bounds) = (RedisConfig::default(), Bounds::default());
        let running = start_on(vec![pipelines.clone()], kind, config, bounds).await;
        let (mut client, mut other) = (running.client().await, running.client().await);
        for _ in 0..2 {
            ask_until(&mut client, 20, &pipelines, true).await;
            assert_eq!(other.say("PING").await, ["+PONG"]);
            ask_until(&mut client, 1, &pipelines, false).await;
        }
        // A server that stops waits for one on other threads too, and what it asked for is answered.
        ask_until(&mut client, 20, &pipelines, true).await;
        client.send("SET k last\nGET k").await;
        assert_eq!(shown(&client.reply().await.unwrap()), "+OK");
        running.stop.send_replace(true);
        assert_eq!(shown(&client.reply().await.unwrap()), "'last'");
        assert!(client.reply().await.is_none() && other.reply().await.is_none());
        running.served.await.unwrap();
        // A task has told its end before it counts as gone.
        let ends = Instant::now() + Duration::from_secs(60);
        while pipelines.metrics().num_alive_tasks() > 0 {
            assert!(Instant::now() < ends, "something is left there");
            tokio::task::yield_now().await;
        }
        runtime.shutdown_background();
    }
}

/// Lost without it: all clients that pipeline wait for one thread, and the others idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pipelines_goes_where_the_fewest_are() {
    let runtimes = [threads(), threads()];
    let pipelines = runtimes.each_ref().map(|runtime| runtime.handle().clone());
    let (kind, config, bounds) = (
        BackendKind::Memory,
        RedisConfig::default(),
        Bounds::default(),
    );
    let running = start_on(pipelines.to_vec(), kind, config, bounds).await;
    let (mut one, mut another) = (running.client().await, running.client().await);
    ask_until(&mut one, 20, &pipelines[0], true).await;
    ask_until(&mut another, 20, &pipelines[1], true).await;
    assert_eq!(pipelines[0].metrics().num_alive_tasks(), 1);
    ask_until(&mut one, 1, &pipelines[0], false).await;
    assert_eq!(pipelines[1].metrics().num_alive_tasks(), 1);
    runtimes.into_iter().for_each(Runtime::shutdown_background);
}
