//! This file answers: what goes to stdout, and what to stderr?
//!
//! Text and documents to stdout, progress and errors to stderr. Under `--json` the document is all that stdout holds.

use std::io::{ErrorKind, IsTerminal, Write};

use super::failure::{Failure, Kind};

/// What a colour means: well, beware, ill; each is its number on terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Where what a command has to say goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    verbose: bool,
    colour: bool,
}

impl Output {
    /// As the flags say; colour only on a terminal that wants it.
    pub(crate) fn new(json: bool, quiet: bool, verbose: bool) -> Output {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output {
            json,
            quiet,
            verbose,
            colour: !is_unwanted && std::io::stdout().is_terminal(),
        }
    }

    /// Whether documents are wanted instead of text.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether more detail is wanted.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose && !self.quiet
    }

    /// Whether stdout is read by a person.
    pub(crate) fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// The result: the node's document, or the text that is made of it.
    pub(crate) fn result(
        &self,
        document: &str,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            line(document)
        } else {
            raw(text().as_bytes())
        }
    }

    /// Bytes to stdout as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        raw(bytes)
    }

    /// Progress.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            // nobody left to tell is no reason to fail
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A line of the report that a long command gives as it goes: stdout, or stderr when stdout is for the document.
    pub(crate) fn report(&self, text: &str) {
        let _ = if self.json {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }

    /// The failure, and what the process exits with.
    pub(crate) fn failure(&self, failure: &Failure) -> u8 {
        if self.json {
            let _ = line(failure.document());
        } else if !failure.message.is_empty() {
            let _ = writeln!(std::io::stderr(), "{}", failure.text());
        }
        failure.kind.exit_code()
    }

    /// A health word, coloured for who looks at a terminal.
    pub(crate) fn health(&self, word: &str) -> String {
        let colour = match word {
            "ok" => Colour::Green,
            "degraded" => Colour::Yellow,
            _ => Colour::Red,
        };
        self.paint(colour, word)
    }

    /// `text`, coloured for who looks at a terminal.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            false => text.to_owned(),
        }
    }
}

fn line(document: &str) -> Result<(), Failure> {
    raw(format!("{document}\n").as_bytes())
}

fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|why| match why.kind() {
            // whoever reads has seen enough (`| head`): nothing to say to them
            ErrorKind::BrokenPipe => Failure::new(Kind::Internal, "output", ""),
            _ => Failure::new(
                Kind::Internal,
                "output",
                format!("cannot write to stdout: {why}"),
            ),
        })
}
