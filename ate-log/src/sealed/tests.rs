//! Properties of the sealed tier's files.

mod damage;
mod manifests;
mod places;
mod removals;
mod segments;
mod support;
