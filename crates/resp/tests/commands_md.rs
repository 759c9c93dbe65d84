//! `crates/node/COMMANDS.md` is what the table of commands says.

#[test]
fn the_list_of_commands_is_up_to_date() {
    // Lost without it: people read of commands that are not there, or not of those that are.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/COMMANDS.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == rkv_resp::markdown::markdown(),
        "crates/node/COMMANDS.md is out of date: cargo run -p rkv-resp --example commands > crates/node/COMMANDS.md"
    );
}
