//! What JSON text is accepted, what it means, and where the others are wrong.

use super::*;

fn check_error(text: &str, position: (u64, u64, u64), fault: &str) {
    let error = Json::new(text).expect_err(text);
    assert_eq!(
        (
            error.line,
            error.column,
            error.offset,
            &*error.fault.to_string()
        ),
        (position.0, position.1, position.2, fault),
        "{text}"
    );
}

#[test]
fn accepts_and_keeps() {
    for text in [
        "null",
        " true ",
        "false",
        "0",
        "-0",
        "1.50e+007",
        "\"\"",
        r#""\u00e9\ud83d\ude00\/""#,
        "[]",
        "[ 1 , [] , {} ]",
        "{}",
        "\t{\"b\":1,\"a\":{\"b\":2}}\r\n",
        "1e999",
        "123456789012345678901234567890",
    ] {
        assert_eq!(Json::new(text).expect(text).as_str(), text);
    }
}

#[test]
fn refuses_and_says_where() {
    check_error("", (1, 1, 0), "the text ends too early");
    check_error(
        "{\"a\": 1,\n \"é\": 2, \"\\u0061\": 3}",
        (2, 10, 19),
        "duplicate member \"a\"",
    );
    check_error(r#""\ud800""#, (1, 2, 1), "a lone surrogate");
    check_error(r#""\udc00\ud800""#, (1, 2, 1), "a lone surrogate");
    check_error(r#""\ud800\u0041""#, (1, 2, 1), "a lone surrogate");
    check_error(r#""\x""#, (1, 3, 2), "unknown escape");
    check_error(r#""\u12g4""#, (1, 6, 5), "unknown escape");
    check_error(
        "\"a\u{1}\"",
        (1, 3, 2),
        "a control character inside a string",
    );
    check_error("\"a", (1, 3, 2), "the text ends too early");
    check_error("1 2", (1, 3, 2), "something stands behind the value");
    check_error("{} {}", (1, 4, 3), "something stands behind the value");
    check_error("01", (1, 2, 1), "a malformed number");
    check_error("-a", (1, 2, 1), "a malformed number");
    check_error("1.", (1, 3, 2), "the text ends too early");
    check_error("1.e1", (1, 3, 2), "a malformed number");
    check_error("+1", (1, 1, 0), "expected a value, found '+'");
    check_error("[1,]", (1, 4, 3), "expected a value, found ']'");
    check_error("{\"a\":1,}", (1, 8, 7), "expected a member name, found '}'");
    check_error("{\"a\" 1}", (1, 6, 5), "expected `:`, found '1'");
    check_error("[1 2]", (1, 4, 3), "expected `,` or `]`, found '2'");
    check_error("nul", (1, 4, 3), "the text ends too early");
    check_error("NaN", (1, 1, 0), "expected a value, found 'N'");
    check_error(
        "\u{feff}1",
        (1, 1, 0),
        "expected a value, found '\\u{feff}'",
    );
    assert_eq!(
        Json::from_bytes(b"[\"\xff\"]")
            .expect_err("not UTF-8")
            .to_string(),
        "line 1, column 3 (byte 2): not UTF-8"
    );
}

#[test]
fn depth_ends_at_the_limit() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    Json::new(nested(128)).expect("128 levels");
    assert_eq!(
        Json::new(nested(129)).expect_err("129 levels").fault,
        JsonFault::Deep
    );
    assert_eq!(
        Json::new("{\"a\":".repeat(1_000_000))
            .expect_err("deep")
            .fault,
        JsonFault::Deep
    );
}

#[test]
fn finds_duplicates_among_many() {
    let members: Vec<String> = (0..1000)
        .map(|index| format!("\"m{index}\":{index}"))
        .collect();
    let document = format!("{{{}}}", members.join(","));
    Json::new(&*document).expect("distinct");
    for repeated in [0, 15, 16, 500, 999] {
        let text = format!(
            "{},\"m{repeated}\":0}}",
            document.strip_suffix('}').expect("an object")
        );
        assert_eq!(
            Json::new(text).expect_err("repeated").fault,
            JsonFault::Duplicate {
                name: format!("m{repeated}").into()
            }
        );
    }
}

#[test]
fn key_text_of_members() {
    let json = Json::new(
        r#" {"s":"a\u0041\n","i":-12,"big":123456789012345678901,"f":1.0,"e":1e3,"b":true,"n":null,"o":{"s":1},"a":[],"":"x"}"#,
    )
    .expect("valid");
    assert_eq!(json.field_text("s").expect("string"), "aA\n");
    assert_eq!(json.field_text("i").expect("integer"), "-12");
    assert_eq!(
        json.field_text("big").expect("integer"),
        "123456789012345678901"
    );
    assert_eq!(json.field_text("").expect("empty name"), "x");
    for (name, found) in [
        ("f", "a number that is no integer"),
        ("e", "a number that is no integer"),
        ("b", "a bool"),
        ("n", "null"),
        ("o", "an object"),
        ("a", "an array"),
    ] {
        assert_eq!(
            json.field_text(name),
            Err(FieldTextError::NotAKey {
                name: name.into(),
                found
            })
        );
    }
    assert_eq!(
        json.field_text("x"),
        Err(FieldTextError::Missing { name: "x".into() })
    );
    assert_eq!(
        Json::new("[1]").expect("valid").field_text("x"),
        Err(FieldTextError::NotAnObject)
    );
}

#[test]
fn finds_what_would_be_lost() {
    let check = |stored, known, members: &[&str], nested: Option<&str>| {
        let lost = lost(stored, known).expect("valid");
        let got: Vec<&str> = lost.members.iter().map(AsRef::as_ref).collect();
        assert_eq!(
            (got.as_slice(), lost.nested.as_deref()),
            (members, nested),
            "{stored}"
        );
    };
    check(r#"{"a":1,"b":2}"#, r#"{"b":3,"a":4,"c":5}"#, &[], None);
    check(
        r#"{"a":1,"\u0062": [1, 2]}"#,
        r#"{"a":4}"#,
        &[r#""\u0062":[1, 2]"#],
        None,
    );
    check(
        r#"{"a":{"x":1,"y":2}}"#,
        r#"{"a":{"x":1}}"#,
        &[],
        Some("a.y"),
    );
    check(
        r#"{"a":[{"x":1},{"x":1,"z":2}]}"#,
        r#"{"a":[{"x":1},{"x":2}]}"#,
        &[],
        Some("a[].z"),
    );
    check(r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, &[], Some("a[]"));
    check(r#"{"a":[1,2]}"#, r#"{"a":"1,2"}"#, &[], Some("a"));
    check(r#"[{"x":1}]"#, r#"[{}]"#, &[], Some("[].x"));
    check("1", "2", &[], None);
}
