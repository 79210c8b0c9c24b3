//! The example in README.md is the example that the gate compiles and runs twice.

#[test]
fn the_readme_shows_the_hello_world_that_is_run() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../examples/hello-world.rs");
    let shown = readme
        .split_once("```rust\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map(|(code, _)| code)
        .expect("README.md shows Rust code");
    assert!(
        shown.contains("fn main()"),
        "the first block is a whole program"
    );
    let code = example
        .split_once("use ate::prelude::*;")
        .map(|(_, code)| format!("use ate::prelude::*;{code}"))
        .expect("the example uses the prelude");
    assert_eq!(shown, code);
}
