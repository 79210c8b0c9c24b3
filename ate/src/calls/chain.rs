//! Calls by the chain itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use ate_net::NetError;
use ate_net::calls::{CallPath, Caller};
use ate_view::Chain;
use parking_lot::Mutex;

use super::answering::Home;
use super::{
    Answering, Call, CallError, Calling, Calls, Feed, Request, Served, StreamCalling,
    StreamingRequest,
};
use crate::crypto::KeyId;
use crate::error::Error;
use crate::inner::StoreInner;

/// `chain.call(request)` and `chain.serve(handler)`, for chains of an open [`Store`](crate::Store). It is in the prelude.
///
/// All calls of one chain and identity share their sessions, whatever handle they are made through.
pub trait ChainCalls: sealed::Sealed {
    /// The calls of this identity on this chain, which go the way that [`Store::calls`](crate::Store::calls) tells.
    ///
    /// # Errors
    /// [`Error::Net`] if the chain is of no open store, or the network cannot be started.
    fn calls(&self) -> Result<Calls, Error>;

    /// As [`Calls::call`]; what keeps [`calls`](Self::calls) from being had is [`CallError::Unreachable`].
    fn call<R: Request>(&self, request: R) -> Calling<R>;

    /// As [`Calls::stream`]; what keeps [`calls`](Self::calls) from being had is [`CallError::Unreachable`].
    fn stream<R: StreamingRequest>(&self, request: R) -> StreamCalling<R>;

    /// As [`Calls::serve`].
    ///
    /// # Errors
    /// [`CallError::Unreachable`].
    fn serve<R, H, F>(
        &self,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        R: Request,
        H: Fn(Call<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R::Answer, R::Error>> + Send + 'static;

    /// As [`Calls::serve_streaming`].
    ///
    /// # Errors
    /// [`CallError::Unreachable`].
    fn serve_streaming<R, H, F>(
        &self,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        R: StreamingRequest,
        H: Fn(Call<R>, Feed<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), R::Error>> + Send + 'static;
}

mod sealed {
    /// Nobody else implements it, so that it may grow.
    #[expect(unnameable_types, reason = "that it cannot be named is its purpose")]
    pub trait Sealed {}
    impl Sealed for ate_view::Chain {}
}

impl ChainCalls for Chain {
    fn calls(&self) -> Result<Calls, Error> {
        let companion = self
            .companion()
            .and_then(|any| any.downcast_ref::<Companion>());
        let store = companion.and_then(|companion| Some((companion, companion.store.upgrade()?)));
        let Some((companion, store)) = store else {
            let why = "the chain is of no open store".to_owned();
            return Err(Error::Net(NetError::Store(why)));
        };
        companion.calls(&store, self)
    }

    fn call<R: Request>(&self, request: R) -> Calling<R> {
        match self.calls() {
            Ok(calls) => calls.call(request),
            Err(error) => Calling::new(Home::of(None), Err(error.to_string()), request),
        }
    }

    fn stream<R: StreamingRequest>(&self, request: R) -> StreamCalling<R> {
        match self.calls() {
            Ok(calls) => calls.stream(request),
            Err(error) => StreamCalling::new(Home::of(None), Err(error.to_string()), request),
        }
    }

    fn serve<R, H, F>(
        &self,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        R: Request,
        H: Fn(Call<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R::Answer, R::Error>> + Send + 'static,
    {
        match self.calls() {
            Ok(calls) => calls.serve(handler),
            Err(error) => unserved(&error),
        }
    }

    fn serve_streaming<R, H, F>(
        &self,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        R: StreamingRequest,
        H: Fn(Call<R>, Feed<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), R::Error>> + Send + 'static,
    {
        match self.calls() {
            Ok(calls) => calls.serve_streaming(handler),
            Err(error) => unserved(&error),
        }
    }
}

fn unserved(error: &Error) -> Answering<'static, Result<Served, CallError<Infallible>>> {
    let why = error.to_string();
    Answering::new(&Home::of(None), async move {
        Err(CallError::Unreachable { why })
    })
}

/// What is kept beside each chain of a store: the way back to the store, and who calls. It holds neither store nor chain.
pub(crate) struct Companion {
    store: Weak<StoreInner>,
    callers: Mutex<HashMap<KeyId, Way>>,
}

/// Over what is called, and who keeps the sessions.
type Way = (Arc<dyn CallPath>, Caller);

impl Companion {
    pub(crate) fn beside(chain: &Chain, store: &Weak<StoreInner>) {
        if chain.companion().is_none() {
            // Whoever came first did the same.
            let _ = chain.accompany(Arc::new(Self {
                store: store.clone(),
                callers: Mutex::default(),
            }));
        }
    }

    fn calls(&self, store: &StoreInner, chain: &Chain) -> Result<Calls, Error> {
        let (home, path) = store.call_path(chain)?;
        let mut callers = self.callers.lock();
        let caller = callers.entry(chain.identity().id());
        let (path, caller) = caller
            .or_insert_with(|| {
                let caller = Calls::caller(&home, &path, chain);
                (path, caller)
            })
            .clone();
        drop(callers);
        Ok(Calls::with(home, path, caller, chain))
    }
}
