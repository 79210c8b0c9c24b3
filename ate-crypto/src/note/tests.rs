//! Notes: both lines are needed, strangers' lines do no harm, and every change is refused.

use super::*;
use crate::error::BadSignature;

const ORIGIN: &str = "ate/0123456789abcdef";
const BODY: &str = "ate/0123456789abcdef\n42\nq83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n";

fn keys(number: u8) -> NoteKeys {
    NoteKeys::from_seeds(&[number; 32], &[number ^ 0xff; 32])
}

fn lines(note: &str) -> Vec<&str> {
    note[BODY.len() + 1..].split_inclusive('\n').collect()
}

#[test]
fn a_note_is_read_back_by_its_keys() {
    let keys = keys(1);
    let verifier = keys.verifier();
    assert_eq!(
        NoteVerifier::from_bytes(&keys.public_bytes()),
        Ok(verifier.clone())
    );
    assert_eq!(verifier.to_bytes(), keys.public_bytes());
    let note = keys.sign_note(ORIGIN, BODY);
    assert!(note.starts_with(BODY) && note.ends_with('\n'));
    assert_eq!(lines(&note).len(), 2);
    assert_eq!(verifier.verify_note(&note, ORIGIN), Ok(BODY));
    assert_eq!(
        self::keys(2).verifier().verify_note(&note, ORIGIN),
        Err(NoteError::Missing {
            algorithm: "ed25519"
        })
    );
}

/// The one reader that everybody has: the line of Ed25519, by the rules of C2SP alone.
#[test]
fn the_ed25519_line_is_that_of_c2sp() {
    let keys = keys(1);
    let note = keys.sign_note(ORIGIN, BODY);
    let public = keys.ed25519.public_key().as_ref();
    let line = lines(&note)[0].trim_end();
    let blob = line
        .strip_prefix("— ate/0123456789abcdef ")
        .expect("dash, name and blob");
    let blob = STANDARD.decode(blob).expect("base64");
    assert_eq!(blob.len(), 4 + 64);
    let id = sha256(&[ORIGIN.as_bytes(), &[0x0a, 0x01], public]);
    assert_eq!(blob[..4], id.0[..4]);
    assert!(verify_ed25519(public.try_into().expect("32"), BODY.as_bytes(), &blob[4..]).is_ok());
    let pq = STANDARD
        .decode(lines(&note)[1].trim_end().rsplit(' ').next().expect("blob"))
        .expect("base64");
    let id = sha256(&[
        ORIGIN.as_bytes(),
        &[0x0a, 0xff],
        b"ate/ml-dsa-65",
        keys.ml_dsa.public_key().as_ref(),
    ]);
    assert_eq!(pq[..4], id.0[..4]);
}

#[test]
fn both_lines_are_required() {
    let keys = keys(1);
    let note = keys.sign_note(ORIGIN, BODY);
    let lines = lines(&note);
    let only = |line: &str| {
        keys.verifier()
            .verify_note(&format!("{BODY}\n{line}"), ORIGIN)
            .map(str::len)
    };
    assert_eq!(
        only(lines[0]),
        Err(NoteError::Missing {
            algorithm: "ml-dsa-65"
        })
    );
    assert_eq!(
        only(lines[1]),
        Err(NoteError::Missing {
            algorithm: "ed25519"
        })
    );
    assert_eq!(
        only(&format!("{}{}", lines[1], lines[0])),
        Ok(BODY.len()),
        "the order does not matter"
    );
    assert_eq!(
        only(&format!("{}{}{}", lines[0], lines[0], lines[1])),
        Ok(BODY.len())
    );
    assert!(matches!(only(""), Err(NoteError::Malformed { .. })));
}

#[test]
fn lines_of_strangers_are_skipped_but_a_false_line_of_a_known_key_is_not() {
    let (keys, witness) = (keys(1), keys(9));
    let note = keys.sign_note(ORIGIN, BODY);
    let foreign = witness.sign_note(ORIGIN, BODY);
    let same_name = format!("{note}{}", lines(&foreign).concat());
    assert_eq!(keys.verifier().verify_note(&same_name, ORIGIN), Ok(BODY));
    let other_name = same_name.replace("— ate/0123456789abcdef ", "— witness.example/w ");
    assert_eq!(
        keys.verifier().verify_note(&other_name, ORIGIN),
        Err(NoteError::Missing {
            algorithm: "ed25519"
        })
    );
    let mut blob = STANDARD
        .decode(lines(&note)[0].trim_end().rsplit(' ').next().expect("blob"))
        .expect("base64");
    blob[20] ^= 1;
    let forged = format!("{note}— {ORIGIN} {}\n", STANDARD.encode(&blob));
    assert_eq!(
        keys.verifier().verify_note(&forged, ORIGIN),
        Err(NoteError::Signature(BadSignature))
    );
}

#[test]
fn changed_bodies_and_origins_are_refused() {
    let keys = keys(1);
    let note = keys.sign_note(ORIGIN, BODY);
    let verifier = keys.verifier();
    assert_eq!(
        verifier.verify_note(&note.replace("\n42\n", "\n43\n"), ORIGIN),
        Err(BadSignature.into())
    );
    assert_eq!(
        verifier.verify_note(&note, "ate/other"),
        Err(NoteError::Origin)
    );
    // Signed under the right name, but a body that is about another log.
    let other = note.replacen(ORIGIN, "ate/other", 1);
    assert_eq!(verifier.verify_note(&other, ORIGIN), Err(NoteError::Origin));
    // The same keys under another name have other key ids.
    let renamed = keys.sign_note("ate/other", &BODY.replace(ORIGIN, "ate/other"));
    assert_eq!(
        verifier.verify_note(&renamed, "ate/other"),
        Ok(&renamed[..BODY.len() - ORIGIN.len() + 9])
    );
    assert_eq!(
        verifier.verify_note(&renamed.replace("ate/other", ORIGIN), ORIGIN),
        Err(NoteError::Missing {
            algorithm: "ed25519"
        })
    );
}

#[test]
fn malformed_notes_are_refused() {
    let keys = keys(1);
    let note = keys.sign_note(ORIGIN, BODY);
    let verifier = keys.verifier();
    let malformed = |text: &str| {
        matches!(
            verifier.verify_note(text, ORIGIN),
            Err(NoteError::Malformed { .. })
        )
    };
    assert!(malformed(""));
    assert_eq!(verifier.verify_note("\n\n", ORIGIN), Err(NoteError::Origin));
    assert!(malformed(BODY));
    assert!(malformed(&note[..note.len() - 1]), "no newline at the end");
    assert!(malformed(&format!("{note}\n")), "an empty line at the end");
    assert!(malformed(&note.replace("\n42", "\r\n42")));
    assert!(malformed(&note.replace("— ", "- ")));
    assert!(malformed(&format!("{note}— {ORIGIN} AAA\n")), "bad base64");
    assert!(malformed(&format!("{note}— {ORIGIN} AAAA\n")), "no key id");
    assert!(malformed(&format!("{note}— a+b AAAAAAA=\n")), "bad name");
    assert!(malformed(&format!("{note}—  AAAAAAA=\n")), "no name");
    assert!(
        malformed(&format!(
            "{note}{}",
            "— a AAAAAAA=\n".repeat(NOTE_LINES_MAX)
        )),
        "too many lines"
    );
    assert!(
        malformed(&format!(
            "{note}{}",
            "— a AAAAAAA=\n".repeat(NOTE_BYTES_MAX / 14)
        )),
        "too long"
    );
    let many = format!("{note}{}", "— a AAAAAAA=\n".repeat(NOTE_LINES_MAX - 2));
    assert_eq!(
        verifier.verify_note(&many, ORIGIN),
        Ok(BODY),
        "the limit itself is fine"
    );
}

#[test]
fn no_flipped_bit_of_a_note_changes_what_is_believed() {
    let keys = keys(1);
    let note = keys.sign_note(ORIGIN, BODY);
    let verifier = keys.verifier();
    for at in (0..BODY.len() + 200).chain((BODY.len() + 200..note.len()).step_by(61)) {
        for bit in 0..7 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(
                verifier.verify_note(&text, ORIGIN).is_err(),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn a_verifier_needs_both_keys_whole() {
    let bytes = keys(1).public_bytes();
    for length in [0, 31, 32, NOTE_KEY_BYTES - 1] {
        let expected = KeyError::Length {
            expected: NOTE_KEY_BYTES,
            got: length,
        };
        assert_eq!(NoteVerifier::from_bytes(&bytes[..length]), Err(expected));
    }
    assert!(NoteVerifier::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}
