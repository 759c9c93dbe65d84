//! This file answers: which nodes are there, and who of them may be asked?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use super::waiting::{NOW_AND_THEN, within};
use crate::processes::{Node, Processes};

/// How long a request of an operator is repeated that nobody could answer.
const ASKED_FOR: Duration = Duration::from_secs(20);
/// How long a node may still be asked that is no member any more.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);

/// One node, dead or alive.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its Redis port.
    pub redis: u16,
    /// Its peer port.
    pub peer: u16,
    /// Its process; who does something to it holds this.
    pub node: Mutex<Node>,
    /// Whether writers go to it.
    is_open: AtomicBool,
}

impl Member {
    fn new(node: Node) -> Arc<Member> {
        Arc::new(Member {
            name: node.name.clone(),
            redis: node.redis,
            peer: node.peer,
            node: Mutex::new(node),
            is_open: AtomicBool::new(true),
        })
    }

    /// Writers go to it from now on, or do not.
    pub fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Whether its process ended by itself, and well: it has left.
    pub fn has_left(&self) -> bool {
        let ended = self.node.lock().ended();
        ended.is_some_and(|status| status.success())
    }
}

/// All nodes.
pub struct Fleet {
    processes: Processes,
    members: RwLock<Vec<Arc<Member>>>,
    /// Those that have been members.
    gone: Mutex<Vec<Arc<Member>>>,
    /// Those that are made to fail now.
    taken: Mutex<BTreeSet<String>>,
    named: Mutex<usize>,
}

impl Fleet {
    /// The nodes of a cluster.
    pub fn new(mut processes: Processes) -> Fleet {
        let nodes = std::mem::take(&mut processes.nodes);
        Fleet {
            processes,
            named: Mutex::new(nodes.len()),
            members: RwLock::new(nodes.into_iter().map(Member::new).collect()),
            gone: Mutex::default(),
            taken: Mutex::default(),
        }
    }

    /// Those that are members, or about to become or to stop being one.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().clone()
    }

    /// Where writers go.
    pub fn redis_ports(&self) -> Vec<u16> {
        let members = self.members.read();
        let open = members
            .iter()
            .filter(|it| it.is_open.load(Ordering::Relaxed));
        open.map(|it| it.redis).collect()
    }

    /// One more node under a new name, which no writer goes to yet.
    pub fn another(&self) -> Result<Arc<Member>> {
        let number = {
            let mut named = self.named.lock();
            *named += 1;
            *named
        };
        let member = Member::new(self.processes.another(&format!("node{number}"))?);
        member.open(false);
        self.members.write().push(member.clone());
        Ok(member)
    }

    /// It is no member any more; its process is ended.
    pub fn drop_member(&self, member: &Arc<Member>) -> Result<()> {
        self.members.write().retain(|it| it.name != member.name);
        self.gone.lock().push(member.clone());
        member.node.lock().kill()
    }

    /// One that was dropped is needed all the same.
    pub fn take_back(&self, name: &str) -> Option<Arc<Member>> {
        let mut gone = self.gone.lock();
        let at = gone.iter().position(|it| it.name == name)?;
        let member = gone.remove(at);
        self.members.write().push(member.clone());
        Some(member)
    }

    /// Takes a node for a deed, unless another has it or more than `most` are taken.
    pub fn take(&self, member: &Member, most: usize) -> bool {
        let mut taken = self.taken.lock();
        taken.len() < most && taken.insert(member.name.clone())
    }

    /// The deed is done.
    pub fn give_back(&self, member: &Member) {
        self.taken.lock().remove(&member.name);
    }

    /// Nobody does anything to it now.
    pub fn is_calm(&self, member: &Member) -> bool {
        !self.taken.lock().contains(&member.name)
    }

    /// Members that run and are not made to fail.
    pub fn calm(&self) -> Vec<Arc<Member>> {
        let mut members = self.members();
        members.retain(|it| it.is_open.load(Ordering::Relaxed) && self.is_calm(it));
        members
    }

    /// What nodes said when a thread of theirs panicked, those that are gone too.
    pub fn panics(&self) -> Vec<String> {
        let mut all = self.members();
        all.extend(self.gone.lock().iter().cloned());
        let mut panics = Vec::new();
        for member in all {
            let log = std::fs::read(member.node.lock().log()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let told = log.lines().filter(|line| line.contains("panicked at"));
            panics.extend(told.map(|line| format!("{}: {line}", member.name)));
        }
        panics
    }

    /// Asks one after the other until one does it; the last refusal when none does in time.
    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let begun = Instant::now();
        let mut last = Value::Null;
        let mut asked = String::new();
        let mut at = 0..;
        let answered = within(ASKED_FOR, NOW_AND_THEN, || {
            let (at, calm) = (at.next().unwrap_or_default(), self.calm());
            if let Some(member) = calm.get(at % calm.len().max(1)) {
                match ask_of(member, args) {
                    Ok(document) => return Some(Some(document)),
                    Err(refused) => last = refused,
                }
                asked.clone_from(&member.name);
            }
            let may_change = match last["error"]["reason"].as_str().unwrap_or_default() {
                "no_majority" | "not_reachable" => true,
                // So says also a node that has left and is about to end.
                "not_member" => begun.elapsed() < LEAVES_WITHIN,
                _ => last["error"]["kind"] != "refused",
            };
            (!may_change).then_some(None)
        });
        answered.flatten().ok_or_else(|| {
            anyhow!("{}", refusal(&last)).context(format!("{} at {asked}", args.join(" ")))
        })
    }
}

/// Asks one node: its document, or that of the error.
pub fn ask_of(member: &Member, args: &[&str]) -> Result<Value, Value> {
    // Its lock is not held meanwhile: the node may be killed while it is asked.
    let asked = member.node.lock().asked();
    match asked.cli_raw(args) {
        Ok((Some(0), document)) => Ok(document),
        Ok((_, document)) => Err(document),
        Err(error) => Err(Value::String(format!("{error:#}"))),
    }
}

/// Why, in short.
pub fn refusal(document: &Value) -> String {
    let error = &document["error"];
    let words = [&error["kind"], &error["reason"]].map(|word| word.as_str().unwrap_or("-"));
    match error.is_object() {
        true => words.join(" "),
        false => document.to_string(),
    }
}
