//! A sealed file opens whole, with its key and context, or not at all.

use super::*;
use crate::random::SeededRandom;

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; 32])
}

fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn sealed(length: usize) -> Vec<u8> {
    seal(
        &key(1),
        b"context",
        &SeededRandom::new(1),
        &plaintext(length),
    )
}

fn opens(bytes: &[u8]) -> bool {
    let mut buffer = bytes.to_vec();
    let in_place = open_in_place(&key(1), b"context", &mut buffer);
    let opened = open(&key(1), b"context", bytes);
    assert_eq!(in_place.is_ok(), opened.is_ok(), "both ways agree");
    assert_eq!(
        buffer,
        opened.clone().unwrap_or_default(),
        "nothing is left after an error"
    );
    opened.is_ok()
}

#[test]
fn files_round_trip_at_every_border() {
    for length in [
        0,
        1,
        PAGE_BYTES - 1,
        PAGE_BYTES,
        PAGE_BYTES + 1,
        2 * PAGE_BYTES,
        3 * PAGE_BYTES + 5,
    ] {
        let file = sealed(length);
        assert_eq!(file.len(), sealed_bytes(length));
        let mut buffer = plaintext(length);
        seal_in_place(&key(1), b"context", &SeededRandom::new(1), &mut buffer);
        assert_eq!(
            buffer, file,
            "both ways make the same file, length {length}"
        );
        assert_eq!(
            open(&key(1), b"context", &file),
            Ok(plaintext(length)),
            "length {length}"
        );
        assert!(opens(&file));
        assert_eq!(open(&key(2), b"context", &file), Err(OpenError));
        assert_eq!(open(&key(1), b"Context", &file), Err(OpenError));
        assert_eq!(open(&key(1), b"", &file), Err(OpenError));
    }
}

#[test]
fn the_same_bytes_are_sealed_differently_each_time() {
    let random = SeededRandom::new(1);
    let (one, two) = (
        seal(&key(1), b"", &random, b"same"),
        seal(&key(1), b"", &random, b"same"),
    );
    assert_ne!(one[10..42], two[10..42]);
    assert_ne!(one[42..], two[42..]);
}

#[test]
fn every_flipped_bit_of_a_small_file_is_refused() {
    let file = sealed(100);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut file = file.clone();
            file[at] ^= 1 << bit;
            assert!(!opens(&file), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn changed_bytes_in_any_page_are_refused() {
    let mut file = sealed(3 * PAGE_BYTES + 5);
    for at in (0..file.len()).step_by(4099).chain([file.len() - 1]) {
        file[at] ^= 0x80;
        assert!(!opens(&file), "byte {at}");
        file[at] ^= 0x80;
    }
    assert!(opens(&file));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = sealed(2 * PAGE_BYTES + 5);
    let pages = |count: usize| HEADER_BYTES + count * SEALED_PAGE_BYTES;
    for length in [
        0,
        1,
        HEADER_BYTES - 1,
        HEADER_BYTES,
        HEADER_BYTES + 15,
        HEADER_BYTES + 16,
        pages(1),
        pages(1) + 16,
        pages(2),
    ] {
        assert!(!opens(&file[..length]), "length {length}");
    }
    for length in file.len() - 40..file.len() {
        assert!(!opens(&file[..length]), "length {length}");
    }
    assert!(!opens(&[&file[..], &[0]].concat()));
    assert!(!opens(&[&file[..], &[0; 16]].concat()));
    let small = sealed(40);
    for length in 0..small.len() {
        assert!(!opens(&small[..length]), "length {length}");
    }
}

#[test]
fn pages_cannot_be_swapped_repeated_dropped_or_taken_from_another_file() {
    let file = sealed(3 * PAGE_BYTES + 5);
    let page = |file: &[u8], index: usize| {
        let from = HEADER_BYTES + index * SEALED_PAGE_BYTES;
        file[from..(from + SEALED_PAGE_BYTES).min(file.len())].to_vec()
    };
    let header = file[..HEADER_BYTES].to_vec();
    let build = |pages: &[Vec<u8>]| [std::slice::from_ref(&header), pages].concat().concat();
    let pages: Vec<_> = (0..4).map(|index| page(&file, index)).collect();
    assert!(opens(&build(&pages)));
    let order = |order: &[usize]| {
        build(
            &order
                .iter()
                .map(|index| pages[*index].clone())
                .collect::<Vec<_>>(),
        )
    };
    assert!(!opens(&order(&[1, 0, 2, 3])));
    assert!(!opens(&order(&[0, 0, 2, 3])));
    assert!(!opens(&order(&[0, 1, 3])));
    assert!(!opens(&order(&[1, 2, 3])));
    assert!(!opens(&order(&[0, 1, 2, 2, 3])));
    assert!(!opens(&order(&[0, 1, 2])), "the last page carries its flag");
    let other = seal(
        &key(1),
        b"context",
        &SeededRandom::new(2),
        &plaintext(3 * PAGE_BYTES + 5),
    );
    assert!(opens(&other));
    assert!(!opens(&build(&[
        pages[0].clone(),
        page(&other, 1),
        pages[2].clone(),
        pages[3].clone()
    ])));
    let transplanted = [&other[..HEADER_BYTES], &file[HEADER_BYTES..]].concat();
    assert!(!opens(&transplanted));
}

#[test]
fn single_pages_open_alone() -> Result<(), OpenError> {
    let plain = plaintext(2 * PAGE_BYTES + 5);
    let file = sealed(plain.len());
    let reader = Reader::new(&key(1), b"context", &file[..HEADER_BYTES])?;
    let at = |page: usize| HEADER_BYTES + page * SEALED_PAGE_BYTES;
    assert_eq!(
        reader.open_page(1, false, &file[at(1)..at(2)])?,
        plain[PAGE_BYTES..2 * PAGE_BYTES]
    );
    assert_eq!(
        reader.open_page(2, true, &file[at(2)..])?,
        plain[2 * PAGE_BYTES..]
    );
    assert_eq!(reader.open_page(2, false, &file[at(2)..]), Err(OpenError));
    assert_eq!(
        reader.open_page(0, false, &file[at(1)..at(2)]),
        Err(OpenError)
    );
    assert_eq!(reader.open_page(0, false, &[]), Err(OpenError));
    assert_eq!(
        reader.open_page(0, false, &vec![0; SEALED_PAGE_BYTES + 1]),
        Err(OpenError)
    );
    assert!(Reader::new(&key(1), b"context", &file[..HEADER_BYTES - 1]).is_err());
    Ok(())
}

#[test]
fn other_formats_and_suites_are_refused() {
    let file = sealed(10);
    for (at, value) in [(0, b'B'), (8, 0), (8, 2), (9, 0), (9, 2)] {
        let mut file = file.clone();
        file[at] = value;
        assert!(!opens(&file));
        assert!(Reader::new(&key(1), b"context", &file[..HEADER_BYTES]).is_err());
    }
}
