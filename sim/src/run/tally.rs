//! What runs have done, in numbers.

use std::fmt;

/// What runs have done. A number that stays 0 over many runs means that something is not tried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Operations.
    pub steps: u64,
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Processes that ended without a word.
    pub kills: u64,
    /// Stores that were judged after opening.
    pub judged: u64,
    /// Operations that ended in an error.
    pub errors: u64,
    /// Commits that a full disk refused.
    pub full: u64,
    /// Commits of unknown outcome.
    pub unknown: u64,
    /// Damaged copies that were opened.
    pub damaged: u64,
    /// Looks by a process beside the writer.
    pub readers: u64,
    /// Segments that were sealed when it was asked for.
    pub sealed: u64,
    /// Documents that were erased.
    pub erased: u64,
    /// Bytes that compactions gave back.
    pub reclaimed: u64,
    /// Backups that were made and put back.
    pub backups: u64,
    /// Salts that were compared.
    pub salts: u64,
}

impl Tally {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.commits += other.commits;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.judged += other.judged;
        self.errors += other.errors;
        self.full += other.full;
        self.unknown += other.unknown;
        self.damaged += other.damaged;
        self.readers += other.readers;
        self.sealed += other.sealed;
        self.erased += other.erased;
        self.reclaimed += other.reclaimed;
        self.backups += other.backups;
        self.salts += other.salts;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            steps,
            commits,
            cuts,
            kills,
            judged,
            errors,
            full,
            unknown,
            damaged,
            readers,
            sealed,
            erased,
            reclaimed,
            backups,
            salts,
        } = self;
        write!(
            f,
            "{steps} steps, {commits} commits acknowledged, {cuts} power cuts, {kills} kills, {errors} errors ({unknown} unknown, {full} full), \
             {judged} stores judged, {damaged} damaged copies, {readers} looks by readers, {sealed} segments sealed, {erased} documents erased, {reclaimed} bytes given back, {backups} backups put back, {salts} salts"
        )
    }
}
