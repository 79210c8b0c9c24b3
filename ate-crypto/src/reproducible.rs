//! The randomness that otherwise comes from inside the provider, drawn from a seed: for simulations that must repeat to the byte. Compiled only with the
//! private feature `__reproducible`, which no crate but the simulator turns on, and without effect on a thread until [`reproducible`] is called there.

use std::cell::RefCell;

use crate::random::{Random, SeededRandom};

thread_local! {
    static STREAM: RefCell<Option<SeededRandom>> = const { RefCell::new(None) };
}

/// As long as this lives, signatures and wraps made by its thread follow from the seed. **Whoever knows the seed opens every wrap.**
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Reproducible {
    /// It belongs to the thread that it was made on.
    _thread: std::marker::PhantomData<*const ()>,
}

/// Lets this thread draw from `seed` until the answer is dropped.
pub fn reproducible(seed: [u8; 32]) -> Reproducible {
    STREAM.with_borrow_mut(|stream| *stream = Some(SeededRandom::from_bytes(seed)));
    Reproducible {
        _thread: std::marker::PhantomData,
    }
}

impl Drop for Reproducible {
    fn drop(&mut self) {
        STREAM.with_borrow_mut(|stream| *stream = None);
    }
}

/// Whether this thread draws from a seed.
pub(crate) fn is_on() -> bool {
    STREAM.with_borrow(Option::is_some)
}

/// The next 32 bytes of this thread's stream, if it has one.
pub(crate) fn draw() -> Option<[u8; 32]> {
    STREAM.with_borrow(|stream| {
        stream.as_ref().map(|stream| {
            let mut bytes = [0; 32];
            stream.fill(&mut bytes);
            bytes
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, NameKey, Purpose, ReadKey, Seed, WrapInfo, wrap_keys};

    fn signed_and_wrapped() -> (Vec<u8>, Vec<u8>) {
        let identity = Identity::from_seed(&Seed::from_bytes([3; 32]));
        let random = SeededRandom::new(1);
        let (read, name) = (ReadKey::generate(&random), NameKey::generate(&random));
        let id = identity.id();
        let info = WrapInfo {
            chain: &crate::Hash([1; 32]),
            scope: &[2; 16],
            epoch: 1,
            recipient: &id,
        };
        let signature = identity.sign(Purpose::Batch, b"content");
        let verified = identity
            .who()
            .verify(Purpose::Batch, b"content", &signature);
        verified.expect("a signature like any other");
        let wrapped = wrap_keys(identity.who(), &info, &read, &name).expect("the own key");
        let opened = identity.unwrap_keys(&info, &wrapped.ct, &wrapped.sealed);
        let (opened, _) = opened.expect("a wrap like any other");
        assert_eq!(opened.expose(), read.expose());
        (
            signature.as_bytes().to_vec(),
            [&wrapped.ct[..], &wrapped.sealed[..]].concat(),
        )
    }

    #[test]
    fn a_seed_repeats_signatures_and_wraps_to_the_byte_and_ends_with_its_guard() {
        let ours = || {
            let _guard = reproducible([7; 32]);
            signed_and_wrapped()
        };
        assert_eq!(ours(), ours());
        let other = {
            let _guard = reproducible([8; 32]);
            signed_and_wrapped()
        };
        assert_ne!(ours().1, other.1);
        let (signature, wrap) = signed_and_wrapped();
        assert!(
            signature != ours().0 && wrap != ours().1,
            "without a guard it is random"
        );
    }
}
