//! Running a plan: stored postcard bytes in, postcard bytes of the known type out.

use super::error::{DecodeError, Fault};
use super::plan::{
    Absent, ByName, Integer, NamedStep, PayloadStep, Plan, Source, Step, StructStep, VariantStep,
};
use super::record::Slot;
use super::walk::{Budget, Input, Walker, option, put_varint, unzigzag, variant, zigzag};

/// Bytes that transcoding one body may produce, at most. Defaults of nested fields make it larger than what is stored.
pub(crate) const TRANSCODED_BYTES_MAX: usize = 64 << 20;

/// A body cut and transcoded for one record type.
pub(crate) struct Transcoded<'a> {
    pub(crate) slots: Vec<Slot<'a>>,
    pub(crate) scratch: Vec<u8>,
    /// Bytes of the fields that the type lacks, in stored order.
    pub(crate) unknown: Vec<Box<[u8]>>,
}

/// Cuts `body` into the frames of its fields.
pub(crate) fn frames<'a>(
    record: &str,
    count: usize,
    body: &'a [u8],
) -> Result<Vec<&'a [u8]>, DecodeError> {
    let mut input = Input::new(body);
    let frames: Result<Vec<_>, _> = (0..count).map(|_| input.frame()).collect();
    frames
        .and_then(|frames| input.end().map(|()| frames))
        .map_err(|fault| fault.in_framing(record))
}

/// Copies the fields that the known type lacks.
pub(crate) fn unknown(by_name: &ByName, frames: &[&[u8]]) -> Vec<Box<[u8]>> {
    by_name
        .unknown
        .iter()
        .map(|index| frames[*index].into())
        .collect()
}

pub(crate) fn transcode<'a>(
    plan: &Plan,
    by_name: &ByName,
    body: &'a [u8],
) -> Result<Transcoded<'a>, DecodeError> {
    let record = &*plan.known.name;
    let frames = frames(record, plan.stored.fields.len(), body)?;
    let mut runner = Runner {
        walker: Walker {
            definitions: &plan.stored.definitions,
            budget: Budget::for_bytes(body.len()),
        },
        named: &by_name.named,
        out: Vec::new(),
    };
    let mut slots = Vec::with_capacity(by_name.sources.len());
    for (field, source) in plan.known.fields.iter().zip(&by_name.sources) {
        let start = runner.out.len();
        let done = match source {
            Source::Copy(index) => {
                slots.push(Slot::Stored(frames[*index]));
                continue;
            }
            Source::Step(index, step) => runner.exactly(step, frames[*index]),
            Source::Absent(absent) => runner.absent(*absent),
        };
        done.map_err(|fault| fault.in_field(record, &field.name))?;
        slots.push(Slot::Scratch(start..runner.out.len()));
    }
    Ok(Transcoded {
        slots,
        unknown: unknown(by_name, &frames),
        scratch: runner.out,
    })
}

struct Runner<'p> {
    walker: Walker<'p>,
    named: &'p [NamedStep],
    out: Vec<u8>,
}

impl Runner<'_> {
    fn exactly(&mut self, step: &Step, bytes: &[u8]) -> Result<(), Fault> {
        let mut input = Input::new(bytes);
        self.run(step, &mut input, 0)?;
        input.end()
    }

    fn absent(&mut self, absent: Absent) -> Result<(), Fault> {
        self.walker.budget.step()?;
        match absent {
            Absent::Default(bytes) => self.out.extend(bytes().ok_or(Fault::Default)?),
            Absent::None => self.out.push(0),
            Absent::Empty => {}
        }
        Ok(())
    }

    fn run(&mut self, step: &Step, input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        let depth = self.walker.enter(depth)?;
        if self.out.len() > TRANSCODED_BYTES_MAX {
            return Err(Fault::Large);
        }
        match step {
            Step::Leaf(ty) => {
                let before = input.rest;
                self.walker.skip(ty, input, depth)?;
                self.out
                    .extend_from_slice(&before[..before.len() - input.rest.len()]);
            }
            Step::Widen { from, to } => widen(*from, *to, input, &mut self.out)?,
            Step::F32ToF64 => {
                let bytes = input.take(4)?.try_into().map_err(|_| Fault::End)?;
                self.out
                    .extend_from_slice(&f64::from(f32::from_le_bytes(bytes)).to_le_bytes());
            }
            Step::Some(inner) => {
                self.out.push(1);
                self.run(inner, input, depth)?;
            }
            Step::Option(inner) => {
                let is_some = option(input)?;
                self.out.push(u8::from(is_some));
                if is_some {
                    self.run(inner, input, depth)?;
                }
            }
            Step::Many(inner) => {
                let count = self.count(input)?;
                (0..count).try_for_each(|_| self.run(inner, input, depth))?;
            }
            Step::Array(count, inner) => {
                (0..*count).try_for_each(|_| self.run(inner, input, depth))?
            }
            Step::Pairs(pair) => {
                for _ in 0..self.count(input)? {
                    self.run(&pair.0, input, depth)?;
                    self.run(&pair.1, input, depth)?;
                }
            }
            Step::Each(steps) => self.each(steps, input, depth)?,
            Step::Named(slot) => self.definition(*slot, input, depth)?,
        }
        Ok(())
    }

    fn count(&mut self, input: &mut Input<'_>) -> Result<u64, Fault> {
        let count = input.length()?;
        put_varint(&mut self.out, count.into());
        Ok(count)
    }

    fn each(&mut self, steps: &[Step], input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        steps
            .iter()
            .try_for_each(|step| self.run(step, input, depth))
    }

    fn definition(&mut self, slot: usize, input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        let named = self.named;
        match &named[slot] {
            NamedStep::Struct(step) => self.fields(step, input, depth),
            NamedStep::Tuple(steps) => self.each(steps, input, depth),
            NamedStep::Enum(variants) => {
                match variants.get(variant(input)?).ok_or(Fault::Variant)? {
                    VariantStep::Unknown { field, variant } => Err(Fault::UnknownVariant {
                        field: field.clone(),
                        variant: variant.clone(),
                    }),
                    VariantStep::Known { index, payload } => {
                        put_varint(&mut self.out, (*index).into());
                        match payload {
                            PayloadStep::Unit => Ok(()),
                            PayloadStep::Tuple(steps) => self.each(steps, input, depth),
                            PayloadStep::Struct(step) => self.fields(step, input, depth),
                        }
                    }
                }
            }
        }
    }

    /// One pass where both orders agree; a field that the known type has earlier is skipped over and come back to.
    fn fields(
        &mut self,
        step: &StructStep,
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        let mut passed = Vec::new();
        for source in &step.sources {
            match source {
                Source::Copy(_) => unreachable!("nested fields always have steps"),
                Source::Absent(absent) => self.absent(*absent)?,
                Source::Step(index, inner) => match passed.get(*index) {
                    Some(start) => self.run(inner, &mut Input::clone(start), depth)?,
                    None => {
                        while passed.len() < *index {
                            self.pass(step, &mut passed, input, depth)?;
                        }
                        passed.push(*input);
                        self.run(inner, input, depth)?;
                    }
                },
            }
        }
        while passed.len() < step.stored.len() {
            self.pass(step, &mut passed, input, depth)?;
        }
        Ok(())
    }

    fn pass<'i>(
        &mut self,
        step: &StructStep,
        passed: &mut Vec<Input<'i>>,
        input: &mut Input<'i>,
        depth: u32,
    ) -> Result<(), Fault> {
        passed.push(*input);
        self.walker
            .skip(&step.stored[passed.len() - 1], input, depth)
    }
}

/// Reads one integer and writes it wider; widths were checked when the plan was made.
fn widen(
    from: Integer,
    to: Integer,
    input: &mut Input<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let raw = if from.bits == 8 {
        u128::from(input.byte()?)
    } else {
        input.varint(from.bits)?
    };
    // A byte stands for itself, signed or not; what is wider is a varint, signed ones in zigzag form.
    let signed = match (from.is_signed, from.bits) {
        (true, 8) => i128::from(raw as u8 as i8),
        (true, _) => unzigzag(raw),
        (false, _) if !to.is_signed => {
            put_varint(out, raw);
            return Ok(());
        }
        // Unsigned into signed is strictly wider, so it fits.
        (false, _) => raw as i128,
    };
    put_varint(out, zigzag(signed));
    Ok(())
}
