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
        world.finish().clone()
    }));
    match lived {
        Ok(seen) => Ok(seen),
        Err(panic) => {
            let (why, cell) = (text(&*panic), cell.name());
            let trail = Vec::from_iter(trail.take()).join("\n");
            Err(format!("{trail}\nHUB_SIM_SEED={seed} ({cell}), step {done} of {steps}: {why}"))
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
    if seeds.len() as u64 >= SEEDS && steps >= STEPS {
        it_reached_what_it_is_about(&sum);
    }
}

/// A simulation that never reaches what it is about proves nothing.
fn it_reached_what_it_is_about(sum: &Seen) {
    let rare = EXPECTED.iter().filter(|(cell, what, least)| sum.get(&(*cell, *what)).copied().unwrap_or(0) < *least);
    let rare: Vec<_> = rare.collect();
    assert!(rare.is_empty(), "happened too rarely: {rare:?}");
}

/// About a third of what there is.
const EXPECTED: [(&str, &str, u64); 44] = [
    ("legacy child", "start", 1_000),
    ("legacy child", "death", 1_000),
    ("legacy child", "call sent again", 200),
    ("legacy child", "learnt that it asks", 10),
    ("legacy child", "a log message of one of several callers", 1_000),
    ("legacy child", "refused ask", 5_000),
    ("legacy child", "subscription", 1_000),
    ("legacy child", "end of a subscription", 200),
    ("legacy child", "level", 1_000),
    ("legacy child", "ask within a task", 30),
    ("modern child", "start", 1_000),
    ("modern child", "death", 1_000),
    ("modern child", "call sent again", 500),
    ("modern child", "listen for lists", 5_000),
    ("modern child", "listen for resources", 5_000),
    ("modern child", "listen acknowledged", 3_000),
    ("modern child", "listen ended by the child", 400),
    ("modern child", "of a listen that is over", 500),
    ("modern child", "a request of a modern server", 300),
    ("legacy client, legacy child", "result", 2_000),
    ("legacy client, legacy child", "cancelled call", 1_500),
    ("legacy client, legacy child", "shown ask", 1_000),
    ("legacy client, legacy child", "answer", 800),
    ("legacy client, legacy child", "withdrawn ask", 200),
    ("legacy client, legacy child", "update", 400),
    ("modern client, legacy child", "result", 2_500),
    ("modern client, legacy child", "cancelled call", 3_000),
    ("modern client, legacy child", "park", 600),
    ("modern client, legacy child", "park with several questions", 300),
    ("modern client, legacy child", "retry", 200),
    ("modern client, legacy child", "partial retry", 150),
    ("modern client, legacy child", "refused retry", 500),
    ("modern client, legacy child", "end while parked", 140),
    ("modern client, legacy child", "expiry", 200),
    ("modern client, legacy child", "disconnect of an asked client", 70),
    ("legacy client, modern child", "result", 3_500),
    ("legacy client, modern child", "cancelled call", 2_000),
    ("legacy client, modern child", "round answered", 2_000),
    ("legacy client, modern child", "several questions", 500),
    ("legacy client, modern child", "poll", 1_000),
    ("legacy client, modern child", "update", 300),
    ("modern client, modern child", "result", 8_000),
    ("modern client, modern child", "retry of a call", 3_000),
    ("modern client, modern child", "task", 200),
];
