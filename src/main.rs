//! Parse, run, map the outcome to an exit code; nothing else.

fn main() {}
