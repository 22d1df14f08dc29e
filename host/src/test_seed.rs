//! Property tests that repeat: the seed comes from `SYNCLINE_TEST_SEED` or is fixed, and is printed.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

const SEED_DEFAULT: u64 = 20_260_214;

pub(crate) fn seed() -> u64 {
    let seed = std::env::var("SYNCLINE_TEST_SEED")
        .ok()
        .map_or(SEED_DEFAULT, |text| text.parse().expect("SYNCLINE_TEST_SEED is a whole number"));
    println!("SYNCLINE_TEST_SEED={seed}");
    seed
}

/// Runs a property over that many cases and panics with the smallest one that breaks it.
pub(crate) fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    if let Err(broken) = TestRunner::new_with_rng(config, rng).run(strategy, property) {
        panic!("{broken}");
    }
}
