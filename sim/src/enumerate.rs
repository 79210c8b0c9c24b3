//! The script, cut at every call that changes the disk, in every variant of what the cut may leave. Calls that only read leave what the next one finds.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use ate::crypto::reproducible;
use ate::log::{Image, LogOptions, Loss, LossyStorage};

use crate::invariants::{DURABLE, Eyes, HEALING, Violation, judge};
use crate::oracle::{Oracle, Stop};
use crate::session::{Session, json};
use crate::world::World;

/// How much of it is tried.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Variants by chance for each cut, beside the fixed ones.
    pub seeds: u64,
    /// Of the variants of a cut so many, others for each cut; `None`: all.
    pub variants: Option<usize>,
    /// How the log's files are made.
    pub options: LogOptions,
}

/// What was tried.
#[derive(Clone, Copy, Default, Debug)]
pub struct Enumerated {
    /// Changing calls of the script, one more for its end.
    pub cuts: u64,
    /// Variants of each.
    pub variants: usize,
    /// What a machine would have found, all cuts and variants together.
    pub images: usize,
    /// How many of them were not alike and were opened.
    pub distinct: usize,
    /// Cuts that hit a commit on its way.
    pub unfinished: usize,
    /// Commits that the whole script acknowledges.
    pub commits: u64,
}

impl fmt::Display for Enumerated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cuts,
            variants,
            images,
            distinct,
            unfinished,
            commits,
        } = self;
        write!(
            f,
            "{cuts} cuts x {variants} variants = {images} images, 0 lost ({distinct} of them unlike; {commits} commits, {unfinished} cuts in the middle of one)"
        )
    }
}

/// The script up to a cut, and what is known then.
pub struct Cut {
    /// What is left.
    pub disk: LossyStorage,
    /// What was promised.
    pub oracle: Oracle,
    /// Who acted.
    pub world: Arc<World>,
}

/// Runs the script until the power goes instead of changing call number `call`, the same way each time.
///
/// # Errors
/// Anything that ends the script before.
pub fn run_until(call: u64, options: LogOptions) -> Result<Cut, Violation> {
    let _guard = reproducible([1; 32]);
    let disk = LossyStorage::new();
    disk.cut_at(call);
    let world = Arc::new(World::new(1, options));
    let mut session = Session::new(world.clone(), Arc::new(disk.clone()));
    match session.run_script() {
        Err(Stop::Broken(violation)) => return Err(violation),
        Err(Stop::Store(error)) if !disk.is_cut() => {
            return Err(HEALING.broken(format!("only the cut ends the script, not {error:?}")));
        }
        _ => {}
    }
    session.store = None;
    Ok(Cut {
        disk,
        oracle: session.oracle,
        world,
    })
}

/// Cuts the script everywhere.
///
/// # Errors
/// The first promise that was broken, with the cut and the variant.
pub fn enumerate(
    share: Share,
    mut progress: impl FnMut(&Enumerated),
) -> Result<Enumerated, String> {
    let whole = run_until(u64::MAX, share.options).map_err(|violation| violation.to_string())?;
    let calls = whole.disk.calls();
    let mut done = Enumerated {
        commits: whole.oracle.commits,
        variants: share.losses(0).len(),
        ..Enumerated::default()
    };
    let mut seen = BTreeSet::new();
    for call in 1..=calls + 1 {
        let context = |loss: Option<Loss>| format!("cut at call {call} of {calls}, {loss:?}");
        let cut = run_until(call, share.options)
            .map_err(|violation| format!("{}: {violation}", context(None)))?;
        done.cuts += 1;
        let mut chains = cut.oracle.chains.values();
        let is_unfinished = chains.any(|chain| chain.acknowledged < chain.states.len());
        done.unfinished += usize::from(is_unfinished);
        for loss in share.losses(call) {
            let image = cut.disk.image_after_cut(loss);
            done.images += 1;
            // What looks the same after the same promises has been judged.
            if !seen.insert(likeness(&image, &cut.oracle)) {
                continue;
            }
            done.distinct += 1;
            judge_image(image, &cut)
                .map_err(|violation| format!("{}: {violation}", context(Some(loss))))?;
        }
        progress(&done);
    }
    Ok(done)
}

impl Share {
    /// The variants for a cut: the one that decides most, and a share of the others that moves on with the cut.
    fn losses(&self, call: u64) -> Vec<Loss> {
        let all: Vec<Loss> = Loss::all(self.seeds).collect();
        let Some(count) = self.variants.filter(|count| *count < all.len()) else {
            return all;
        };
        let (first, others) = all.split_at(1);
        let others = others.iter().cycle();
        let moved = others.skip(call as usize * (count - 1) % (all.len() - 1));
        first.iter().chain(moved.take(count - 1)).copied().collect()
    }
}

fn likeness(image: &Image, oracle: &Oracle) -> (u64, u64, Vec<usize>) {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    let states = oracle.chains.values().map(|chain| chain.states.len());
    (hasher.finish(), oracle.commits, states.collect())
}

/// Opens what a cut left, judges it, writes on, and cuts again before anything is closed.
///
/// # Errors
/// The promise that was broken.
pub fn judge_image(image: Image, cut: &Cut) -> Result<(), Violation> {
    let world = &cut.world;
    let disk = LossyStorage::from_image(image);
    let store = world
        .open(Arc::new(disk.clone()))
        .map_err(|error| crate::invariants::NO_FALSE_DAMAGE.broken(format!("{error:?}")))?;
    judge(&store, &cut.oracle, world, Eyes::Writer)?;
    let unhealed = |error: ate::Error| HEALING.broken(format!("{error:?}"));
    let chain = store.chain("bank").wait().map_err(unhealed)?;
    let write = chain.put("after", json(r#"{"still": "writing"}"#));
    write.wait().map_err(|error| unhealed(error.into()))?;
    let root = chain.root();
    let left = LossyStorage::from_image(disk.image_after_cut(Loss::Everything));
    drop((chain, store));
    let store = world.open(Arc::new(left)).map_err(unhealed)?;
    let chain = store.existing_chain("bank").wait().map_err(unhealed)?;
    if chain.root() != root {
        return Err(DURABLE.broken("a commit acknowledged after recovery is gone"));
    }
    Ok(())
}
