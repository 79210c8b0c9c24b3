//! Futures of calls, which run on the library's own threads and may be waited for anywhere.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake};

use ate_net::Task;
use tokio::runtime::{Builder, Runtime};

use crate::network::Net;

/// A value that comes over the network: `.await` it in any runtime, or `.wait()` for it without one. Dropping it gives it up.
#[must_use = "nothing happens until this is awaited or waited for"]
pub struct Answering<'a, T> {
    home: Home,
    task: Task<'a, T>,
}

impl<'a, T> Answering<'a, T> {
    pub(super) fn new(home: &Home, future: impl Future<Output = T> + Send + 'a) -> Self {
        Self {
            home: home.clone(),
            task: Box::pin(future),
        }
    }

    /// Blocks the calling thread until the value is there.
    pub fn wait(mut self) -> T {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

impl<T> Future for Answering<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        this.home.entered(|| this.task.as_mut().poll(context))
    }
}

/// Where calls run: on the runtime of a store's network, which lives as long as this, or else on one that all others of the process share.
#[derive(Clone)]
pub(crate) struct Home(Option<Arc<Net>>);

impl Home {
    pub(crate) fn of(net: Option<Arc<Net>>) -> Self {
        Self(net)
    }

    /// Runs `work` where timers and tasks are those of this home.
    ///
    /// # Panics
    /// At the first use of the shared runtime, if the system gives the process no thread.
    pub(super) fn entered<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inside = match &self.0 {
            Some(net) => net.handle().enter(),
            None => shared().enter(),
        };
        work()
    }
}

fn shared() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("ate-calls")
            .enable_time()
            .build();
        built.expect("the system gives a process its threads")
    })
}
