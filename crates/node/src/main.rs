//! The rkv program.
fn main() {}
