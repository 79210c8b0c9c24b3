//! Bytes and texts that nobody honest wrote: every reader answers with an error, none panics.

use ate_crypto::{
    Hash, Identity, KeyId, NoteVerifier, Random, Seed, SeededRandom, Signature, StoreKey, Who,
    keystore, merkle, sealed_file,
};

/// Feeds one reader with random bytes, and with a valid input that was cut, stretched and changed.
fn check(name: &str, valid: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(valid), "{name} reads what is valid");
    let random = SeededRandom::new(name.len() as u64);
    let number = |below: usize| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % below.max(1) as u64) as usize
    };
    for _ in 0..300 {
        let mut noise = vec![0; number(200)];
        random.fill(&mut noise);
        assert!(!accepts(&noise), "{name} accepts noise");
        let mut changed = valid.to_vec();
        match number(4) {
            0 => changed.truncate(number(valid.len())),
            1 => changed.extend_from_slice(&noise[..noise.len().min(1 + number(32))]),
            2 => drop(changed.drain(..=number(valid.len() - 1))),
            _ => {
                let at = number(changed.len());
                changed[at..].fill(noise.len() as u8);
            }
        }
        // Some changes change nothing; what counts is that there is an answer.
        let _ = accepts(&changed);
    }
}

/// The same for a reader of text: what is not UTF-8 never reaches it.
fn check_text(name: &str, valid: &str, accepts: impl Fn(&str) -> bool) {
    check(name, valid.as_bytes(), |bytes| {
        std::str::from_utf8(bytes).is_ok_and(&accepts)
    });
}

#[test]
fn no_reader_panics() {
    let random = SeededRandom::new(1);
    let seed = Seed::generate(&random);
    let identity = Identity::from_seed(&seed);
    let who = identity.who();
    check("public identity", &who.to_bytes(), |bytes| {
        Who::from_bytes(bytes).is_ok()
    });
    check("signature", &[7; 3373], |bytes| {
        Signature::from_slice(bytes).is_ok()
    });
    check("note keys", &identity.note_keys().public_bytes(), |bytes| {
        NoteVerifier::from_bytes(bytes).is_ok()
    });
    let plain = keystore::lock(&seed, None, keystore::KdfParams::DEFAULT, &random);
    check("plain identity file", &plain, |bytes| {
        keystore::unlock(bytes, None).is_ok()
    });
    let store = StoreKey::generate(&random);
    let file = sealed_file::seal(&store, b"context", &random, &[3; 1000]);
    check("sealed file", &file, |bytes| {
        sealed_file::open(&store, b"context", bytes).is_ok()
    });
    check("sealed file in place", &file, |bytes| {
        sealed_file::open_in_place(&store, b"context", &mut bytes.to_vec()).is_ok()
    });

    check_text("hash", &Hash([1; 32]).to_string(), |text| {
        text.parse::<Hash>().is_ok()
    });
    check_text("key id", &who.id().to_string(), |text| {
        text.parse::<KeyId>().is_ok()
    });
    check_text("identity text", &who.to_string(), |text| {
        text.parse::<Who>().is_ok()
    });
    check_text("words", &seed.to_words(), |text| {
        Seed::from_words(text).is_ok()
    });
    let note_keys = identity.note_keys();
    let verifier = note_keys.verifier();
    let note = note_keys.sign_note("ate/x", "ate/x\n1\nAAAA\n");
    check_text("note", &note, |text| {
        verifier.verify_note(text, "ate/x").is_ok()
    });
}

/// Any numbers and any proof: an answer, at once.
#[test]
fn no_proof_panics() {
    let random = SeededRandom::new(2);
    let mut bytes = [0; 17];
    for _ in 0..3000 {
        random.fill(&mut bytes);
        let number = |at: usize| {
            let wide = u64::from_le_bytes([
                bytes[at],
                bytes[at + 1],
                bytes[at + 2],
                bytes[at + 3],
                0,
                0,
                0,
                bytes[at + 4],
            ]);
            wide >> (bytes[at + 5] % 64)
        };
        let (one, two) = (number(0), number(8));
        let proof = vec![Hash([bytes[16]; 32]); usize::from(bytes[16] % 70)];
        let (leaf, root) = (Hash([1; 32]), Hash([2; 32]));
        assert!(merkle::verify_inclusion(&leaf, one, two, &proof, &root).is_err());
        assert!(one == two || merkle::verify_consistency(one, two, &leaf, &root, &proof).is_err());
        let _ = merkle::root_of_path(&leaf, one, &proof);
        assert_eq!(merkle::path_sides(one, two).is_some(), one < two);
    }
}
