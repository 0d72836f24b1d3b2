//! Codes: one record a row, in rows of [`Kind::Codes4`] and [`Kind::Codes8`], which may stand side by side, each
//! described by its own [`Descriptor`].
//!
//! ```text
//!   [codes][zero pad][a f32][bias f32]      `stride` bytes, a multiple of 64
//! ```
//!
//! A code `c` of 4 bits stands for `c - 7.5`, one of 8 bits for `c - 128`. With 4 bits, byte `j` holds component
//! `j` in its low half and component `j + ceil(D'/2)` in its high half. The inner product of a query with the
//! centered (and, when the model says so, projected and rotated) vector is about `a` times the one with these
//! values; `bias` is half the squared length of the centered vector before projection, or, where vectors are compared
//! by inner products, minus its inner product with the mean.

use crate::error::{Error, Result};
use crate::format::derived::{ensure, known_version};
use crate::format::{Descriptor, Field, Form, Kind};

/// Layout of a record.
pub const VERSION: u32 = 1;
/// Records are aligned to cache lines.
pub const ALIGN: usize = 64;
/// Bytes of the two factors that end a record.
pub const FACTORS_LEN: usize = 8;
/// What a 4-bit code is counted from.
pub const ZERO_4: f32 = 7.5;
/// What an 8-bit code is counted from.
pub const ZERO_8: f32 = 128.0;

/// Fields at the end of a record; offsets count from `stride - 8`.
pub const FACTORS_LAYOUT: &[Field] = &[("a", 0, 4), ("bias", 4, 4)];

/// Bits a component takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// The first stage of a walk.
    Four = 4,
    /// The second stage, or the first where there are no 4-bit codes.
    Eight = 8,
}

impl Bits {
    /// The kind of objects that hold codes of so many bits.
    pub fn kind(self) -> Kind {
        match self {
            Bits::Four => Kind::Codes4,
            Bits::Eight => Kind::Codes8,
        }
    }
}

/// What is known of the codes of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// Bits of a component.
    pub bits: Bits,
    /// Components, at most the dimensions of the vectors.
    pub dimension: u32,
    /// Bytes of a record.
    pub stride: u32,
    /// Seed of the rotation; 0 when there is none or when the model's matrix includes it.
    pub seed: u64,
    /// Generation of the model, 0 when none was used.
    pub model: u32,
    /// Generation of these codes.
    pub generation: u16,
}

impl Codes {
    /// Codes with the smallest stride.
    pub fn new(bits: Bits, dimension: u32, seed: u64, model: u32, generation: u16) -> Codes {
        let stride = (code_len(bits, dimension) + FACTORS_LEN).next_multiple_of(ALIGN) as u32;
        Codes { bits, dimension, stride, seed, model, generation }
    }

    /// Reads what a descriptor says, for an index of `dimensions`.
    pub fn from_descriptor(d: &Descriptor, dimensions: u32) -> Result<Codes> {
        known_version("a code object", d.version, VERSION)?;
        let bits = match d.bits {
            4 => Bits::Four,
            8 => Bits::Eight,
            other => return Err(Error::corrupt(format!("codes of {other} bits"))),
        };
        let smallest = Codes::new(bits, d.dimension.min(dimensions), 0, 0, 0).stride;
        ensure(
            d.kind == bits.kind() as u16 && d.form == Form::Rows && d.flags == 0,
            "a descriptor of codes",
        )?;
        ensure((1..=dimensions).contains(&d.dimension), "the dimension of a code object")?;
        ensure(
            d.stride.is_multiple_of(ALIGN as u32) && (smallest..=2 * smallest).contains(&d.stride),
            "the stride of codes",
        )?;
        Ok(Codes {
            bits,
            dimension: d.dimension,
            stride: d.stride,
            seed: d.seed,
            model: d.model,
            generation: d.generation,
        })
    }

    /// The descriptor of an object without rows, in chunks of at least `chunk_bytes`.
    pub fn descriptor(&self, chunk_bytes: u32) -> Descriptor {
        Descriptor {
            bits: self.bits as u8,
            generation: self.generation,
            dimension: self.dimension,
            seed: self.seed,
            model: self.model,
            version: VERSION,
            ..Descriptor::rows(self.bits.kind(), self.stride, chunk_bytes)
        }
    }

    /// Bytes of a record that hold codes.
    pub fn code_len(&self) -> usize {
        code_len(self.bits, self.dimension)
    }

    /// Writes a record from one code a component; `false` when a length or a code does not fit.
    pub fn encode(&self, codes: &[u8], factors: Factors, record: &mut [u8]) -> bool {
        let most = if self.bits == Bits::Four { 15 } else { 255 };
        // Without a branch a code: a model of many components is encoded at the first search.
        let largest = codes.iter().fold(0, |largest, code| largest.max(*code));
        let fits = codes.len() == self.dimension as usize && largest <= most;
        if !fits || record.len() != self.stride as usize {
            return false;
        }
        record.fill(0);
        match self.bits {
            Bits::Eight => record[..codes.len()].copy_from_slice(codes),
            Bits::Four => {
                let (low, high) = codes.split_at(self.code_len());
                record[..low.len()].copy_from_slice(low);
                for (place, code) in record.iter_mut().zip(high) {
                    *place |= code << 4;
                }
            }
        }
        let end = record.len() - FACTORS_LEN;
        record[end..end + 4].copy_from_slice(&factors.a.to_le_bytes());
        record[end + 4..].copy_from_slice(&factors.bias.to_le_bytes());
        true
    }

    /// The code of component `i` of a record.
    pub fn code(&self, record: &[u8], i: usize) -> Option<u8> {
        let half = self.code_len();
        if i >= self.dimension as usize {
            return None;
        }
        match self.bits {
            Bits::Eight => record.get(i).copied(),
            Bits::Four if i < half => record.get(i).map(|b| b & 15),
            Bits::Four => record.get(i - half).map(|b| b >> 4),
        }
    }

    /// The factors of a record. Any bit pattern is possible: distances order NaN last.
    pub fn factors(&self, record: &[u8]) -> Option<Factors> {
        let at = (self.stride as usize).checked_sub(FACTORS_LEN)?;
        let [a0, a1, a2, a3, b0, b1, b2, b3] = record.get(at..at + FACTORS_LEN)?.try_into().ok()?;
        Some(Factors { a: f32::from_le_bytes([a0, a1, a2, a3]), bias: f32::from_le_bytes([b0, b1, b2, b3]) })
    }
}

/// The two numbers that end a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// What the inner product with the codes is multiplied by.
    pub a: f32,
    /// Half the squared length of the centered vector; for inner products, minus its product with the mean.
    pub bias: f32,
}

fn code_len(bits: Bits, dimension: u32) -> usize {
    match bits {
        Bits::Four => dimension.div_ceil(2) as usize,
        Bits::Eight => dimension as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::derived::testing::end_of;

    #[test]
    fn strides_of_the_usual_dimensions() {
        assert_eq!(end_of(FACTORS_LAYOUT), FACTORS_LEN);
        let stride = |bits, d| Codes::new(bits, d, 0, 0, 0).stride;
        for (d, four, eight) in
            [(1, 64, 64), (100, 64, 128), (112, 64, 128), (113, 128, 128), (240, 128, 256), (368, 192, 384)]
        {
            assert_eq!((stride(Bits::Four, d), stride(Bits::Eight, d)), (four, eight), "{d} components");
        }
        assert_eq!(stride(Bits::Four, 1536), 832);
    }

    #[test]
    fn records_round_trip() {
        for bits in [Bits::Four, Bits::Eight] {
            for dimension in [1, 2, 3, 55, 112, 257] {
                let codes = Codes::new(bits, dimension, 7, 1, 2);
                let values: Vec<u8> = (0..dimension)
                    .map(|i| (i * 7 % if bits == Bits::Four { 16 } else { 256 }) as u8)
                    .collect();
                let factors = Factors { a: 0.25, bias: -3.5 };
                let mut record = vec![0xff; codes.stride as usize];
                assert!(codes.encode(&values, factors, &mut record));
                let back: Vec<u8> =
                    (0..dimension as usize).map(|i| codes.code(&record, i).unwrap()).collect();
                assert_eq!((back, codes.factors(&record)), (values.clone(), Some(factors)));
                assert_eq!(codes.code(&record, dimension as usize), None);
                let pad = &record[codes.code_len()..record.len() - FACTORS_LEN];
                assert!(pad.iter().all(|&b| b == 0), "the pad is zero");
                assert!(!codes.encode(&values[1..], factors, &mut record));
                assert!(!codes.encode(&values, factors, &mut record[1..]));
                assert_eq!(codes.factors(&record[1..]), None);
                if bits == Bits::Four {
                    assert!(!codes.encode(&vec![16; dimension as usize], factors, &mut record));
                }
            }
        }
    }

    #[test]
    fn descriptors_round_trip_and_every_number_is_checked() {
        let codes = Codes::new(Bits::Four, 240, 99, 3, 5);
        let good = codes.descriptor(1 << 16);
        assert_eq!(Codes::from_descriptor(&good, 1536).unwrap(), codes);
        let bad = |change: &dyn Fn(&mut Descriptor)| {
            let mut d = good.clone();
            change(&mut d);
            Codes::from_descriptor(&d, 1536).unwrap_err().code()
        };
        for change in [
            &(|d: &mut Descriptor| d.bits = 5) as &dyn Fn(&mut Descriptor),
            &|d| d.kind = Kind::Vectors as u16,
            &|d| d.kind = Kind::Codes8 as u16,
            &|d| d.bits = 8,
            &|d| d.flags = 1,
            &|d| d.form = Form::Paged,
            &|d| d.dimension = 0,
            &|d| d.dimension = 1537,
            &|d| d.dimension = 241,
            &|d| d.stride = 64,
            &|d| d.stride = 130,
            &|d| d.stride = 1 << 20,
        ] {
            assert_eq!(bad(change), "ERR_CHASSIS_CORRUPT");
        }
        assert_eq!(bad(&|d| d.version = 2), "ERR_CHASSIS_UNSUPPORTED_VERSION");
        assert_eq!(bad(&|d| d.version = 0), "ERR_CHASSIS_UNSUPPORTED_VERSION");
    }
}
