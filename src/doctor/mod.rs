//! What is wrong on this machine, and what to do about it.
//!
//! In: config, state, service, clients, processes, and the daemon if it runs. Out: findings with hints. Owns nothing.
//! May not: change anything; only `--kill` ends processes, and only those that were shown and confirmed.

pub mod causes;
