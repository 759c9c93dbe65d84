//! Whole runs, through each driver, with the files that they leave.

mod redis;

use std::fs::{read_to_string, write};
use std::path::Path;
use std::time::Duration;

use redis::{Manner, RedisServer};
use rkv_bench::keys::Keys;
use rkv_bench::mix::Workload;
use rkv_bench::{BenchError, Driver, Extent, Finished, Mode, Plan};
use rkv_client::TestCluster;
use serde_json::Value;
use tempfile::TempDir;

/// Operations of a run.
const COUNT: u64 = 500;

fn plan(driver: Driver, targets: Vec<String>, folder: &TempDir) -> Plan {
    Plan {
        driver,
        targets,
        extent: Extent::Count(COUNT),
        keys: Keys::Uniform(50),
        test_dir: folder.path().join("results"),
        command: vec!["rkv".to_owned(), "bench".to_owned()],
        ..Plan::default()
    }
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn run(plan: &Plan) -> Result<Finished, BenchError> {
    let plan = plan.clone();
    let running = tokio::task::spawn_blocking(move || rkv_bench::run(&plan));
    running.await.unwrap()
}

/// The lines of a file below its header, which is to be this.
fn rows(folder: &Path, name: &str, header: &str) -> Vec<Vec<String>> {
    let text = read_to_string(folder.join(name)).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(header), "{name}");
    let split = |line: &str| line.split(',').map(str::to_owned).collect();
    lines.map(split).collect()
}

fn summary(folder: &Path) -> Value {
    serde_json::from_str(&read_to_string(folder.join("summary.json")).unwrap()).unwrap()
}

const SINGLE: &str = "timestamp,unit,microseconds";
const LATENCIES: &str = "elapsed,window,n,min,mean,median,95th,99th,99_9th,max,errors";

/// Every file of the folder holds what the summary says, which is `count` operations in all.
fn check_files(folder: &Path, operations: &[&str], count: u64) {
    let summary = summary(folder);
    let mut counted = 0;
    for operation in operations {
        let figures = &summary["operations"][operation];
        let n = figures["n"].as_u64().unwrap();
        assert!(n > 0, "{operation}: {summary}");
        counted += n;
        let single = rows(folder, &format!("{operation}_single.csv"), SINGLE);
        assert_eq!(single.len() as u64, n, "{operation}");
        let started = summary["started"].as_u64().unwrap();
        for row in &single {
            let micros: u64 = row[0].parse().unwrap();
            assert!(micros / 1000 + 1 >= started, "{row:?}, {started}");
            assert_eq!(row[1], "microsecond");
            assert!(row[2].parse::<u64>().is_ok(), "{row:?}");
        }
        let windows = rows(folder, &format!("{operation}_latencies.csv"), LATENCIES);
        let in_windows: u64 = windows
            .iter()
            .map(|row| row[2].parse::<u64>().unwrap())
            .sum();
        assert_eq!(in_windows, n, "{operation}");
        let curve = rows(
            folder,
            &format!("{operation}.hgrm.csv"),
            "percentile,microseconds",
        );
        let last = curve.last().unwrap();
        assert_eq!(last[0], "100.000000");
        let max = figures["max"].as_f64().unwrap();
        assert!(
            (last[1].parse::<f64>().unwrap() - max).abs() < 0.2,
            "{last:?} {max}"
        );
        for figure in ["min", "mean", "median", "95th", "99th", "99_9th", "max"] {
            assert!(
                figures[figure].as_f64().unwrap() > 0.0,
                "{operation} {figure}"
            );
        }
    }
    assert_eq!(counted, count);
    assert_eq!(summary["errors"], serde_json::json!({}));
    assert_eq!(summary["command"][1], "bench");
    assert!(summary["machine"]["cores"].as_u64() > Some(0));
    assert!(summary["versions"]["rkv"].is_string());
    assert!(summary["seconds"].as_f64() > Some(0.0));
}

/// Lost without it: the Rust client's drivers do not reach a cluster, or their files are not what was promised.
#[tokio::test]
async fn the_rust_clients_drivers() {
    let cluster = TestCluster::start(3).await.unwrap();
    for driver in [Driver::Native, Driver::Quorum] {
        let folder = temporary();
        let plan = Plan {
            workers: 4,
            ..plan(driver, cluster.seeds(), &folder)
        };
        let finished = run(&plan).await.unwrap();
        assert!(!finished.shut_down && !finished.summary.ended_early);
        check_files(&plan.test_dir, &["put", "get", "get-own-puts"], COUNT);
    }
    let folder = temporary();
    let plan = Plan {
        mix: Workload::F.mix(),
        keys: Keys::Zipfian(100),
        ..plan(Driver::Native, cluster.seeds(), &folder)
    };
    run(&plan).await.unwrap();
    check_files(&plan.test_dir, &["read", "read-modify-write"], COUNT);
}

/// Lost without it: pipelined commands are counted wrongly, or a run against a Redis server is.
#[tokio::test]
async fn the_redis_driver_with_a_pipeline() {
    let server = RedisServer::start(Manner::Sound).await;
    for (pipeline, workload) in [
        (1, None),
        (7, None),
        (7, Some(Workload::D)),
        (3, Some(Workload::F)),
    ] {
        let folder = temporary();
        let mut plan = Plan {
            workers: 3,
            pipeline,
            ..plan(Driver::Redis, vec![server.address()], &folder)
        };
        let operations: &[&str] = match workload {
            None => &["put", "get", "get-own-puts"],
            Some(Workload::D) => &["read", "insert"],
            Some(_) => &["read", "read-modify-write"],
        };
        if let Some(workload) = workload {
            plan.mix = workload.mix();
            plan.keys = Keys::Latest(60);
        }
        run(&plan).await.unwrap();
        check_files(&plan.test_dir, operations, COUNT);
        assert_eq!(summary(&plan.test_dir)["versions"]["target"], "redis 0.0.1");
    }
}

/// Lost without it: a run cannot be repeated, command for command.
#[tokio::test]
async fn one_worker_does_the_same_again() {
    let mut told = Vec::new();
    for _ in 0..2 {
        let server = RedisServer::start(Manner::Sound).await;
        let folder = temporary();
        let plan = Plan {
            workers: 1,
            ..plan(Driver::Redis, vec![server.address()], &folder)
        };
        run(&plan).await.unwrap();
        told.push(server.requests());
    }
    assert_eq!(told[0].len() as u64, COUNT + 1, "and INFO");
    assert!(told[0] == told[1], "the requests differ");
}

/// Lost without it: a store that returns another value than was put is measured and not found out.
#[tokio::test]
async fn a_wrong_value_is_found() {
    let server = RedisServer::start(Manner::Forgetful).await;
    let folder = temporary();
    let plan = plan(Driver::Redis, vec![server.address()], &folder);
    let finished = run(&plan).await.unwrap();
    let figures = &finished.summary.figures;
    assert!(figures.errors["wrong_value"] > 0, "{figures:?}");
    assert_eq!(figures.errors.len(), 1, "{figures:?}");
    let (puts, own) = (
        &figures.operations["put"],
        &figures.operations["get-own-puts"],
    );
    assert_eq!((puts.errors, own.errors), (0, figures.failed()));
    assert!(!finished.shut_down);
    let all: u64 = figures.operations.values().map(|it| it.n + it.errors).sum();
    assert_eq!(all, COUNT);
}

/// Lost without it: a run goes on past the error at which it was to end, or ends without its files.
#[tokio::test]
async fn the_first_error_ends_it_if_so_asked() {
    let server = RedisServer::start(Manner::Busy).await;
    let folder = temporary();
    let plan = Plan {
        shutdown_on_error: true,
        extent: Extent::Duration(Duration::from_secs(600)),
        ..plan(Driver::Redis, vec![server.address()], &folder)
    };
    let finished = run(&plan).await.unwrap();
    assert!(finished.shut_down && finished.summary.ended_early);
    let summary = summary(&plan.test_dir);
    let busy = summary["errors"]["BUSY"].as_u64().unwrap();
    assert!((1..=plan.workers as u64).contains(&busy), "{summary}");
    rows(&plan.test_dir, "put_single.csv", SINGLE);
}

/// Lost without it: an open loop forgets what it offered.
#[tokio::test]
async fn an_open_loop_accounts_for_all_it_offered() {
    const RATE: u64 = 2000;
    let server = RedisServer::start(Manner::Sound).await;
    let folder = temporary();
    let plan = Plan {
        mode: Mode::Rate(RATE),
        extent: Extent::Duration(Duration::from_millis(500)),
        warmup: Duration::from_millis(50),
        ..plan(Driver::Redis, vec![server.address()], &folder)
    };
    let finished = run(&plan).await.unwrap();
    let figures = &finished.summary.figures;
    let n: u64 = figures.operations.values().map(|it| it.n).sum();
    assert_eq!(n + figures.not_begun, RATE / 2, "{figures:?}");
    assert_eq!(summary(&plan.test_dir)["offered_per_s"], RATE);
    check_files(&plan.test_dir, &["put", "get", "get-own-puts"], n);
}

/// Lost without it: two targets are not compared, or one of them does not leave its files.
#[tokio::test]
async fn two_targets_in_turns() {
    let (ours, theirs) = (
        RedisServer::start(Manner::Sound).await,
        RedisServer::start(Manner::Sound).await,
    );
    let folder = temporary();
    let events = folder.path().join("told");
    write(&events, "7,microsecond,begun\n").unwrap();
    let plan = Plan {
        against: Some(theirs.address()),
        rounds: 3,
        events: Some(events),
        ..plan(Driver::Redis, vec![ours.address()], &folder)
    };
    run(&plan).await.unwrap();
    let operations = ["put", "get", "get-own-puts"];
    check_files(&plan.test_dir, &operations, COUNT);
    let summary = summary(&plan.test_dir);
    assert_eq!(summary["against"]["target"], theirs.address());
    let mut of_theirs = 0;
    for operation in operations {
        of_theirs += summary["against"]["operations"][operation]["n"]
            .as_u64()
            .unwrap();
        let ratio = &summary["ratios"][operation];
        let at = |name: &str| ratio[name].as_f64().unwrap();
        assert!(
            0.0 < at("lowest") && at("lowest") <= at("median"),
            "{ratio}"
        );
        assert!(at("median") <= at("highest"), "{ratio}");
        assert_eq!(ratio["rounds"], 3);
        let name = format!("{operation}_single.csv");
        rows(&plan.test_dir.join("against"), &name, SINGLE);
    }
    assert_eq!(of_theirs, COUNT);
    let events = rows(&plan.test_dir, "events.csv", "timestamp,unit,label");
    assert_eq!(events, [["7", "microsecond", "begun"]]);
    // The same operations for both, but for INFO at the end.
    assert_eq!(ours.requests().len(), theirs.requests().len());
}

/// Lost without it: a wrong address is a run without operations, or a panic.
#[tokio::test]
async fn a_target_that_is_not_there() {
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for driver in Driver::ALL {
        let folder = temporary();
        let plan = Plan {
            timeout: Duration::from_millis(300),
            ..plan(driver, vec![nowhere.clone()], &folder)
        };
        let error = run(&plan).await.unwrap_err();
        let BenchError::Unreachable(text) = error else {
            panic!("{driver}: {error:?}");
        };
        assert!(text.contains(&nowhere), "{driver}: {text}");
    }
}

/// Lost without it: the death of a target hangs the run, or its errors are lost.
#[tokio::test]
async fn a_target_that_dies() {
    let server = RedisServer::start(Manner::Mortal).await;
    let folder = temporary();
    let plan = Plan {
        extent: Extent::Count(3000),
        shutdown_on_error: true,
        ..plan(Driver::Redis, vec![server.address()], &folder)
    };
    let finished = run(&plan).await.unwrap();
    let figures = &finished.summary.figures;
    assert!(
        figures.errors.contains_key("connection_lost"),
        "{figures:?}"
    );
}
