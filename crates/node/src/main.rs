//! This file answers: which commands does rkv have, and who carries each out?
//!
//! In reading order: [`config`] what can be configured · [`start`] one node, from its parts · [`cli`] the commands that
//! talk to a node · [`demo`] three nodes that lose one of them.

mod cli;
mod config;
mod demo;
mod duration;
mod http;
mod log;
mod process;
mod redis;
mod start;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use rkv_storage::BackendKind;

use cli::documents::HandoffRequest;
use cli::failure::Failure;
use cli::output::Output;
use cli::{End, Global, bench, cluster, completions, configuration, kv, look, repair};
use config::{Config, Sources};

/// Twice the rate of the system's allocator on small objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A distributed key-value store without a leader
///
/// Any node takes any request, each value lies on N nodes, and quorums of R and W decide when an answer is one.
#[derive(Debug, Parser)]
#[command(
    name = "rkv",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  rkv demo                       see it all in a minute
  rkv start                      one node, data in ./data
  rkv put greeting hello         write, read and delete
  rkv get greeting
  rkv cluster join 10.0.0.1:7379 this node asks to join that one's cluster
  rkv cluster plan               what would happen; then: rkv cluster commit

Exit codes: 0 done, 1 failed, 2 usage, 3 the node cannot be reached, 4 refused, 5 timed out."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node in the foreground until SIGTERM or SIGINT
    ///
    /// Prints one line `ready redis=ADDR peer=ADDR http=ADDR` to stdout; logs go to stderr.
    #[command(after_help = "\
Examples:
  rkv start
  rkv start --config config/node1.toml
  rkv start --set storage.backend=memory --set listen.redis=127.0.0.1:7000")]
    Start {
        #[command(flatten)]
        layers: Layers,
        /// Let POST /v1/faults cut links and fail disks; for tests and game days
        #[arg(long)]
        faults: bool,
    },
    /// Three nodes in a temporary folder: join, quorums, one killed under load and back again
    #[command(after_help = "\
Examples:
  rkv demo
  rkv demo --backend sled --keep")]
    Demo {
        /// Storage engine: memory, sled or fjall
        #[arg(long, value_name = "B", default_value = "fjall")]
        backend: BackendKind,
        /// Keep the folder with data and logs
        #[arg(long)]
        keep: bool,
    },
    /// One screen on the cluster as this node sees it
    Status,
    /// Route VALUE through the ring to the ping service
    #[command(after_help = "Example:\n  rkv ping 3        prints: pong 4 node2 partition 11")]
    Ping {
        /// What to send; the answer is one more
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        value: i64,
    },
    /// Change the cluster, or look at it
    #[command(subcommand)]
    Cluster(Cluster),
    /// Read a key: the value to stdout, `not found` to stderr
    #[command(after_help = "\
A text that has no line end gets one; --raw adds nothing. With --n, --r or --pr the replicas that answered follow.

Examples:
  rkv get greeting
  rkv get greeting --n 3 --r 2
  rkv get picture --raw > picture.png")]
    Get {
        /// The key
        key: OsString,
        #[command(flatten)]
        asked: kv::Reads,
    },
    /// Write a key
    #[command(after_help = "\
With --n, --w or --pw the replicas that answered follow. A value that begins with `-` stands after `--`.

Examples:
  rkv put greeting hello
  rkv put greeting hello --n 3 --w 3 --timeout 2s
  rkv put picture - < picture.png
  rkv put flag -- --not-a-flag")]
    Put {
        /// The key
        key: OsString,
        /// The value; `-` reads it from stdin
        #[arg(allow_negative_numbers = true)]
        value: OsString,
        #[command(flatten)]
        asked: kv::Writes,
    },
    /// Delete a key
    #[command(after_help = "Examples:\n  rkv delete greeting\n  rkv delete greeting --n 3 --w 3")]
    Delete {
        /// The key
        key: OsString,
        #[command(flatten)]
        asked: kv::Writes,
    },
    /// Put load on nodes (or on a redis-server) and measure how they bear it
    #[command(after_help = bench::EXAMPLES)]
    Bench {
        #[command(flatten)]
        asked: Box<bench::Asked>,
    },
    /// Check a configuration, or show what it amounts to
    #[command(subcommand, name = "config")]
    Configuration(Configuration),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  rkv completions bash > /etc/bash_completion.d/rkv")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum Cluster {
    /// This node asks to join the cluster that PEER belongs to; staged until a commit
    #[command(
        after_help = "Example:\n  rkv --node http://127.0.0.1:8298 cluster join 127.0.0.1:8199"
    )]
    Join {
        /// `host:port` of the peer listener of a node in that cluster
        peer: String,
    },
    /// A node is to hand off everything and go; staged until a commit
    Leave {
        /// Who; without it the node that is asked
        #[arg(value_name = "NODE")]
        name: Option<String>,
    },
    /// A node is to go at once, without handing off: its copies are lost and filled again from the others; staged until a commit
    Remove {
        /// Who
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// NEW, which is joining, is to take over all that OLD has; staged until a commit
    #[command(after_help = "\
Example:
  rkv --node http://127.0.0.1:8498 cluster join 127.0.0.1:8199
  rkv cluster replace node2 node4")]
    Replace {
        /// Who goes
        old: String,
        /// Who comes: it has asked to join and nobody has committed it yet
        new: String,
        /// OLD is lost: NEW is filled from the copies that are left
        #[arg(long)]
        force: bool,
    },
    /// A node that does not answer has no voice and is not waited for until it is back; at once
    Down {
        /// Who
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// A node is to hold another share of the copies; staged until a commit
    #[command(
        after_help = "Example:\n  rkv cluster weight node1 2.0      twice as much as a node of weight 1"
    )]
    Weight {
        /// Who
        #[arg(value_name = "NODE")]
        name: String,
        /// Above 0, relative to the others'; 1.0 unless set
        #[arg(value_name = "W")]
        weight: f64,
    },
    /// A node stands in another failure domain; replicas are spread over these; staged until a commit
    #[command(after_help = "Example:\n  rkv cluster zone node1 rack-a")]
    Zone {
        /// Who
        #[arg(value_name = "NODE")]
        name: String,
        /// Such as the name of a rack
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        zone: Option<String>,
        /// In none: with all others that name none
        #[arg(long)]
        none: bool,
    },
    /// The way out when a majority is gone for good: the survivor that is asked goes on without them
    ///
    /// Without --accept-data-loss it changes nothing and says what may be lost. Other survivors follow by themselves; one
    /// of the lost that turns out to live hands off what it holds, and ends.
    #[command(after_help = "\
Example:
  rkv cluster recover --without node2 node3                      what may be lost
  rkv cluster recover --without node2 node3 --accept-data-loss")]
    Recover {
        /// Who is gone for good
        #[arg(long, value_name = "NODE", required = true, num_args = 1..)]
        without: Vec<String>,
        /// Do it, whatever only they had
        #[arg(long)]
        accept_data_loss: bool,
    },
    /// Give up the transfers that wait or run: every copy stays where it is, nodes that were leaving stay
    Cancel,
    /// What a commit would do: members before and after, transfers, warnings, the plan's id
    Plan,
    /// Carry the plan out
    #[command(after_help = "\
Example:
  rkv cluster commit --plan 1a2b3c4d      refused if that is no longer what would happen")]
    Commit {
        /// The plan that was looked at
        #[arg(long, value_name = "ID")]
        plan: Option<String>,
    },
    /// Drop what is staged; a node that was joining goes on as its own cluster
    Clear,
    /// Who is in the cluster, and with which share
    Members,
    /// Who owns what
    Ring {
        /// Only where this key lies, and who is asked for it
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Whether the cluster is settled
    Status,
    /// Copies on the move: how far they are, and what they wait for
    Transfers {
        /// Again each second until there are none
        #[arg(long)]
        watch: bool,
    },
    /// Hold transfers, let them go on, or bound how many run at once; without a verb: what holds now
    #[command(after_help = "\
Holds for the whole cluster and survives restarts. Paused are moves, hints and anti-entropy; requests go on, and so does a
copy that catches up, for reads need it.

Examples:
  rkv cluster handoff
  rkv cluster handoff pause
  rkv cluster handoff limit 4          on each node 4 in and 4 out, in place of transfers.limit
  rkv cluster handoff limit default    as each node's transfers.limit says")]
    Handoff {
        #[command(subcommand)]
        change: Option<Handoff>,
    },
    /// Return when settled: one ring, no transfers, no hints for a reachable member
    #[command(after_help = "Example:\n  rkv cluster wait --timeout 2m")]
    Wait {
        /// How long, such as 30s or 2m; a bare number is seconds
        #[arg(long, value_name = "T", default_value = "60", value_parser = duration::parse_seconds)]
        timeout: Duration,
    },
    /// Compare copies with their peers now, and mend what differs; returns when that has begun
    #[command(after_help = "\
Examples:
  rkv cluster repair                      every copy of every partition
  rkv cluster repair --partition 3        all copies of that partition
  rkv cluster repair --node node2         all copies of that member
  rkv cluster repair --status             when each was compared last, and what came of it")]
    Repair {
        #[command(flatten)]
        which: repair::Which,
    },
    /// Exit 0 when every partition keeps a quorum without NODE, else 4 and the list
    CanStop {
        /// Who; without it the node that is asked
        #[arg(value_name = "NODE")]
        name: Option<String>,
    },
}

/// What is to hold for transfers.
#[derive(Debug, Subcommand)]
enum Handoff {
    /// Hold moves, hints and anti-entropy
    Pause,
    /// Let them go on at once
    Resume,
    /// How many transfers each node runs at once, in and out
    Limit {
        /// 1 to 1024, or `default`: as each node's transfers.limit says
        #[arg(value_name = "N", value_parser = cluster::limit)]
        limit: cluster::Limit,
    },
}

impl Handoff {
    fn request(self) -> HandoffRequest {
        match self {
            Handoff::Pause => HandoffRequest::Pause,
            Handoff::Resume => HandoffRequest::Resume,
            Handoff::Limit { limit } => HandoffRequest::Limit { limit: limit.0 },
        }
    }
}

#[derive(Debug, Subcommand)]
enum Configuration {
    /// Find mistakes; unknown keys are errors with a suggestion
    #[command(after_help = "Example:\n  rkv config check --config config/node1.toml")]
    Check {
        #[command(flatten)]
        layers: Layers,
    },
    /// Print what holds and where each value comes from, secrets as ***
    #[command(
        after_help = "Example:\n  rkv config show --config config/node1.toml --set ring.partitions=32"
    )]
    Show {
        #[command(flatten)]
        layers: Layers,
    },
}

/// Where configuration comes from, besides the environment.
#[derive(Debug, Args)]
struct Layers {
    /// Configuration file; without it the built-in defaults
    #[arg(long, value_name = "FILE", env = "RKV_CONFIG")]
    config: Option<PathBuf>,
    /// One value, over all others; no secrets here
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Layers {
    fn sources(self) -> Sources {
        Sources::here(self.config, self.set)
    }
}

fn main() -> ExitCode {
    let code = match Cli::try_parse_from(repair::told_apart(std::env::args_os())) {
        Ok(cli) => {
            let output = cli.global.output();
            match run(cli) {
                Ok(end) => end.exit_code(),
                Err(failure) => output.failure(&failure),
            }
        }
        Err(error) => not_understood(&error),
    };
    ExitCode::from(code)
}

/// Help and version are no errors; everything else is a usage error, as a document if one was asked for.
fn not_understood(error: &clap::Error) -> u8 {
    let is_wanted = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if !is_wanted && wants_json {
        let text = error.render().to_string();
        return Output::new(true, true, false).failure(&Failure::usage(text.trim()));
    }
    // nobody left to tell is no reason to fail
    let _ = error.print();
    if is_wanted { 0 } else { 2 }
}

fn run(cli: Cli) -> Result<End, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Start { layers, faults } => start_node(layers, faults),
        Command::Demo { backend, keep } => demo::run(&global.output(), backend, keep),
        Command::Status => look::status(global),
        Command::Ping { value } => look::ping(global, value),
        Command::Cluster(command) => run_cluster(global, command),
        Command::Get { key, asked } => kv::get(global, key, &asked),
        Command::Put { key, value, asked } => kv::put(global, key, value, &asked),
        Command::Delete { key, asked } => kv::delete(global, key, &asked),
        Command::Bench { asked } => bench::bench(global, *asked),
        Command::Configuration(Configuration::Check { layers }) => {
            configuration::check(global, &layers.sources())
        }
        Command::Configuration(Configuration::Show { layers }) => {
            configuration::show(global, &layers.sources())
        }
        Command::Completions { shell } => completions::completions(global, shell, Cli::command()),
    }
}

fn run_cluster(global: &Global, command: Cluster) -> Result<End, Failure> {
    match command {
        Cluster::Join { peer } => cluster::join(global, &peer),
        Cluster::Leave { name } => cluster::leave(global, name),
        Cluster::Remove { name } => cluster::remove(global, name),
        Cluster::Replace { old, new, force } => cluster::replace(global, old, new, force),
        Cluster::Down { name } => cluster::down(global, name),
        Cluster::Weight { name, weight } => cluster::weight(global, name, weight),
        Cluster::Zone { name, zone, .. } => cluster::zone(global, name, zone),
        Cluster::Recover {
            without,
            accept_data_loss,
        } => cluster::recover(global, without, accept_data_loss),
        Cluster::Cancel => cluster::cancel(global),
        Cluster::Plan => look::plan(global),
        Cluster::Commit { plan } => cluster::commit(global, plan),
        Cluster::Clear => cluster::clear(global),
        Cluster::Members => look::members(global),
        Cluster::Ring { key } => look::ring(global, key.as_deref()),
        Cluster::Status => look::cluster_status(global),
        Cluster::Transfers { watch } => look::transfers(global, watch),
        Cluster::Handoff { change } => cluster::handoff(global, change.map(Handoff::request)),
        Cluster::Wait { timeout } => look::wait(global, timeout),
        Cluster::Repair { which } => repair::repair(global, which),
        Cluster::CanStop { name } => look::can_stop(global, name.as_deref()),
    }
}

fn start_node(layers: Layers, faults: bool) -> Result<End, Failure> {
    let loaded = Config::load(&layers.sources())?;
    loaded
        .config
        .check_doors()
        .map_err(|error| Failure::usage(error.to_string()))?;
    log::init(&loaded.config.log);
    match start::run(loaded.config, faults) {
        Ok(()) => Ok(End::Done),
        Err(error) => Err(match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Failure::internal(format!("{error:#}")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: two flags of one name, or an argument that can never be given, found out by a user.
    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    /// Lost without it: a command that scripts call would be gone, or one of a later issue there half done.
    #[test]
    fn the_commands_are_those_that_are_promised() {
        for line in [
            "start --config f --set a.b=c --set d.e=f --faults",
            "demo --backend memory --keep",
            "status --json",
            "--json status",
            "ping",
            "ping -3",
            "cluster join 127.0.0.1:8199 --node http://x:1 --token-file f",
            "cluster leave",
            "cluster leave node2",
            "cluster remove node2",
            "cluster replace node2 node4 --force",
            "cluster down node2",
            "cluster weight node2 0.5",
            "cluster zone node2 rack-a",
            "cluster zone node2 --none",
            "cluster cancel",
            "cluster recover --without node2 node3 --accept-data-loss",
            "cluster plan",
            "cluster commit --plan 1a2b",
            "cluster clear",
            "cluster members --json -q",
            "cluster ring --key k",
            "cluster status",
            "cluster transfers --watch",
            "cluster wait --timeout 5",
            "cluster handoff",
            "cluster handoff pause",
            "cluster handoff resume --json",
            "cluster handoff limit 4",
            "cluster handoff limit default",
            "cluster can-stop node2",
            "cluster repair --partition 3 --node node2 --json",
            "cluster repair --status",
            "get k --keyspace d --n 3 --r 2 --pr 1 --timeout 5s --context c -v",
            "put k v --n 3 --w 2 --pw 1 --timeout 250 --context c",
            "put k -5",
            "put k -",
            "put k -- --v",
            "delete k --w 3",
            "config check --config f",
            "config show",
            "completions zsh",
            "bench --driver redis --target 127.0.0.1:6379 --mode rate:500 --duration 1s --workload b",
        ] {
            let words = std::iter::once("rkv").chain(line.split(' '));
            let words = repair::told_apart(words.map(OsString::from));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "cluster remove",
            "cluster zone node2",
            "cluster weight node2 heavy",
            "cluster handoff limit",
            "cluster handoff limit 0",
            "cluster handoff limit many",
            "keyspace list",
            "bench --workload e",
            "demo --backend dets",
            "put k",
        ] {
            let words = std::iter::once("rkv").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
