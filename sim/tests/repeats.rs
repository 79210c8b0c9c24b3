//! A seed is a run: the same calls with the same bytes and the same answers, in this process and in others.

use std::process::Command;

use ate_sim::run;

const SEEDS: std::ops::Range<u64> = 5..9;

fn traces_of_another_process() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_ate-sim"))
        .args(["--seed", "5", "--seeds", "4", "--traces"])
        .output()
        .expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.contains("trace"))
        .map(str::to_owned)
        .collect();
    // They come in the order in which the threads were ready.
    lines.sort_unstable();
    lines
}

#[test]
fn a_seed_repeats_to_the_byte_in_every_process() {
    let here: Vec<String> = SEEDS
        .map(|seed| {
            let finished = run(seed).unwrap_or_else(|failure| panic!("{failure}"));
            format!("seed {seed}: trace {:016x}", finished.trace)
        })
        .collect();
    assert_eq!(traces_of_another_process(), here);
    assert_eq!(traces_of_another_process(), here);
    let unlike: std::collections::BTreeSet<_> =
        here.iter().map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(unlike.len(), here.len(), "{here:?}");
}
