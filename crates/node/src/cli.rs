//! This file answers: what do the commands share?
//!
//! A command talks to a node only over HTTP and JSON ([`api`] is the contract), shows what came back either as the
//! document itself ([`output`]) or as Riak's console would ([`table`]), and ends with a code that scripts can rely on
//! ([`failure`]). One file a command group: [`cluster`], [`look`] (what only shows), [`mod@repair`], [`kv`], [`configuration`],
//! [`completions`]; and [`mod@bench`], which talks to nodes as their clients do.

pub(crate) mod api;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod configuration;
pub(crate) mod documents;
pub(crate) mod failure;
pub(crate) mod kv;
pub(crate) mod look;
pub(crate) mod output;
pub(crate) mod repair;
pub(crate) mod table;
pub(crate) mod watch;

use std::path::PathBuf;

use clap::Args;

use api::Node;
use failure::Failure;
use output::Output;

/// How a command that did not fail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What was asked is done.
    Done,
    /// The answer to what was asked is no (exit 4).
    No,
    /// What was asked was done, and told, and it was found to fail (exit 1).
    Failed,
}

impl End {
    /// What the process exits with.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            End::Done => 0,
            End::No => 4,
            End::Failed => 1,
        }
    }
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// HTTP address of the node to talk to
    #[arg(
        long = "node",
        id = "node_url",
        value_name = "URL",
        global = true,
        env = "RKV_NODE",
        default_value = "http://127.0.0.1:8098",
        display_order = 100
    )]
    pub(crate) node_url: String,
    /// File that holds the node's http.token [env: RKV_TOKEN, the token itself]
    #[arg(long, value_name = "F", global = true, display_order = 101)]
    pub(crate) token_file: Option<PathBuf>,
    /// Print the JSON document, error or not, and nothing else, to stdout
    #[arg(long, global = true, display_order = 102)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(short, long, global = true, display_order = 103)]
    pub(crate) quiet: bool,
    /// More detail
    #[arg(short, long, global = true, display_order = 104)]
    pub(crate) verbose: bool,
}

impl Global {
    /// The node that the command talks to.
    pub(crate) fn node(&self) -> Result<Node, Failure> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|why| {
                    Failure::usage(format!("--token-file {}: {why}", path.display()))
                })?;
                Some(text.trim().to_owned())
            }
            None => std::env::var("RKV_TOKEN")
                .ok()
                .filter(|token| !token.is_empty()),
        };
        Ok(Node::at(&self.node_url, token))
    }

    /// Where what the command has to say goes.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json, self.quiet, self.verbose)
    }
}
