//! This file answers: does all that rkv promises hold on this machine, for somebody who has never seen it?
//!
//! Three real processes of this same program. Each step prints what was checked and the figure that was seen; the first
//! that does not hold ends the demo with exit 1, and the folder with the logs is kept.

mod load;
mod nodes;
mod resp;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rkv_storage::BackendKind;
use serde_json::{Value, json};

use crate::cli::End;
use crate::cli::api::ANSWER_WITHIN;
use crate::cli::documents::{
    ClusterStatus, CommitRequest, Committed, GetAnswer, JoinRequest, KvRequest, Members,
    PingRequest, Plan, Pong, PutAnswer, RingTable, Status,
};
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::cli::{look, table};
use load::{Load, Seen};
use nodes::{COUNT, Nodes};
use resp::Reply;

/// Keys that node1 holds before the others join.
const KEYS: usize = 2000;

/// The node that is killed; the load goes through the others.
const VICTIM: usize = 1;

/// How long the load runs before the kill, how long after it and how long after the return.
const BEFORE: Duration = Duration::from_millis(1500);
const DOWN: Duration = Duration::from_secs(6);
const AFTER: Duration = Duration::from_secs(2);

/// How long after the kill errors are allowed: the time it takes to notice.
const DETECTION: Duration = Duration::from_secs(2);

/// How long a cluster may take to settle.
const SETTLE_WITHIN: Duration = Duration::from_secs(40);

/// How long anything else may take that is waited for.
const SOON: Duration = Duration::from_secs(10);

/// Keys whose replicas are compared one by one.
const SAMPLE: usize = 25;

/// `rkv demo`.
pub(crate) fn run(output: &Output, backend: BackendKind, keep: bool) -> Result<End, Failure> {
    let mut folder = tempfile::Builder::new()
        .prefix("rkv-demo-")
        .tempdir()
        .map_err(|why| Failure::internal(format!("cannot make a temporary folder: {why}")))?;
    let dir = folder.path().to_owned();
    let nodes = Nodes::lay_out(&dir, backend)?;
    nodes.end_on_signal((!keep).then(|| dir.clone()))?;
    let mut demo = Demo {
        output,
        nodes,
        steps: Vec::new(),
        begun: Instant::now(),
    };
    let outcome = demo.play(backend, &dir);
    let Demo {
        steps,
        begun,
        nodes,
        ..
    } = demo;
    // before the folder: nobody writes into what is being removed
    drop(nodes);
    let took = begun.elapsed();
    if keep || outcome.is_err() {
        folder.disable_cleanup(true);
        output.report(&format!("data and logs: {}", dir.display()));
    }
    outcome.map_err(|failure| {
        let more = json!({"steps": steps, "folder": dir});
        Failure::with(
            failure.kind,
            "demo",
            format!("the demo failed: {}", failure.message),
            more,
        )
    })?;
    let count = steps.len();
    let document = json!({"ok": true, "steps": steps, "seconds": took.as_secs_f64()});
    output.result(&document.to_string(), || {
        format!(
            "\nAll {count} steps held, in {:.1} s.\n",
            took.as_secs_f64()
        )
    })?;
    Ok(End::Done)
}

/// The demo as it goes.
struct Demo<'a> {
    output: &'a Output,
    nodes: Nodes,
    steps: Vec<Value>,
    begun: Instant,
}

impl Demo<'_> {
    fn play(&mut self, backend: BackendKind, dir: &Path) -> Result<(), Failure> {
        self.chapter(&format!(
            "Three nodes, storage {backend}, in {}",
            dir.display()
        ));
        self.start_nodes()?;
        self.fill_the_first()?;
        self.chapter("One cluster");
        self.join()?;
        self.plan_and_commit()?;
        self.look()?;
        self.chapter("Quorums");
        self.ping()?;
        self.put_get_delete()?;
        self.chapter("One node is killed while reads and writes go on");
        let seen = self.kill_and_return()?;
        self.replicas_agree(&seen)?;
        self.chapter("The end");
        self.stop_nodes()
    }

    fn chapter(&self, title: &str) {
        self.output.report(&format!("\n{title}"));
    }

    /// Prints what was checked and the figure seen; an error unless it held.
    fn check(
        &mut self,
        what: &str,
        figure: impl std::fmt::Display,
        held: bool,
    ) -> Result<(), Failure> {
        let (figure, word) = (figure.to_string(), if held { "ok" } else { "FAILED" });
        let at = self.begun.elapsed().as_secs_f64();
        self.output
            .report(&format!("  {at:5.1} s  {word:<6}  {what}: {figure}"));
        self.steps
            .push(json!({"check": what, "figure": figure, "held": held, "at_s": at}));
        if held {
            Ok(())
        } else {
            Err(Failure::new(
                Kind::Internal,
                "demo",
                format!("{what}: {figure}"),
            ))
        }
    }

    fn start_nodes(&mut self) -> Result<(), Failure> {
        for i in 0..COUNT {
            let took = self.nodes.start(i)?;
            let place = self.nodes.place(i).clone();
            let figure = format!(
                "after {} ms, redis {}, peer {}",
                took.as_millis(),
                place.redis,
                place.peer
            );
            self.check(&format!("{} is ready", place.name), figure, true)?;
        }
        Ok(())
    }

    fn fill_the_first(&mut self) -> Result<(), Failure> {
        let mut redis = self.nodes.redis(0)?;
        let words: Vec<(String, String)> = (0..KEYS).map(|i| (key(i), value(i))).collect();
        let commands: Vec<[&str; 3]> = words
            .iter()
            .map(|(key, value)| ["SET", key, value])
            .collect();
        let commands: Vec<&[&str]> = commands.iter().map(|words| &words[..]).collect();
        let mut acknowledged = 0;
        for part in commands.chunks(100) {
            acknowledged += redis
                .pipeline(part)
                .map_err(broken)?
                .iter()
                .filter(|reply| reply.is_ok())
                .count();
        }
        self.check(
            "writes acknowledged by node1 alone",
            format!("{acknowledged} of {KEYS}"),
            acknowledged == KEYS,
        )
    }

    fn join(&mut self) -> Result<(), Failure> {
        let peer = self.nodes.place(0).peer.clone();
        for i in 1..COUNT {
            let request = JoinRequest { peer: peer.clone() };
            self.nodes
                .api(i)
                .post("/v1/cluster/join", &request, ANSWER_WITHIN)?;
            self.check(
                &format!("{} asks to join", self.nodes.place(i).name),
                "staged",
                true,
            )?;
        }
        Ok(())
    }

    fn plan_and_commit(&mut self) -> Result<(), Failure> {
        let api = self.nodes.api(0);
        let plan: Plan = self.soon(
            || api.ask("/v1/cluster/plan"),
            |plan: &Plan| plan.changes.len() == COUNT - 1,
        )?;
        self.output.report(&indented(&table::plan(&plan)));
        let keys: u64 = plan.transfers.iter().map(|transfer| transfer.keys).sum();
        let figure = format!(
            "{} changes, {} transfers, {keys} keys",
            plan.changes.len(),
            plan.transfers.len()
        );
        self.check(
            "the plan",
            figure,
            plan.plan.is_some() && !plan.transfers.is_empty(),
        )?;
        let answer = api.post(
            "/v1/cluster/commit",
            &CommitRequest { plan: plan.plan },
            ANSWER_WITHIN,
        )?;
        let committed: Committed = answer.read()?;
        self.check("committed", format!("epoch {}", committed.epoch), true)?;
        let begun = Instant::now();
        let (status, _) = look::settled(&api, SETTLE_WITHIN, self.output)?;
        let figure = format!(
            "epoch {} after {:.1} s",
            status.epoch,
            begun.elapsed().as_secs_f64()
        );
        self.check("settled", figure, true)
    }

    fn look(&mut self) -> Result<(), Failure> {
        let members: Members = self.nodes.api(0).ask("/v1/cluster/members")?;
        let ring: RingTable = self.nodes.api(0).ask("/v1/cluster/ring")?;
        self.output.report(&indented(
            &(table::membership(&members.members) + &table::ring(&ring)),
        ));
        let valid = members
            .members
            .iter()
            .filter(|member| member.status == "valid" && member.reachable)
            .count();
        self.check("valid members", valid, valid == COUNT)?;
        let mut firsts: Vec<usize> = members
            .members
            .iter()
            .map(|member| {
                (member.ring_percent * f64::from(ring.partitions) / 100.0).round() as usize
            })
            .collect();
        firsts.sort_unstable();
        self.check(
            "first replicas by node",
            format!("{firsts:?} of {}", ring.partitions),
            firsts == [5, 5, 6],
        )?;
        let distinct = ring
            .owners
            .iter()
            .filter(|row| row.iter().collect::<BTreeSet<_>>().len() == COUNT)
            .count();
        let figure = format!("{distinct} of {}", ring.partitions);
        self.check(
            "partitions with three copies on three nodes",
            figure,
            distinct == usize::from(ring.partitions),
        )?;
        let mut digests = BTreeSet::new();
        for i in 0..COUNT {
            digests.insert(
                self.nodes
                    .api(i)
                    .ask::<ClusterStatus>("/v1/cluster/status")?
                    .ring_digest,
            );
        }
        self.check(
            "different rings among the nodes' own",
            digests.len(),
            digests.len() == 1,
        )?;
        for i in 0..COUNT {
            let right = self.readable(i)?;
            let name = self.nodes.place(i).name.clone();
            self.check(
                &format!("first writes readable from {name}"),
                format!("{right} of {KEYS}"),
                right == KEYS,
            )?;
        }
        Ok(())
    }

    /// How many of the first writes node `i` answers rightly.
    fn readable(&self, i: usize) -> Result<usize, Failure> {
        let mut redis = self.nodes.redis(i)?;
        let names: Vec<String> = (0..KEYS).map(key).collect();
        let commands: Vec<[&str; 2]> = names.iter().map(|key| ["GET", key]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|words| &words[..]).collect();
        let mut replies = Vec::new();
        for part in commands.chunks(100) {
            replies.extend(redis.pipeline(part).map_err(broken)?);
        }
        Ok(replies
            .iter()
            .enumerate()
            .filter(|(i, reply)| reply.text() == Some(value(*i)))
            .count())
    }

    fn ping(&mut self) -> Result<(), Failure> {
        let mut answers = Vec::new();
        for sent in [3, 5, 7] {
            let answer =
                self.nodes
                    .api(0)
                    .query("/v1/ping", &PingRequest { value: sent }, ANSWER_WITHIN)?;
            let pong: Pong = answer.read()?;
            answers.push((
                pong.pong == sent + 1,
                format!(
                    "pong {} {} partition {}",
                    pong.pong, pong.node, pong.partition
                ),
            ));
        }
        let held = answers.iter().all(|(held, _)| *held);
        let figures: Vec<String> = answers.into_iter().map(|(_, figure)| figure).collect();
        self.check("ping 3, 5, 7", figures.join("; "), held)
    }

    fn put_get_delete(&mut self) -> Result<(), Failure> {
        let request = |r, w, text: Option<&str>| KvRequest {
            key: Some("greeting".to_owned()),
            value_base64: text.map(|text| STANDARD.encode(text)),
            n: Some(3),
            r,
            w,
            ..KvRequest::default()
        };
        let put: PutAnswer = self
            .nodes
            .api(0)
            .post(
                "/v1/kv/put",
                &request(None, Some(3), Some("hello")),
                ANSWER_WITHIN,
            )?
            .read()?;
        let stored: BTreeSet<&str> = put
            .replicas
            .iter()
            .filter(|it| it.result == "ok")
            .map(|it| it.node.as_str())
            .collect();
        let figure = stored.iter().copied().collect::<Vec<_>>().join(" ");
        self.check(
            "put at node1, n=3 w=3, stored by",
            figure,
            stored.len() == 3,
        )?;
        let got: GetAnswer = self
            .nodes
            .api(1)
            .query("/v1/kv/get", &request(Some(2), None, None), ANSWER_WITHIN)?
            .read()?;
        let figure = format!(
            "{:?}, {} replicas",
            got.value.as_deref().unwrap_or("nothing"),
            got.replicas.len()
        );
        self.check(
            "get at node2, n=3 r=2",
            figure,
            got.value.as_deref() == Some("hello") && got.replicas.len() >= 2,
        )?;
        let gone: PutAnswer = self
            .nodes
            .api(2)
            .post(
                "/v1/kv/delete",
                &request(None, Some(3), None),
                ANSWER_WITHIN,
            )?
            .read()?;
        self.check(
            "delete at node3, n=3 w=3, replicas",
            gone.replicas.len(),
            gone.ok && gone.replicas.len() == 3,
        )?;
        let got: GetAnswer = self
            .nodes
            .api(0)
            .query("/v1/kv/get", &request(Some(2), None, None), ANSWER_WITHIN)?
            .read()?;
        self.check("get at node1 finds it", got.found, !got.found)?;
        let (mut one, mut two) = (self.nodes.redis(0)?, self.nodes.redis(1)?);
        let set = one.command(&["SET", "redis", "42"]).map_err(broken)?;
        let got = two.command(&["GET", "redis"]).map_err(broken)?.text();
        let figure = format!("{:?}", got.as_deref().unwrap_or("nothing"));
        self.check(
            "Redis SET at node1, GET at node2",
            figure,
            set.is_ok() && got.as_deref() == Some("42"),
        )
    }

    /// Kills a node under load and takes it back; what the load has seen.
    fn kill_and_return(&mut self) -> Result<Seen, Failure> {
        let (api, victim) = (self.nodes.api(0), self.nodes.place(VICTIM).name.clone());
        let through: Vec<String> = (0..COUNT)
            .filter(|i| *i != VICTIM)
            .map(|i| self.nodes.place(i).redis.clone())
            .collect();
        let load = Load::start(&through);
        std::thread::sleep(BEFORE);
        let killed = Instant::now();
        self.nodes.kill(VICTIM)?;
        self.check(&format!("{victim} killed"), "SIGKILL", true)?;
        let status: Status = self.soon(
            || api.ask("/v1/status"),
            |status: &Status| status.health != "ok",
        )?;
        let figure = format!(
            "{} after {} ms",
            status.health,
            killed.elapsed().as_millis()
        );
        self.check("health", figure, status.health == "degraded")?;
        std::thread::sleep(DOWN.saturating_sub(killed.elapsed()));
        let hints = api.ask::<ClusterStatus>("/v1/cluster/status")?.hints;
        self.check(&format!("hints kept for {victim}"), hints, hints > 0)?;
        let took = self.nodes.start(VICTIM)?;
        self.check(
            &format!("{victim} is back"),
            format!("ready after {} ms", took.as_millis()),
            true,
        )?;
        std::thread::sleep(AFTER);
        let seen = load.stop()?;
        self.judge(&seen, killed)?;
        let (status, _) = look::settled(&api, SETTLE_WITHIN, self.output)?;
        self.check("hints left", status.hints, status.hints == 0)?;
        let health = self
            .soon(
                || api.ask("/v1/status"),
                |status: &Status| status.health == "ok",
            )?
            .health;
        self.check("health", &health, health == "ok")?;
        Ok(seen)
    }

    fn judge(&mut self, seen: &Seen, killed: Instant) -> Result<(), Failure> {
        let figure = format!("{} writes, {} reads", seen.writes, seen.reads);
        self.check(
            "requests answered meanwhile",
            figure,
            seen.writes > 0 && seen.reads > 0,
        )?;
        let allowed = killed..killed + DETECTION;
        let (soon, late): (Vec<_>, Vec<_>) = seen
            .errors
            .iter()
            .partition(|(begun, _)| allowed.contains(begun));
        let first = late
            .first()
            .map(|(_, why)| format!(", first: {why}"))
            .unwrap_or_default();
        let figure = format!(
            "{} (and {} within {DETECTION:?} of the kill){first}",
            late.len(),
            soon.len()
        );
        self.check("errors", figure, late.is_empty())?;
        let first = seen
            .stale
            .first()
            .map(|what| format!(", first: {what}"))
            .unwrap_or_default();
        self.check(
            "reads that missed an acknowledged write",
            format!("{}{first}", seen.stale.len()),
            seen.stale.is_empty(),
        )
    }

    fn replicas_agree(&mut self, seen: &Seen) -> Result<(), Failure> {
        let counters: Vec<_> = seen.keys.iter().flat_map(|keys| keys.iter()).collect();
        for i in 0..COUNT {
            let mut redis = self.nodes.redis(i)?;
            let mut right = 0;
            for counter in &counters {
                let held = redis
                    .command(&["GET", &counter.key])
                    .map_err(broken)?
                    .text();
                right += usize::from(
                    held.and_then(|text| text.parse().ok())
                        .is_some_and(|it| counter.allows(it)),
                );
            }
            let what = format!("keys of the load right at {}", self.nodes.place(i).name);
            self.check(
                &what,
                format!("{right} of {}", counters.len()),
                right == counters.len(),
            )?;
        }
        let step = (counters.len() / SAMPLE).max(1);
        let sample: Vec<&str> = counters
            .iter()
            .step_by(step)
            .map(|counter| counter.key.as_str())
            .collect();
        let mut redis = self.nodes.redis(VICTIM)?;
        let mut equal = 0;
        let mut first_unequal = String::new();
        for key in &sample {
            let reply = redis.command(&["RKV.REPLICAS", key]).map_err(broken)?;
            if three_equal_copies(&reply) {
                equal += 1;
            } else if first_unequal.is_empty() {
                first_unequal = format!(", first: {key} {reply:?}");
            }
        }
        let figure = format!("{equal} of {}{first_unequal}", sample.len());
        self.check(
            "keys with three equal copies (RKV.REPLICAS)",
            figure,
            equal == sample.len(),
        )?;
        let right = self.readable(VICTIM)?;
        let what = format!(
            "first writes readable from {}",
            self.nodes.place(VICTIM).name
        );
        self.check(&what, format!("{right} of {KEYS}"), right == KEYS)
    }

    fn stop_nodes(&mut self) -> Result<(), Failure> {
        for i in 0..COUNT {
            let (name, begun) = (self.nodes.place(i).name.clone(), Instant::now());
            let status = self.nodes.stop(i)?;
            let figure = format!("{status} after {} ms", begun.elapsed().as_millis());
            self.check(
                &format!("{name} stopped by SIGTERM"),
                figure,
                status.success(),
            )?;
        }
        Ok(())
    }

    /// The first answer that `held` accepts, or the last one seen when that takes too long.
    fn soon<T>(
        &self,
        ask: impl Fn() -> Result<T, Failure>,
        held: impl Fn(&T) -> bool,
    ) -> Result<T, Failure> {
        let until = Instant::now() + SOON;
        loop {
            let answer = ask()?;
            if held(&answer) || Instant::now() >= until {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn key(i: usize) -> String {
    format!("key{i}")
}

fn value(i: usize) -> String {
    format!("value of {i}")
}

fn broken(why: std::io::Error) -> Failure {
    Failure::internal(format!("lost the Redis connection: {why}"))
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether `reply` of RKV.REPLICAS shows three values of one version and digest on three nodes.
fn three_equal_copies(reply: &Reply) -> bool {
    let Reply::List(rows) = reply else {
        return false;
    };
    let mut nodes = BTreeSet::new();
    let mut contents = BTreeSet::new();
    for row in rows {
        let Reply::List(fields) = row else {
            return false;
        };
        let fields: Vec<String> = fields
            .iter()
            .map(|field| field.text().unwrap_or_default())
            .collect();
        let [node, _, _, _, state, version, digest, ..] = fields.as_slice() else {
            return false;
        };
        nodes.insert(node.clone());
        contents.insert((state.clone(), version.clone(), digest.clone()));
    }
    nodes.len() == COUNT
        && contents.len() == 1
        && contents.iter().all(|(state, ..)| state == "value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, state: &str, version: &str) -> Reply {
        let text = |it: &str| Reply::Bulk(Some(it.as_bytes().to_vec()));
        let (partition, replica) = (Reply::Number(3), Reply::Number(0));
        Reply::List(vec![
            text(node),
            partition,
            replica,
            text("primary"),
            text(state),
            text(version),
            text("d"),
        ])
    }

    /// Lost without it: the demo would call replicas equal that are not.
    #[test]
    fn only_three_values_of_one_version_are_equal() {
        let same = |rows: &[(&str, &str, &str)]| {
            three_equal_copies(&Reply::List(
                rows.iter()
                    .map(|(node, state, version)| row(node, state, version))
                    .collect(),
            ))
        };
        assert!(same(&[
            ("a", "value", "1"),
            ("b", "value", "1"),
            ("c", "value", "1")
        ]));
        assert!(!same(&[
            ("a", "value", "1"),
            ("b", "value", "1"),
            ("c", "value", "2")
        ]));
        assert!(!same(&[("a", "value", "1"), ("b", "value", "1")]));
        assert!(!same(&[
            ("a", "missing", ""),
            ("b", "missing", ""),
            ("c", "missing", "")
        ]));
        assert!(!three_equal_copies(&Reply::Error("ERR".into())));
    }
}
