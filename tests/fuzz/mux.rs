//! Fuzz target: the mux in a world that the fuzzer directs.
//!
//! In: bytes, each a decision (see `world`). Out: a panic where a promise of PROTOCOL section 1 is broken. Owns the world
//! of one run. May not: go on for ever; when the bytes are used up, everything must come to an end.
#![no_main]

#[path = "../world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use world::{Cell, Choice, Trail, World};

/// Decisions from a fuzzer: one byte each.
struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Choice for Bytes<'_> {
    fn below(&mut self, bound: usize) -> Option<usize> {
        self.0.next().map(|byte| usize::from(*byte) % bound.max(1))
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data.iter());
    let Some(cell) = bytes.of(&Cell::ALL) else { return };
    let told: Option<Trail> =
        std::env::var_os("HUB_SIM_TRACE").map(|_| -> Trail { Box::new(|line| eprintln!("{line}")) });
    let Some(mut world) = World::new(bytes, cell, told) else { return };
    while world.step().is_some() {}
    world.finish();
});
