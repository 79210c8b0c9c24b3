//! The type as the macros understand it: names decided, attributes checked.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, LitStr, Member, Path, Type};

use crate::attributes::{ContainerAttributes, DefaultOf, FieldAttributes, VariantAttributes};
use crate::case::{Case, snake};

/// Bytes of a stored name, at most: `SCHEMA_NAME_BYTES_MAX` of ate-view.
const NAME_BYTES_MAX: usize = 255;

pub(crate) struct Model {
    /// Path of the hidden module that derived code names.
    pub(crate) private: TokenStream,
    /// Name of the record type.
    pub(crate) name: String,
    pub(crate) is_json: bool,
    pub(crate) opaque: Option<String>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Struct(Vec<FieldModel>),
    Tuple(Vec<FieldModel>),
    Enum(Vec<VariantModel>),
}

pub(crate) struct FieldModel {
    pub(crate) member: Member,
    pub(crate) ty: Type,
    pub(crate) name: String,
    pub(crate) was: Vec<String>,
    /// An expression of the field's type.
    pub(crate) default: Option<TokenStream>,
    pub(crate) opaque: Option<String>,
    pub(crate) is_skipped: bool,
    pub(crate) serialize_with: Option<Path>,
    pub(crate) deserialize_with: Option<Path>,
}

pub(crate) struct VariantModel {
    pub(crate) name: String,
    pub(crate) was: Vec<String>,
    pub(crate) payload: PayloadModel,
}

pub(crate) enum PayloadModel {
    Unit,
    Tuple(Vec<FieldModel>),
    Struct(Vec<FieldModel>),
}

/// Collects errors, so that one compilation shows all.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn extend(&mut self, errors: Vec<syn::Error>) {
        errors.into_iter().for_each(|error| self.push(error));
    }
}

impl Model {
    pub(crate) fn new(input: &DeriveInput) -> syn::Result<Self> {
        let attributes = ContainerAttributes::parse(&input.attrs)?;
        let root = attributes
            .crate_path
            .as_ref()
            .map_or_else(|| quote!(::ate), |path| quote!(#path));
        let name = attributes
            .name
            .as_ref()
            .map_or_else(|| snake(&plain(&input.ident)), LitStr::value);
        let mut errors = Errors::default();
        check_name(
            &name,
            attributes
                .name
                .as_ref()
                .map_or_else(|| input.ident.span(), LitStr::span),
            &mut errors,
        );
        if let Some(opaque) = &attributes.opaque {
            check_name(&opaque.value(), opaque.span(), &mut errors);
        }
        let opaque = attributes.opaque.as_ref().map(LitStr::value);
        let is_json = attributes.is_json;
        let mut reader = BodyReader {
            errors,
            container: &attributes,
        };
        let body = if is_json || opaque.is_some() {
            // Neither fields nor shape are looked at: serde alone decides.
            Body::Struct(Vec::new())
        } else {
            reader.body(&input.data)?
        };
        let mut errors = reader.errors;
        if !is_json && opaque.is_none() {
            errors.extend(attributes.unfit);
        }
        match errors.0 {
            Some(error) => Err(error),
            None => Ok(Self {
                private: quote!(#root::__private),
                name,
                is_json,
                opaque,
                body,
            }),
        }
    }
}

fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#")
        .map_or_else(|| text.clone(), str::to_owned)
}

fn check_name(name: &str, span: Span, errors: &mut Errors) {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let text =
            format!("a stored name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
        errors.push(syn::Error::new(span, text));
    }
}

struct BodyReader<'a> {
    errors: Errors,
    container: &'a ContainerAttributes,
}

impl BodyReader<'_> {
    fn body(&mut self, data: &Data) -> syn::Result<Body> {
        Ok(match data {
            Data::Struct(data) => match &data.fields {
                Fields::Unnamed(_) => Body::Tuple(self.fields(&data.fields, None)?),
                fields => Body::Struct(self.fields(fields, self.container.rename_all)?),
            },
            Data::Enum(data) => {
                let mut variants = Vec::new();
                let mut names = HashSet::new();
                for variant in &data.variants {
                    let attributes = VariantAttributes::parse(&variant.attrs)?;
                    let name = match (&attributes.rename, self.container.rename_all) {
                        (Some(name), _) => name.value(),
                        (None, Some(case)) => case.of_variant(&plain(&variant.ident)),
                        (None, None) => plain(&variant.ident),
                    };
                    self.name(&name, variant.ident.span(), &mut names);
                    self.was(&attributes.was);
                    self.errors.extend(attributes.unfit);
                    let case = attributes.rename_all.or(self.container.rename_all_fields);
                    let payload = match &variant.fields {
                        Fields::Unit => PayloadModel::Unit,
                        Fields::Unnamed(_) => {
                            PayloadModel::Tuple(self.fields(&variant.fields, None)?)
                        }
                        Fields::Named(_) => {
                            PayloadModel::Struct(self.fields(&variant.fields, case)?)
                        }
                    };
                    variants.push(VariantModel {
                        name,
                        was: texts(&attributes.was),
                        payload,
                    });
                }
                Body::Enum(variants)
            }
            Data::Union(data) => {
                return Err(syn::Error::new(
                    data.union_token.span(),
                    "a union has no stored form",
                ));
            }
        })
    }

    fn name(&mut self, name: &str, span: Span, names: &mut HashSet<String>) {
        check_name(name, span, &mut self.errors);
        if !names.insert(name.to_owned()) {
            self.errors.push(syn::Error::new(
                span,
                format!("the stored name `{name}` is taken"),
            ));
        }
    }

    fn was(&mut self, names: &[LitStr]) {
        for name in names {
            check_name(&name.value(), name.span(), &mut self.errors);
        }
    }

    fn fields(&mut self, fields: &Fields, case: Option<Case>) -> syn::Result<Vec<FieldModel>> {
        let mut models = Vec::new();
        let mut names = HashSet::new();
        for (index, field) in fields.iter().enumerate() {
            let attributes = FieldAttributes::parse(&field.attrs)?;
            let member = field
                .ident
                .clone()
                .map_or_else(|| Member::from(index), Member::from);
            let own = field
                .ident
                .as_ref()
                .map_or_else(|| index.to_string(), plain);
            let name = match (&attributes.rename, case) {
                (Some(name), _) => name.value(),
                (None, Some(case)) => case.of_field(&own),
                (None, None) => own,
            };
            let span = field
                .ident
                .as_ref()
                .map_or_else(|| field.ty.span(), syn::Ident::span);
            if !attributes.is_skipped {
                self.name(&name, span, &mut names);
            }
            self.was(&attributes.was);
            if let (Some(span), None) = (attributes.with_span, &attributes.opaque) {
                let text = "what such functions write cannot be described: name it with `opaque = \"name-1\"`";
                self.errors.push(syn::Error::new(span, text));
            }
            if let Some(opaque) = &attributes.opaque {
                check_name(&opaque.value(), opaque.span(), &mut self.errors);
            }
            if field.ident.is_none() && !attributes.was.is_empty() {
                self.errors.push(syn::Error::new(
                    span,
                    "a field without a name has no former name",
                ));
            }
            self.errors.extend(attributes.unfit);
            models.push(FieldModel {
                default: self.default(attributes.default.as_ref(), &member),
                member,
                ty: field.ty.clone(),
                name,
                was: texts(&attributes.was),
                opaque: attributes.opaque.as_ref().map(LitStr::value),
                is_skipped: attributes.is_skipped,
                serialize_with: attributes.serialize_with,
                deserialize_with: attributes.deserialize_with,
            });
        }
        Ok(models)
    }

    fn default(&self, own: Option<&DefaultOf>, member: &Member) -> Option<TokenStream> {
        Some(match (own, &self.container.default) {
            (Some(DefaultOf::Trait), _) => quote!(::core::default::Default::default()),
            (Some(DefaultOf::Expr(expr)), _) => quote!(#expr),
            (Some(DefaultOf::Call(path)), _) => quote!(#path()),
            (None, Some(DefaultOf::Trait)) => {
                quote!(<Self as ::core::default::Default>::default().#member)
            }
            (None, Some(DefaultOf::Expr(expr))) => quote!((#expr).#member),
            (None, Some(DefaultOf::Call(path))) => quote!(#path().#member),
            (None, None) => return None,
        })
    }
}

fn texts(literals: &[LitStr]) -> Vec<String> {
    literals.iter().map(LitStr::value).collect()
}
