//! The `estab` program.
fn main() {}
