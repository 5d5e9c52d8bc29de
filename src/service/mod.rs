//! What keeps hub running: a process in the background, a systemd user unit, a launchd agent.
//!
//! In: paths and the login shell's PATH. Out: rendered units (pure), installed or removed; a started daemon. Owns
//! nothing. May not: decide what hub runs, or print.

pub mod background;
pub mod install;
mod launchd;
pub mod leftovers;
pub mod manager;
mod systemd;
pub mod unit;
