//! Parse, run, map the outcome to an exit code; nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("__guardian") => hub::platform::guarding::guardian_main(),
        Some("serve") => {
            let config = args.nth(1).map(PathBuf::from);
            match hub::daemon::serve(config.as_deref()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => ExitCode::from(2),
    }
}
