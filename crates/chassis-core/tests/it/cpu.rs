//! Which kernels run here, for the lanes that emulate other CPUs: they must not pass by running something else.

use chassis_core::internals::kernels;

#[test]
fn the_expected_kernels_are_active() {
    let name = kernels::active().name();
    println!("active kernel: {name}");
    match std::env::var("CHASSIS_EXPECT_KERNEL") {
        Ok(expected) => assert_eq!(name, expected),
        Err(_) => assert!(["scalar", "avx2", "neon"].contains(&name), "{name}"),
    }
}
