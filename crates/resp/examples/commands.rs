//! Prints `crates/node/COMMANDS.md`.

fn main() {
    print!("{}", rkv_resp::markdown::markdown());
}
