//! Writing the implementations.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, GenericParam};

use crate::model::{Body, FieldModel, Model, PayloadModel, VariantModel};

/// `impl Record` and `impl Shape`.
pub(crate) fn record(input: &DeriveInput) -> syn::Result<TokenStream> {
    if let Some(parameter) = input.generics.params.first() {
        let text = "a record type has one stored name and cannot be generic; derive `Shape` for it and use it inside a record";
        return Err(syn::Error::new_spanned(parameter, text));
    }
    let model = Model::new(input)?;
    let Model {
        private,
        name,
        is_json,
        body,
        ..
    } = &model;
    let ident = &input.ident;
    let codec = if *is_json {
        quote!(Json)
    } else {
        quote!(Fields)
    };
    let (fields, encode, decode) = match body {
        _ if *is_json => (
            quote!(#private::Vec::new()),
            quote!(writer.document(self)),
            quote!(reader.document()),
        ),
        Body::Struct(fields)
            if model.opaque.is_none()
                && !matches!(&input.data, syn::Data::Struct(data) if matches!(data.fields, syn::Fields::Unit)) =>
        {
            struct_record(fields, private)
        }
        _ => {
            let field = quote!(#private::Field::of::<Self>(types, "value"));
            let list = vec_of(private, &[field]);
            (
                list,
                quote!(writer.field("value", self)),
                quote!(reader.field()),
            )
        }
    };
    let shape = shape_impl(input, &model)?;
    Ok(quote! {
        #shape

        #[automatically_derived]
        impl #private::Record for #ident {
            const NAME: &'static str = #name;
            const CODEC: #private::Codec = #private::Codec::#codec;

            fn known() -> &'static #private::Known {
                static KNOWN: #private::Known = #private::Known::new();
                &KNOWN
            }

            #[allow(unused_variables, clippy::all, reason = "derived code")]
            fn fields(types: &mut #private::Types) -> #private::Vec<#private::Field> {
                #fields
            }

            #[allow(unused_variables, clippy::all, reason = "derived code")]
            fn encode_fields(&self, writer: &mut #private::FieldWriter) -> #private::Result<(), #private::EncodeError> {
                #encode
            }

            #[allow(unused_variables, clippy::all, reason = "derived code")]
            fn decode_fields(reader: &mut #private::FieldReader<'_>) -> #private::Result<Self, #private::DecodeError> {
                #decode
            }
        }
    })
}

/// `impl Shape`.
pub(crate) fn shape(input: &DeriveInput) -> syn::Result<TokenStream> {
    let model = Model::new(input)?;
    shape_impl(input, &model)
}

fn vec_of(private: &TokenStream, items: &[TokenStream]) -> TokenStream {
    if items.is_empty() {
        quote!(#private::Vec::new())
    } else {
        quote!(#private::Vec::from([#(#items),*]))
    }
}

fn struct_record(
    fields: &[FieldModel],
    private: &TokenStream,
) -> (TokenStream, TokenStream, TokenStream) {
    let mut encode = Vec::new();
    let mut decode = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let FieldModel {
            member, name, ty, ..
        } = field;
        if field.is_skipped {
            let default = field
                .default
                .clone()
                .unwrap_or_else(|| quote!(::core::default::Default::default()));
            decode.push(quote!(#member: #default));
            continue;
        }
        let write = match write_wrapper(field, index, private) {
            Some((item, wrapper)) => {
                quote!({ #item writer.field(#name, &#wrapper(&self.#member))?; })
            }
            None => quote!(writer.field(#name, &self.#member)?;),
        };
        encode.push(write);
        decode.push(match &field.deserialize_with {
            Some(path) => quote!(#member: {
                struct ReadField(#ty);
                impl<'de> #private::serde::Deserialize<'de> for ReadField {
                    fn deserialize<D: #private::serde::Deserializer<'de>>(deserializer: D) -> #private::Result<Self, D::Error> {
                        #path(deserializer).map(Self)
                    }
                }
                reader.field::<ReadField>()?.0
            }),
            None => quote!(#member: reader.field()?),
        });
    }
    let list = field_list(fields, private);
    (
        list,
        quote!(#(#encode)* #private::Result::Ok(())),
        quote!(#private::Result::Ok(Self { #(#decode),* })),
    )
}

/// A type that serialises a field by its function, for fields that have one.
fn write_wrapper(
    field: &FieldModel,
    index: usize,
    private: &TokenStream,
) -> Option<(TokenStream, syn::Ident)> {
    let path = field.serialize_with.as_ref()?;
    let ty = &field.ty;
    let name = format_ident!("WriteField{index}");
    let item = quote! {
        struct #name<'a>(&'a #ty);
        impl #private::serde::Serialize for #name<'_> {
            fn serialize<S: #private::serde::Serializer>(&self, serializer: S) -> #private::Result<S::Ok, S::Error> {
                #path(self.0, serializer)
            }
        }
    };
    Some((item, name))
}

fn field_list(fields: &[FieldModel], private: &TokenStream) -> TokenStream {
    let items: Vec<TokenStream> = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| !field.is_skipped)
        .map(|(index, field)| field_item(field, index, private))
        .collect();
    vec_of(private, &items)
}

fn field_item(field: &FieldModel, index: usize, private: &TokenStream) -> TokenStream {
    let FieldModel { ty, name, was, .. } = field;
    let mut item = match &field.opaque {
        Some(opaque) => quote!(#private::Field::opaque(#name, #opaque)),
        None => quote!(#private::Field::of::<#ty>(types, #name)),
    };
    if !was.is_empty() {
        item = quote!(#item.renamed_from(&[#(#was),*]));
    }
    if let Some(default) = &field.default {
        let bytes = match write_wrapper(field, index, private) {
            Some((wrapper_item, wrapper)) => {
                quote!(#wrapper_item #private::default_bytes(&#wrapper(&value)))
            }
            None => quote!(#private::default_bytes::<#ty>(&value)),
        };
        item = quote!(#item.or_default(|| { let value: #ty = #default; #bytes }));
    }
    item
}

fn type_list(fields: &[FieldModel], private: &TokenStream) -> TokenStream {
    let items: Vec<TokenStream> = fields
        .iter()
        .filter(|field| !field.is_skipped)
        .map(|field| match &field.opaque {
            Some(opaque) => quote!(#private::Type::Opaque(#opaque.into())),
            None => {
                let ty = &field.ty;
                quote!(<#ty as #private::Shape>::shape(types))
            }
        })
        .collect();
    vec_of(private, &items)
}

fn variant_item(variant: &VariantModel, private: &TokenStream) -> TokenStream {
    let VariantModel { name, was, payload } = variant;
    let payload = match payload {
        PayloadModel::Unit => quote!(#private::Payload::Unit),
        PayloadModel::Tuple(fields) => {
            let list = type_list(fields, private);
            quote!(#private::Payload::Tuple(#list))
        }
        PayloadModel::Struct(fields) => {
            let list = field_list(fields, private);
            quote!(#private::Payload::Struct(#list))
        }
    };
    quote!(#private::Variant::of(#name, &[#(#was),*], #payload))
}

fn shape_impl(input: &DeriveInput, model: &Model) -> syn::Result<TokenStream> {
    let Model { private, body, .. } = model;
    let ident = &input.ident;
    let own_name = ident.to_string();
    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        match parameter {
            GenericParam::Type(parameter) => {
                parameter.bounds.push(syn::parse_quote!(#private::Shape))
            }
            GenericParam::Const(_) => {}
            GenericParam::Lifetime(parameter) => {
                let text = "stored types own what they hold: a lifetime cannot be read back";
                return Err(syn::Error::new_spanned(&*parameter, text));
            }
        }
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let opaque = match &model.opaque {
        Some(opaque) => Some(opaque.clone()),
        // Inside another record a JSON record is whatever its serde implementation writes.
        None => model
            .is_json
            .then(|| format!("json-record-{}", model.name))
            .map(|name| name.chars().take(60).collect()),
    };
    let body = match (&opaque, body) {
        (Some(opaque), _) => quote!(#private::Type::Opaque(#opaque.into())),
        (None, body) => {
            let definition = match body {
                Body::Struct(fields) => {
                    let list = field_list(fields, private);
                    quote!(#private::Definition::of_fields(#own_name, #list))
                }
                Body::Tuple(fields) => {
                    let list = type_list(fields, private);
                    quote!(#private::Definition::of_tuple(#own_name, #list))
                }
                Body::Enum(variants) => {
                    let items: Vec<TokenStream> = variants
                        .iter()
                        .map(|variant| variant_item(variant, private))
                        .collect();
                    let list = vec_of(private, &items);
                    quote!(#private::Definition::of_variants(#own_name, #list))
                }
            };
            quote!(types.named::<Self>(|types| #definition))
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #private::Shape for #ident #type_generics #where_clause {
            #[allow(unused_variables, clippy::all, reason = "derived code")]
            fn shape(types: &mut #private::Types) -> #private::Type {
                #body
            }
        }
    })
}
