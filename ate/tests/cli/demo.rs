//! `demo`: it runs through, fits a screen, and leaves nothing behind unless told to.

use crate::support::{Place, json_lines};

#[test]
fn the_demo_tells_its_story() {
    let place = Place::new();
    let story = place.good(&["demo"]);
    assert!(story.lines().count() <= 40, "{story}");
    assert!(story.is_ascii(), "{story}");
    for part in [
        "on disk",
        "reopen",
        "verify",
        "flipped",
        "time travel",
        "All of it in",
    ] {
        assert!(story.contains(part), "`{part}` is not in {story}");
    }
    let left: Vec<_> = std::fs::read_dir(place.path(""))
        .expect("readable")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_can_be_kept_and_read_by_programs() {
    let place = Place::new();
    let steps = json_lines(&place.good(&["demo", "--keep", "look", "--json"]));
    assert!(steps.last().expect("a line")["seconds"].is_f64());
    assert!(steps.iter().any(|step| step["step"] == "tamper"));
    let log = place.good(&["--dir", "look", "log", "bank"]);
    assert!(log.contains("genesis"), "{log}");
    place.good(&["--dir", "look", "verify"]);
    place
        .ate(&["demo", "--keep", "look"])
        .failed(1, &["not empty"]);
}
