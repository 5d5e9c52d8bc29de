//! Parse, run, map the outcome to an exit code; nothing else.

use std::process::ExitCode;

use hub::platform::{guardian, guarding};

fn main() -> ExitCode {
    // Before anything else: a guardian must be there in an instant, and stay when hub's own code goes wrong.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == guardian::SUBCOMMAND) {
        return guarding::guardian_main();
    }
    hub::cli::main()
}
