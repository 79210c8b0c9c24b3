//! Bugs on purpose, to see that the tests find them. Compiled only under `--cfg ate_planted`, which nothing but `cargo xtask planted` sets.

use std::sync::OnceLock;

/// Whether the planted bug `name` is switched on, by the environment variable `ATE_PLANTED`.
pub(crate) fn planted(name: &str) -> bool {
    static SWITCHED_ON: OnceLock<Option<String>> = OnceLock::new();
    SWITCHED_ON
        .get_or_init(|| std::env::var("ATE_PLANTED").ok())
        .as_deref()
        == Some(name)
}
