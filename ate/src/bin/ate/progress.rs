//! How far a long command is, on standard error and only if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that disappears when the work ends.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Bytes of a total, if it is known.
    pub(crate) fn bytes(what: &'static str, total: Option<u64>) -> Self {
        Self::new(
            what,
            total,
            "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}",
            "{msg} {spinner} {bytes}, {bytes_per_sec}",
        )
    }

    /// Records of a total, if it is known.
    pub(crate) fn records(what: &'static str, total: Option<u64>) -> Self {
        Self::new(
            what,
            total,
            "{msg} {wide_bar} {human_pos} of {human_len} records, {per_sec}, {eta}",
            "{msg} {spinner} {human_pos} records, {per_sec}",
        )
    }

    /// Commits of a total, if it is known.
    pub(crate) fn commits(what: &'static str, total: Option<u64>) -> Self {
        Self::new(
            what,
            total,
            "{msg} {wide_bar} {human_pos} of {human_len} commits, {per_sec}, {eta}",
            "{msg} {spinner} {human_pos} commits, {per_sec}",
        )
    }

    fn new(
        what: &'static str,
        total: Option<u64>,
        with_total: &'static str,
        without: &'static str,
    ) -> Self {
        // Hidden where standard error is no terminal; ten times a second are enough.
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let template = if total.is_some() { with_total } else { without };
        let style = ProgressStyle::with_template(template).expect("the templates are fixed");
        let bar = ProgressBar::with_draw_target(total, target)
            .with_style(style.progress_chars("=> "))
            .with_message(what);
        Self(bar)
    }

    /// So much is done.
    pub(crate) fn reached(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
