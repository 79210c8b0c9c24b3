//! Properties of the sealed tier's files.

mod crashes;
mod damage;
mod manifests;
mod places;
mod removals;
mod segments;
mod support;
