//! Calls of services that speak JSON, by whatever name: for programs that share no types with the other side, and for shells.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ate_net::Task;
use ate_net::calls::{
    AnswerStream, Answers, CallLimits, CallOptions, Caller, Fault, IncomingCall, Retry, Stopped,
};
use ate_view::{Chain, Json};

use super::answering::Home;
use super::{Answering, CALL_DEADLINE, Call, CallError, Calls, Served, encode, own_fault};

impl Calls {
    /// A call to a service of any name whose request is a [`Json`], whose answer is any number of them, and whose error is text.
    ///
    /// On the wire these are strings. A service in Rust is called like this if its types are made of them:
    ///
    /// ```
    /// # use ate::Json;
    /// # use ate::calls::{Request, StreamingRequest};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct Forecast(Json);              // a newtype adds no bytes
    ///
    /// impl Request for Forecast {         // or `StreamingRequest` with `Item = Json`
    ///     type Answer = Json;
    ///     type Error = String;
    ///     const NAME: &'static str = "forecast";
    /// }
    /// ```
    /// And the other way round: such a request is answered by whoever [serves JSON](Calls::serve_json) under its name.
    pub fn call_json(&self, service: &str, request: &Json) -> JsonCalling {
        JsonCalling {
            home: self.home.clone(),
            caller: self.caller.clone(),
            chain: self.chain.clone(),
            service: service.to_owned(),
            body: encode(request),
            options: CallOptions::within(CALL_DEADLINE),
        }
    }

    /// Answers requests in JSON to the service of this name, until the guard is dropped. `handler` sends any number of answers through its [`JsonFeed`], and returns
    /// one more, or none. An answer that is returned may have 16 MiB.
    ///
    /// # Errors
    /// As [`Calls::serve`].
    pub fn serve_json<H, F>(
        &self,
        service: &str,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        H: Fn(Call<Json>, JsonFeed) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Option<Json>, String>> + Send + 'static,
    {
        let (home, handler) = (self.home.clone(), Arc::new(handler));
        self.serve_bytes(service, move |incoming: IncomingCall, answers: Answers| {
            let (home, handler) = (home.clone(), handler.clone());
            async move {
                let call = Call::<Json>::decode(home, incoming)?;
                match handler(call, JsonFeed(answers)).await {
                    Ok(Some(last)) => encode::<_, Infallible>(&last).map_err(|_| Fault::Broken),
                    Ok(None) => Ok(bytes::Bytes::new()),
                    Err(error) => Err(own_fault(&error)),
                }
            }
        })
    }
}

/// A call in JSON that is about to be made.
#[must_use = "a call is not made until it is awaited or waited for"]
pub struct JsonCalling {
    home: Home,
    caller: Caller,
    /// Held until the call is made.
    chain: Chain,
    service: String,
    body: Result<bytes::Bytes, CallError<String>>,
    options: CallOptions,
}

impl JsonCalling {
    /// By when the *whole* answer must be there, from when the call is made; 30 s if nothing is said, at most one day.
    pub fn deadline(mut self, within: Duration) -> Self {
        self.options.within = within;
        self
    }

    /// Whether it may be made again when the server vanishes before the first answer.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options = self.options.retry(retry);
        self
    }

    /// Makes the call and blocks until the first of the answer, or its end, is there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(self) -> Result<JsonAnswers, CallError<String>> {
        self.into_future().wait()
    }
}

impl IntoFuture for JsonCalling {
    type Output = Result<JsonAnswers, CallError<String>>;
    type IntoFuture = Answering<'static, Self::Output>;

    /// # Cancel safety
    /// Dropping the future takes the call back; the handler may have run.
    fn into_future(self) -> Self::IntoFuture {
        let home = self.home.clone();
        Answering::new(&home, async move {
            let _held = self.chain;
            let started = self.caller.stream(&self.service, self.body?, self.options);
            Ok(JsonAnswers {
                home: self.home,
                stream: started.await.map_err(CallError::of)?,
                read: Reading::default(),
                bytes_max: CallLimits::default().answer_bytes_max,
            })
        })
    }
}

/// The documents of an answer as they arrive: one of a service with one answer, any number of one that streams. Dropping it takes the call back.
pub struct JsonAnswers {
    home: Home,
    stream: AnswerStream,
    read: Reading,
    /// For one document.
    bytes_max: usize,
}

impl JsonAnswers {
    #[cfg(feature = "stream")]
    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    /// The next document, of at most 16 MiB; `None` when the service said that this was all.
    ///
    /// # Errors
    /// [`CallError`]; there is nothing more then.
    ///
    /// # Cancel safety
    /// A document is given out or stays.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is what `next` means, and no iterator can wait"
    )]
    pub fn next(&mut self) -> NextJson<'_> {
        let home = self.home.clone();
        Answering::new(&home, async move {
            loop {
                if let Some(document) = self.read.take_document()? {
                    return Ok(Some(document));
                }
                let Some(piece) = self.stream.next().await.map_err(CallError::of)? else {
                    let is_whole = self.read.left().is_empty();
                    return is_whole.then_some(None).ok_or(CallError::BadAnswer);
                };
                if self.read.left().len() + piece.len() > self.bytes_max {
                    return Err(CallError::TooLarge);
                }
                self.read.append(&piece);
            }
        })
    }
}

/// What [`JsonAnswers::next`] brings.
pub type NextJson<'a> = Answering<'a, Result<Option<Json>, CallError<String>>>;

/// What came of an answer. Where pieces end means nothing: each document begins with its length.
#[derive(Default)]
struct Reading {
    bytes: Vec<u8>,
    taken: usize,
}

impl Reading {
    fn left(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn append(&mut self, piece: &[u8]) {
        // Once for each piece, not for each document: a piece may hold very many.
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// Takes the first document off, if it is there whole.
    fn take_document(&mut self) -> Result<Option<Json>, CallError<String>> {
        match postcard::take_from_bytes::<Json>(self.left()) {
            Ok((document, rest)) => {
                self.taken = self.bytes.len() - rest.len();
                Ok(Some(document))
            }
            Err(postcard::Error::DeserializeUnexpectedEnd) => Ok(None),
            Err(_) => Err(CallError::BadAnswer),
        }
    }
}

/// Sends the documents of an answer.
pub struct JsonFeed(Answers);

impl JsonFeed {
    /// Sends a document, waiting while the caller is behind.
    ///
    /// # Errors
    /// [`Stopped::Ended`] when nobody waits for it, [`Stopped::TooLarge`] for one of more than 1 MiB.
    ///
    /// # Cancel safety
    /// The document is sent or not.
    pub fn send(&mut self, document: &Json) -> Task<'_, Result<(), Stopped>> {
        let encoded = encode::<_, Infallible>(document);
        Box::pin(async move {
            let piece = encoded.map_err(|_| Stopped::TooLarge)?;
            self.0.send(piece).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_taken_wherever_pieces_end_and_what_is_none_is_refused() {
        let documents = ["1", r#"{"a": [1, 2.50]}"#, "\"three\""];
        let mut read = Reading::default();
        let mut taken = Vec::new();
        for document in documents {
            let json = Json::new(document).unwrap();
            for byte in encode::<_, Infallible>(&json).unwrap() {
                read.append(&[byte]);
                taken.extend(read.take_document().unwrap());
            }
        }
        assert_eq!(read.left(), b"");
        let taken: Vec<_> = taken.iter().map(Json::as_str).collect();
        assert_eq!(taken, documents);
        for bad in [&b"\x01{"[..], b"\x01\xff"] {
            let mut read = Reading::default();
            read.append(bad);
            assert_eq!(read.take_document(), Err(CallError::BadAnswer));
        }
    }
}
