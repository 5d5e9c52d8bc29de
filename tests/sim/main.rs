//! Seeded simulation of the mux and of parked calls: a million random steps in all four cells of the two eras.
//!
//! In: seeds (`HUB_SIM_SEED=N` replays one, `HUB_SIM_STEPS=N` makes runs longer, `HUB_SIM_SEEDS=N` tries more). Out: a
//! failure names its seed and step and tells what happened last; else how often what happened, by cell. Owns a
//! [`world::World`] per seed. May not: look into the mux, except through its own invariants.

#![expect(clippy::panic, reason = "a broken promise ends the run, and says why")]

mod rng;
#[path = "../world/mod.rs"]
mod world;

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rng::Rng;
use world::{Cell, Choice, Seen, Trail, World};

const SEEDS: u64 = 256;
const STEPS: u64 = 4_000;
/// The last things that happened, for a person.
const TRAIL_LINES: usize = 120;

/// Decisions from a seed: they never end.
struct Seeded(Rng);

impl Choice for Seeded {
    fn below(&mut self, bound: usize) -> Option<usize> {
        Some(self.0.index(bound))
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn text(panic: &(dyn Any + Send)) -> String {
    let known = panic.downcast_ref::<String>().cloned();
    known.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// One world from its beginning to its end; or what broke, and what was before that.
fn run(seed: u64, steps: u64, traced: bool) -> Result<Seen, String> {
    let cell = Cell::ALL[usize::try_from(seed % 4).unwrap_or_default()];
    let trail = Rc::new(RefCell::new(VecDeque::new()));
    let kept = trail.clone();
    let keep: Option<Trail> = traced.then(|| -> Trail {
        Box::new(move |line| {
            let mut lines = kept.borrow_mut();
            if lines.len() == TRAIL_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        })
    });
    let mut world = World::new(Seeded(Rng::new(seed)), cell, keep).expect("decisions never end");
    let mut done = 0;
    let lived = catch_unwind(AssertUnwindSafe(|| {
        while done < steps {
            world.step().expect("decisions never end");
            done += 1;
        }
        world.finish();
    }));
    match lived {
        Ok(()) => Ok(world.seen().clone()),
        Err(panic) => {
            let (why, cell) = (text(&*panic), cell.name());
            let trail: String = trail.borrow().iter().map(|line| format!("{line}\n")).collect();
            Err(format!("{trail}HUB_SIM_SEED={seed} ({cell}), step {done} of {steps}: {why}"))
        }
    }
}

/// One that broke is lived once more, to tell of it.
fn lived(seed: u64, steps: u64, traced: bool) -> Seen {
    let first = match run(seed, steps, traced) {
        Ok(seen) => return seen,
        Err(told) => told,
    };
    let again = if traced { first } else { run(seed, steps, true).err().unwrap_or(first) };
    panic!("{again}");
}

#[test]
fn every_interleaving_keeps_callers_apart() {
    let steps = number("HUB_SIM_STEPS").unwrap_or(STEPS);
    let only = number("HUB_SIM_SEED");
    let seeds: Vec<u64> =
        only.map_or_else(|| (0..number("HUB_SIM_SEEDS").unwrap_or(SEEDS)).collect(), |seed| vec![seed]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sum = Seen::new();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                // By fours, so that each thread has all cells.
                let mine = seeds.iter().copied().filter(|seed| (seed / 4) as usize % threads == part);
                let mine: Vec<u64> = if only.is_some() && part == 0 { seeds.clone() } else { mine.collect() };
                scope.spawn(move || mine.into_iter().map(|seed| lived(seed, steps, only.is_some())).collect::<Vec<_>>())
            })
            .collect();
        for part in parts {
            match part.join() {
                Ok(all) => all.iter().flatten().for_each(|(what, times)| *sum.entry(*what).or_default() += times),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    println!("{} steps over {} seeds", steps * seeds.len() as u64, seeds.len());
    for ((cell, what), times) in &sum {
        println!("{cell:28} {times:>8} {what}");
    }
    if seeds.len() as u64 >= SEEDS {
        it_reached_what_it_is_about(&sum);
    }
}

/// A simulation that never reaches what it is about proves nothing.
fn it_reached_what_it_is_about(sum: &Seen) {
    let rare = EXPECTED.iter().filter(|(cell, what, least)| sum.get(&(*cell, *what)).copied().unwrap_or(0) < *least);
    let rare: Vec<_> = rare.collect();
    assert!(rare.is_empty(), "happened too rarely: {rare:?}");
}

const EXPECTED: [(&str, &str, u64); 0] = [];
