//! An old and a new program write the same records and lose nothing of each other's: `cargo run --example typed-evolution [DIR]`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

/// The program as it was shipped first.
mod old {
    use ate::prelude::*;

    #[derive(Serialize, Deserialize, Record)]
    #[record(name = "task")]
    pub(crate) struct Task {
        pub(crate) title: String,
        pub(crate) minutes: u32,
    }
}

/// The same program, a year later.
mod new {
    use ate::prelude::*;

    #[derive(Serialize, Deserialize, Record)]
    #[record(name = "task")]
    pub(crate) struct Task {
        #[record(was = "title")]
        pub(crate) text: String,
        pub(crate) minutes: u32,
        #[record(default = State::Open)]
        pub(crate) state: State,
    }

    #[derive(Serialize, Deserialize, Shape, Debug)]
    pub(crate) enum State {
        Open,
        Done { by: String },
    }
}

use ate::prelude::*;

fn main() -> ate::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ate-data/typed-evolution".into());
    let store = Store::open(dir).wait()?;
    let tasks = store.chain("tasks").wait()?;
    if tasks.contains::<old::Task>("paint") {
        tasks.remove::<old::Task>("paint").wait()?;
    }

    tasks
        .put(
            "paint",
            old::Task {
                title: "paint the door".into(),
                minutes: 30,
            },
        )
        .wait()?;
    let task: Dao<new::Task> = tasks.get("paint").wait()?;
    println!(
        "new reads old: {}, {} minutes, {:?}",
        task.text, task.minutes, task.state
    );

    tasks
        .update("paint", |task: &mut new::Task| {
            task.state = new::State::Done { by: "anna".into() }
        })
        .wait()?;
    let task: Dao<old::Task> = tasks.get("paint").wait()?;
    println!("old reads new: {}, {} minutes", task.title, task.minutes);

    // The old program does not know that there is a state, and keeps it.
    tasks
        .update("paint", |task: &mut old::Task| task.minutes = 45)
        .wait()?;
    let task: Dao<new::Task> = tasks.get("paint").wait()?;
    println!(
        "new again: {}, {} minutes, {:?}",
        task.text, task.minutes, task.state
    );

    // Anyone who may read sees it without either program: the schema stands in the chain.
    println!("anyone: {}", tasks.document::<new::Task>("paint")?.json);
    Ok(())
}
