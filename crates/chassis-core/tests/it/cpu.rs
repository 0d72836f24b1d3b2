//! Which kernels run here, and what file they build: for the lanes that emulate other CPUs, which must not pass by
//! running something else, and which compare the digest.

use chassis_core::internals::format::checksum::crc;
use chassis_core::internals::kernels;
use chassis_core::{BatchOptions, Id, Metric, VectorIndex};

use crate::support::{clustered, options, place};

#[test]
fn the_expected_kernels_are_active() {
    let name = kernels::active().name();
    println!("active kernel: {name}");
    match std::env::var("CHASSIS_EXPECT_KERNEL") {
        Ok(expected) => assert_eq!(name, expected),
        Err(_) => assert!(["scalar", "avx2", "neon"].contains(&name), "{name}"),
    }
}

#[test]
fn a_file_to_compare_between_cpus() {
    let mut digests = Vec::new();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let (_dir, path) = place();
        let index = VectorIndex::open(&path, &options(37, metric)).unwrap();
        for part in clustered(3_000, 37, 77).chunks(1_000 * 37) {
            index.add_batch(part, &BatchOptions::default()).unwrap();
            index.commit().unwrap();
        }
        index.delete(&[Id::Integer(5)]).unwrap();
        index.commit().unwrap();
        index.close().unwrap();
        digests.push(format!("{:08x}", crc(&std::fs::read(&path).unwrap())));
    }
    println!("file digest: {}", digests.join(" "));
}
