//! `kill -9` at random moments: a child adds, deletes and commits for ever and says which commits were
//! acknowledged; after each kill the file has to hold the last of them, or the one that was in flight.
//!
//! `CHASSIS_KILLS` sets how often (25 by default), `CHASSIS_SEED` where the randomness begins.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chassis_core::{BatchOptions, CheckLevel, Id, Metric, Mode, VectorIndex};

use crate::child::{Spoken, say};
use crate::support::{Rng, options, place, reopen};

const DIMENSIONS: usize = 8;

type Model = BTreeMap<u64, Vec<f32>>;

/// What step `number` changes: ids to delete, then vectors to add. The same for child and parent, so that the
/// number of a commit says what is in the index.
fn step(number: u64, seed: u64, model: &Model) -> (Vec<u64>, Vec<f32>) {
    let mut rng = Rng(seed ^ number.wrapping_mul(0x9e37_79b9));
    let deletes = if model.is_empty() { 0 } else { rng.below(4) };
    let deleted: std::collections::BTreeSet<u64> =
        (0..deletes).filter_map(|_| model.keys().nth(rng.below(model.len())).copied()).collect();
    // Most commits are small; some fill several pages.
    let rows = if rng.below(8) == 0 { 400 } else { 1 + rng.below(20) };
    let vectors = (0..rows * DIMENSIONS).map(|_| rng.unit()).collect();
    (deleted.into_iter().collect(), vectors)
}

/// First id of the vectors a step adds.
fn first_id(number: u64) -> u64 {
    number * 1_000
}

fn apply(number: u64, seed: u64, model: &mut Model) {
    let (deleted, vectors) = step(number, seed, model);
    deleted.iter().for_each(|id| drop(model.remove(id)));
    for (i, vector) in vectors.chunks(DIMENSIONS).enumerate() {
        model.insert(first_id(number) + i as u64, vector.to_vec());
    }
}

fn model_at(number: u64, seed: u64) -> Model {
    let mut model = Model::new();
    (1..=number).for_each(|n| apply(n, seed, &mut model));
    model
}

/// The child: goes on from what the file holds.
pub fn commit_forever(path: &Path, seed: u64) {
    let index = VectorIndex::open(path, &options(DIMENSIONS, Metric::L2)).unwrap();
    let begin = index.user_version().unwrap();
    let mut model = model_at(begin, seed);
    say("open");
    for number in begin + 1.. {
        let (deleted, vectors) = step(number, seed, &model);
        let deleted: Vec<Id> = deleted.into_iter().map(Id::Integer).collect();
        assert_eq!(index.delete(&deleted).unwrap(), deleted.len());
        let rows = (vectors.len() / DIMENSIONS) as u64;
        let ids: Vec<Id> = (0..rows).map(|i| Id::Integer(first_id(number) + i)).collect();
        index.add_batch(&vectors, &BatchOptions { ids: Some(&ids), ..Default::default() }).unwrap();
        index.set_user_version(number).unwrap();
        index.commit().unwrap();
        say(&number.to_string());
        apply(number, seed, &mut model);
    }
}

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text:?}: {e}")))
}

fn assert_holds(index: &VectorIndex, model: &Model, context: &str) {
    assert_eq!(index.len().unwrap(), model.len() as u64, "{context}");
    for (id, vector) in model {
        let record =
            index.get(&Id::Integer(*id)).unwrap().unwrap_or_else(|| panic!("{context}: id {id} is lost"));
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&record.vector), bits(vector), "{context}: id {id}");
    }
    let report = index.check(CheckLevel::Full).unwrap();
    assert!(report.is_ok(), "{context}: {:?}", report.problems);
}

#[test]
fn a_killed_writer_loses_no_acknowledged_commit() {
    let (kills, seed) = (environment("CHASSIS_KILLS", 25), environment("CHASSIS_SEED", 7));
    let (_dir, path) = place();
    let (mut rng, mut held, mut in_flight, mut acknowledged) = (Rng(seed), 0, 0, 0);
    for kill in 0..kills {
        let mut child = Spoken::role("commit-forever", &path, seed);
        let mut last = held;
        // Some are killed before they have opened the file, the others after some commits and a moment.
        let hear = rng.below(8);
        for _ in 0..hear {
            if let Ok(number) = child.next().expect("the child lives").parse() {
                last = number;
            }
        }
        let within = if rng.below(2) == 0 { 2_000 } else { 30_000 };
        std::thread::sleep(Duration::from_micros(rng.below(within) as u64));
        // Commits acknowledged before the kill count, heard or not.
        last = child.kill().iter().filter_map(|line| line.parse().ok()).fold(last, u64::max);
        if last == 0 && !path.exists() {
            continue;
        }
        let context = format!("kill {kill} of seed {seed}, {last} acknowledged");
        let index = reopen(&path, Mode::ReadOnly);
        let found = index.user_version().unwrap();
        assert!(found == last || found == last + 1, "{context}: commit {found} is there");
        assert_holds(&index, &model_at(found, seed), &context);
        in_flight += (found > last) as u64;
        acknowledged += last - held;
        held = found;
    }
    println!("{kills} kills, {acknowledged} commits acknowledged, {in_flight} in flight survived");
    assert!(kills < 10 || acknowledged > kills, "{acknowledged} commits in {kills} kills");
}
