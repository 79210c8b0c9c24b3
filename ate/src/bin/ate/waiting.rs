//! Waiting on the calling thread for an answer that may not come.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// How often it is looked whether to wait on.
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for as long as `look` says so, which is asked about twenty times a second; `None` if it broke off. What is waited for goes on all the same.
pub(crate) fn wait_while<F: Future>(
    work: F,
    mut look: impl FnMut() -> ControlFlow<()>,
) -> Option<F::Output> {
    let mut work = pin!(work);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
            return Some(output);
        }
        if look().is_break() {
            return None;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_is_given_and_one_that_does_not_is_given_up() {
        let here = wait_while(std::future::ready(7), || ControlFlow::Break(()));
        assert_eq!(here, Some(7));
        let mut looks = 0;
        let never = wait_while(std::future::pending::<()>(), || {
            looks += 1;
            if looks == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((never, looks), (None, 3));
    }
}
