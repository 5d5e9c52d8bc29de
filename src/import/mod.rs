//! Moving in and out: what `hub import`, `hub undo` and `hub export` decide and do.
//!
//! In: the config files of clients, hub.toml, the state folder. Out: a plan; then files written whole, with backups to
//! undo it. Owns the backups in the state folder. May not: start a process, talk to the daemon, print, or change a
//! file that is not in the plan.
