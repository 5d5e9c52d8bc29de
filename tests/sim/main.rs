//! Seeded simulation of the mux: a million random steps, invariants after each.
//!
//! In: seeds (`HUB_SIM_SEED=N` replays one, `HUB_SIM_STEPS=N` makes runs longer). Out: a failure names its seed and step.
//! Owns a [`world::World`] per seed: callers, a model of a child that knows the truth about whose each of its messages
//! is, and a clock. May not: look into the mux, except through its own invariants.

#![expect(clippy::panic, reason = "a broken promise ends the run, and says why")]

mod child;
mod rng;
mod world;

use world::World;

const SEEDS: u64 = 256;
const STEPS: u64 = 4_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, steps: u64) -> world::Totals {
    let mut world = World::new(seed);
    for step in 0..steps {
        if let Err(broken) = world.step() {
            panic!("HUB_SIM_SEED={seed}, step {step}: {broken}\n{}", world.history());
        }
    }
    match world.wind_down() {
        Ok(totals) => totals,
        Err(broken) => panic!("HUB_SIM_SEED={seed}, at the end: {broken}\n{}", world.history()),
    }
}

#[test]
fn every_interleaving_keeps_callers_apart() {
    let steps = number("HUB_SIM_STEPS").unwrap_or(STEPS);
    let seeds: Vec<u64> = number("HUB_SIM_SEED").map_or_else(|| (0..SEEDS).collect(), |seed| vec![seed]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sum = world::Totals::default();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let mine: Vec<u64> = seeds.iter().copied().skip(part).step_by(threads).collect();
                scope.spawn(move || mine.into_iter().map(|seed| run(seed, steps)).collect::<Vec<_>>())
            })
            .collect();
        for part in parts {
            match part.join() {
                Ok(totals) => totals.iter().for_each(|one| sum.add(one)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    println!("{} steps over {} seeds: {sum:?}", steps * seeds.len() as u64, seeds.len());
    if seeds.len() > 1 {
        // A simulation that never reaches what it is about proves nothing.
        assert!(sum.finished > 10_000 && sum.cancelled > 1_000 && sum.asks_shown > 1_000, "{sum:?}");
        assert!(sum.asks_refused > 100 && sum.restarts > 100 && sum.repeated > 20 && sum.updates > 100, "{sum:?}");
    }
}
