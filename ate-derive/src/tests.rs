//! What the macros refuse, and in which words.

use quote::quote;
use syn::DeriveInput;

fn refused(tokens: proc_macro2::TokenStream) -> Vec<String> {
    let input: DeriveInput = syn::parse2(tokens).expect("a type");
    let error = crate::expand::record(&input).expect_err("must be refused");
    error.into_iter().map(|error| error.to_string()).collect()
}

fn check(tokens: proc_macro2::TokenStream, part: &str) {
    let errors = refused(tokens);
    assert!(
        errors.len() == 1 && errors[0].contains(part),
        "{errors:?} should be one about {part:?}"
    );
}

fn accept(tokens: proc_macro2::TokenStream) -> String {
    let input: DeriveInput = syn::parse2(tokens).expect("a type");
    crate::expand::record(&input)
        .expect("is accepted")
        .to_string()
}

#[test]
fn what_comes_later_says_so() {
    check(
        quote!(
            struct A {
                #[record(index)]
                a: u8,
            }
        ),
        "`index` is not part of this release",
    );
    check(
        quote!(
            struct A {
                #[record(index(unique))]
                a: u8,
            }
        ),
        "`index` is not part of this release",
    );
    check(
        quote!(
            struct A {
                #[record(child)]
                a: u8,
            }
        ),
        "`child` is not part of this release",
    );
    check(
        quote!(
            #[record(version = 2)]
            struct A {
                a: u8,
            }
        ),
        "`version` is not part of this release",
    );
    check(
        quote!(
            #[record(from(Old = convert))]
            struct A {
                a: u8,
            }
        ),
        "`from` is not part of this release",
    );
}

#[test]
fn serde_attributes_that_postcard_cannot_bear() {
    check(
        quote!(
            struct A {
                #[serde(flatten)]
                a: B,
            }
        ),
        "`serde(flatten)` cannot be stored field by field",
    );
    check(
        quote!(
            struct A {
                #[serde(skip_serializing_if = "f")]
                a: B,
            }
        ),
        "`serde(skip_serializing_if)`",
    );
    check(
        quote!(
            struct A {
                #[serde(skip_serializing)]
                a: B,
            }
        ),
        "`serde(skip_serializing)`",
    );
    check(
        quote!(
            struct A {
                #[serde(skip_deserializing)]
                a: B,
            }
        ),
        "`serde(skip_deserializing)`",
    );
    check(
        quote!(
            #[serde(tag = "t")]
            enum A {
                B,
            }
        ),
        "`serde(tag)`",
    );
    check(
        quote!(
            #[serde(untagged)]
            enum A {
                B,
            }
        ),
        "`serde(untagged)`",
    );
    check(
        quote!(
            #[serde(from = "B")]
            struct A {
                a: u8,
            }
        ),
        "`serde(from)`",
    );
    check(
        quote!(
            #[serde(into = "B")]
            struct A {
                a: u8,
            }
        ),
        "`serde(into)`",
    );
    check(
        quote!(
            #[serde(try_from = "B")]
            struct A {
                a: u8,
            }
        ),
        "`serde(try_from)`",
    );
    check(
        quote!(
            enum A {
                #[serde(other)]
                B,
            }
        ),
        "`serde(other)`",
    );
    check(
        quote!(
            enum A {
                #[serde(skip)]
                B,
                C,
            }
        ),
        "`serde(skip)`",
    );
    check(
        quote!(
            struct A {
                #[serde(with = "m")]
                a: B,
            }
        ),
        "name it with `opaque",
    );
    // All at once, not one after the other.
    assert_eq!(
        refused(quote!(
            struct A {
                #[serde(flatten)]
                a: B,
                #[serde(skip_serializing)]
                b: B,
            }
        ))
        .len(),
        2
    );
}

#[test]
fn json_bears_them_all() {
    accept(quote!(
        #[record(codec = "json")]
        #[serde(untagged)]
        enum A {
            B,
            #[serde(other)]
            C,
        }
    ));
    accept(quote!(
        #[record(codec = "json")]
        struct A {
            #[serde(flatten)]
            a: B,
            #[serde(skip_serializing_if = "f")]
            b: B,
        }
    ));
}

#[test]
fn names() {
    check(
        quote!(
            #[record(name = "")]
            struct A;
        ),
        "1 to 255 bytes",
    );
    check(
        quote!(
            #[record(name = "a\nb")]
            struct A;
        ),
        "no control characters",
    );
    check(
        quote!(
            struct A {
                #[serde(rename = "b")]
                a: u8,
                b: u8,
            }
        ),
        "the stored name `b` is taken",
    );
    check(
        quote!(
            #[serde(rename_all = "lowercase")]
            enum A {
                B,
                b,
            }
        ),
        "the stored name `b` is taken",
    );
    check(
        quote!(
            struct A {
                #[record(was = "")]
                a: u8,
            }
        ),
        "1 to 255 bytes",
    );
    check(
        quote!(
            struct A {
                #[record(opaque = "")]
                a: u8,
            }
        ),
        "1 to 255 bytes",
    );
    check(
        quote!(
            struct A {
                #[serde(rename(serialize = "x", deserialize = "y"))]
                a: u8,
            }
        ),
        "one name for writing and reading",
    );
    check(
        quote!(
            #[serde(rename_all = "Weird")]
            struct A {
                a: u8,
            }
        ),
        "unknown case",
    );
    check(
        quote!(
            struct A(#[record(was = "b")] u8);
        ),
        "no former name",
    );
}

#[test]
fn shapes_of_types() {
    check(
        quote!(
            struct A<T> {
                a: T,
            }
        ),
        "cannot be generic",
    );
    check(
        quote!(
            struct A<'a> {
                a: &'a str,
            }
        ),
        "cannot be generic",
    );
    check(quote!(union A { a: u8 }), "a union has no stored form");
    let input: DeriveInput = syn::parse_quote!(
        struct A<'a> {
            a: &'a str,
        }
    );
    assert!(
        crate::expand::shape(&input)
            .expect_err("refused")
            .to_string()
            .contains("a lifetime cannot be read back")
    );
    let input: DeriveInput = syn::parse_quote!(
        struct A<T, const N: usize> {
            a: [T; N],
        }
    );
    assert!(
        crate::expand::shape(&input)
            .expect("accepted")
            .to_string()
            .contains("T : :: ate :: __private :: Shape")
    );
}

#[test]
fn unknown_attributes() {
    check(
        quote!(
            #[record(nam = "a")]
            struct A;
        ),
        "expected `name`, `codec`, `opaque` or `crate`",
    );
    check(
        quote!(
            #[record(codec = "xml")]
            struct A;
        ),
        "the codecs are",
    );
    check(
        quote!(
            struct A {
                #[record(defualt)]
                a: u8,
            }
        ),
        "expected `was`, `default` or `opaque`",
    );
    check(
        quote!(
            enum A {
                #[shape(default)]
                B,
            }
        ),
        "expected `was`",
    );
}

#[test]
fn default_expressions() {
    for expr in [
        "vec![1]",
        "Map::<u8, u8>::new()",
        "1 + 2",
        "-1",
        "\"a\".to_owned()",
        "E::A { x: 1 }",
        "(1, 2)",
        "[0; 4]",
        "A",
        "{ 1 }",
        "if X { 1 } else { 2 }",
        "(|x, y| x)(1, 2)",
    ] {
        let tokens: proc_macro2::TokenStream = expr.parse().expect("tokens");
        let output = accept(quote!(
            struct A {
                #[record(default = #tokens, was = "b")]
                a: u8,
            }
        ));
        let dense = |text: &str| text.replace(' ', "");
        let (output, expected) = (dense(&output), dense(&format!("let value: u8 = {expr};")));
        assert!(
            output.contains(&expected) && output.contains("renamed_from(&[\"b\"])"),
            "{expr}: {output}"
        );
    }
    check(
        quote!(
            struct A {
                #[record(default = , was = "b")]
                a: u8,
            }
        ),
        "expected an expression",
    );
}

#[test]
fn default_paths_and_names() {
    let output = accept(quote!(
        struct HTTPServer {
            r#type: u8,
        }
    ));
    assert!(
        output.contains(":: ate :: __private :: Record for HTTPServer")
            && output.contains("\"http_server\"")
            && output.contains("\"type\"")
    );
    let output = accept(quote!(
        #[record(crate = "a::b", name = "n")]
        struct A {
            a: u8,
        }
    ));
    assert!(output.contains("a :: b :: __private :: Record for A") && output.contains("\"n\""));
}
