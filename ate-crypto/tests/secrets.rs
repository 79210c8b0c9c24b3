//! What must not be possible with a secret, and what must be possible with everything: checked by the compiler.

use std::fmt::{Debug, Display};

use ate_crypto::{
    Hash, Identity, KeyId, NameKey, NoteKeys, NoteVerifier, ReadKey, SealKey, Seed, Signature,
    StoreKey, Who,
};

/// Fails to compile if the type implements the trait: the call would then have two candidates.
macro_rules! assert_not_implemented {
    ($trait:path: $($type:ty),+) => {
        $(const _: fn() = || {
            trait Candidate<Marker> {
                fn call() {}
            }
            struct Implemented;
            impl<T: ?Sized> Candidate<()> for T {}
            impl<T: ?Sized + $trait> Candidate<Implemented> for T {}
            let _ = <$type as Candidate<_>>::call;
        };)+
    };
}

assert_not_implemented!(Debug: Seed, ReadKey, NameKey, StoreKey, SealKey, NoteKeys, Identity);
assert_not_implemented!(Display: Seed, ReadKey, NameKey, StoreKey, SealKey, NoteKeys, Identity);
assert_not_implemented!(Clone: Seed, ReadKey, NameKey, StoreKey, SealKey, NoteKeys);

fn crosses_threads<T: Send + Sync + 'static>() -> &'static str {
    std::any::type_name::<T>()
}

#[test]
fn keys_and_values_cross_threads() {
    let names = [
        crosses_threads::<Identity>(),
        crosses_threads::<Who>(),
        crosses_threads::<ReadKey>(),
        crosses_threads::<NameKey>(),
        crosses_threads::<StoreKey>(),
        crosses_threads::<SealKey>(),
        crosses_threads::<NoteKeys>(),
        crosses_threads::<NoteVerifier>(),
        crosses_threads::<Signature>(),
        crosses_threads::<Hash>(),
        crosses_threads::<KeyId>(),
    ];
    assert!(names.iter().all(|name| name.starts_with("ate_crypto::")));
}
