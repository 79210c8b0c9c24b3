//! Reading `#[record(…)]`, `#[shape(…)]` and `#[serde(…)]`.

use proc_macro2::{TokenStream, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::{Attribute, Expr, ExprPath, LitStr, Path, Token, parenthesized, token};

use crate::case::Case;

const LATER: &str = "is not part of this release of ATE: it comes with the database layer";
const NEEDS_JSON: &str = "cannot be stored field by field, since postcard could not read it back; \
     describe the type without it, or store the record as a document: `#[record(codec = \"json\")]`";

/// Attributes of a type.
#[derive(Default)]
pub(crate) struct ContainerAttributes {
    pub(crate) crate_path: Option<Path>,
    pub(crate) name: Option<LitStr>,
    pub(crate) is_json: bool,
    pub(crate) opaque: Option<LitStr>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) default: Option<DefaultOf>,
    /// Serde attributes that only JSON can bear.
    pub(crate) unfit: Vec<syn::Error>,
}

/// Where the default of a field comes from.
#[derive(Clone)]
pub(crate) enum DefaultOf {
    /// `Default::default()` of the type.
    Trait,
    /// An expression.
    Expr(TokenStream),
    /// A function to call.
    Call(Box<ExprPath>),
}

/// Attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) rename: Option<LitStr>,
    pub(crate) was: Vec<LitStr>,
    pub(crate) default: Option<DefaultOf>,
    pub(crate) opaque: Option<LitStr>,
    pub(crate) is_skipped: bool,
    pub(crate) serialize_with: Option<Path>,
    pub(crate) deserialize_with: Option<Path>,
    pub(crate) with_span: Option<proc_macro2::Span>,
    pub(crate) unfit: Vec<syn::Error>,
}

/// Attributes of a variant.
#[derive(Default)]
pub(crate) struct VariantAttributes {
    pub(crate) rename: Option<LitStr>,
    pub(crate) was: Vec<LitStr>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) unfit: Vec<syn::Error>,
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("record") || attribute.path().is_ident("shape")
}

/// Passes over the rest of an attribute that means nothing here.
fn ignore(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(token::Paren) {
        let content;
        parenthesized!(content in meta.input);
        content.parse::<TokenStream>()?;
    }
    Ok(())
}

fn unfit(meta: &ParseNestedMeta<'_>, list: &mut Vec<syn::Error>) -> syn::Result<()> {
    let name = path_text(&meta.path);
    list.push(meta.error(format!("`serde({name})` {NEEDS_JSON}")));
    ignore(meta)
}

/// An expression of any kind. Syn parses the simple ones, which is needed to see past the comma in `f::<A, B>()`; of the others
/// (`[0; 4]`, closures) the tokens up to the next comma are taken, and the compiler judges them.
fn expression(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    if input.fork().parse::<Expr>().is_ok() {
        return input.parse::<Expr>().map(|expr| quote::quote!(#expr));
    }
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    if tokens.is_empty() {
        Err(input.error("expected an expression"))
    } else {
        Ok(tokens)
    }
}

fn path_text(path: &Path) -> String {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect::<Vec<_>>()
        .join("::")
}

/// `= "x"`, or `(serialize = "x", deserialize = "x")` with equal values.
fn rename(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse();
    }
    let mut names: Vec<LitStr> = Vec::new();
    meta.parse_nested_meta(|side| {
        names.push(side.value()?.parse()?);
        Ok(())
    })?;
    match names.as_slice() {
        [one, two] if one.value() == two.value() => Ok(one.clone()),
        _ => Err(meta.error("the stored name needs one name for writing and reading")),
    }
}

impl ContainerAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut out = Self::default();
        for attribute in attributes {
            if is_ours(attribute) {
                attribute.parse_nested_meta(|meta| out.ours(&meta))?;
            } else if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| out.serde(&meta))?;
            }
        }
        Ok(out)
    }

    fn ours(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match path_text(&meta.path).as_str() {
            "crate" => self.crate_path = Some(meta.value()?.parse::<LitStr>()?.parse()?),
            "name" => self.name = Some(meta.value()?.parse()?),
            "opaque" => self.opaque = Some(meta.value()?.parse()?),
            "codec" => {
                let codec: LitStr = meta.value()?.parse()?;
                self.is_json = match codec.value().as_str() {
                    "json" => true,
                    "fields" => false,
                    _ => {
                        return Err(syn::Error::new(
                            codec.span(),
                            "the codecs are \"fields\" (default) and \"json\"",
                        ));
                    }
                };
            }
            name @ ("version" | "from" | "index" | "unique" | "child") => {
                return Err(meta.error(format!("`{name}` {LATER}")));
            }
            _ => return Err(meta.error("expected `name`, `codec`, `opaque` or `crate`")),
        }
        Ok(())
    }

    fn serde(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match path_text(&meta.path).as_str() {
            "rename_all" => self.rename_all = Some(Case::parse(&rename(meta)?)?),
            "rename_all_fields" => self.rename_all_fields = Some(Case::parse(&rename(meta)?)?),
            "default" => self.default = Some(serde_default(meta)?),
            "tag" | "content" | "untagged" | "from" | "try_from" | "into" | "remote" => {
                unfit(meta, &mut self.unfit)?
            }
            _ => ignore(meta)?,
        }
        Ok(())
    }
}

fn serde_default(meta: &ParseNestedMeta<'_>) -> syn::Result<DefaultOf> {
    if !meta.input.peek(Token![=]) {
        return Ok(DefaultOf::Trait);
    }
    Ok(DefaultOf::Call(meta.value()?.parse::<LitStr>()?.parse()?))
}

impl FieldAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut out = Self::default();
        for attribute in attributes {
            if is_ours(attribute) {
                attribute.parse_nested_meta(|meta| out.ours(&meta))?;
            } else if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| out.serde(&meta))?;
            }
        }
        Ok(out)
    }

    fn ours(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match path_text(&meta.path).as_str() {
            "was" => self.was.push(meta.value()?.parse()?),
            "opaque" => self.opaque = Some(meta.value()?.parse()?),
            "default" if meta.input.peek(Token![=]) => {
                self.default = Some(DefaultOf::Expr(expression(meta.value()?)?))
            }
            "default" => self.default = Some(DefaultOf::Trait),
            name @ ("index" | "unique" | "child" | "version" | "from") => {
                return Err(meta.error(format!("`{name}` {LATER}")));
            }
            _ => return Err(meta.error("expected `was`, `default` or `opaque`")),
        }
        Ok(())
    }

    fn serde(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match path_text(&meta.path).as_str() {
            "rename" => self.rename = Some(rename(meta)?),
            "alias" => self.was.push(meta.value()?.parse()?),
            "skip" => self.is_skipped = true,
            "default" => self.default = self.default.take().or(Some(serde_default(meta)?)),
            "with" => {
                let module: Path = meta.value()?.parse::<LitStr>()?.parse()?;
                self.with_span = Some(span(&meta.path));
                self.serialize_with = Some(syn::parse_quote!(#module::serialize));
                self.deserialize_with = Some(syn::parse_quote!(#module::deserialize));
            }
            "serialize_with" => {
                self.with_span = Some(span(&meta.path));
                self.serialize_with = Some(meta.value()?.parse::<LitStr>()?.parse()?);
            }
            "deserialize_with" => {
                self.with_span = Some(span(&meta.path));
                self.deserialize_with = Some(meta.value()?.parse::<LitStr>()?.parse()?);
            }
            "flatten" | "skip_serializing_if" | "skip_serializing" | "skip_deserializing" => {
                unfit(meta, &mut self.unfit)?
            }
            _ => ignore(meta)?,
        }
        Ok(())
    }
}

fn span(path: &Path) -> proc_macro2::Span {
    path.segments
        .first()
        .map_or_else(proc_macro2::Span::call_site, |segment| segment.ident.span())
}

impl VariantAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut out = Self::default();
        for attribute in attributes {
            if is_ours(attribute) {
                attribute.parse_nested_meta(|meta| {
                    if meta.path.is_ident("was") {
                        out.was.push(meta.value()?.parse()?);
                        Ok(())
                    } else {
                        Err(meta.error("expected `was`"))
                    }
                })?;
            } else if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| out.serde(&meta))?;
            }
        }
        Ok(out)
    }

    fn serde(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match path_text(&meta.path).as_str() {
            "rename" => self.rename = Some(rename(meta)?),
            "rename_all" => self.rename_all = Some(Case::parse(&rename(meta)?)?),
            "alias" => self.was.push(meta.value()?.parse()?),
            "untagged" | "other" | "skip" | "skip_serializing" | "skip_deserializing" | "with"
            | "serialize_with" | "deserialize_with" => unfit(meta, &mut self.unfit)?,
            _ => ignore(meta)?,
        }
        Ok(())
    }
}
