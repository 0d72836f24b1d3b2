//! The model object: the mean that vectors are centered by, and an optional matrix that projects them to fewer
//! components (with the rotation folded in). Rows of [`Kind::Model`](crate::format::Kind::Model), all of `stride`
//! bytes: row 0 opens with the header, row 1 is the mean, the rest is the matrix, a row a component.

use crate::error::{Error, Result};
use crate::format::Field;
use crate::format::checksum::{get_u16, get_u32, get_u64, put_u16, put_u32, put_u64};
use crate::format::derived::{ensure, known_version};

/// Layout of the object.
pub const VERSION: u32 = 1;
/// Bytes of the header; the rest of row 0 is zero.
pub const HEADER_LEN: usize = 64;
/// Rows are aligned to cache lines.
pub const ALIGN: usize = 64;
/// The most rows of a matrix. Writers make 240; what a reader takes memory for must not be any number.
pub const MAX_COMPONENTS: u32 = 1024;
/// Set when there is a matrix.
pub const FLAG_MATRIX: u16 = 1;

/// Fields of the header.
pub const LAYOUT: &[Field] = &[
    ("version", 0, 4),
    ("kind", 4, 2),
    ("flags", 6, 2),
    ("dimensions", 8, 4),
    ("components", 12, 4),
    ("stride", 16, 4),
    ("generation", 20, 4),
    ("fitted_rows", 24, 8),
    ("seed", 32, 8),
    ("index_rows", 40, 8),
    ("reserved", 48, 16),
];

/// How a model was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum ModelKind {
    /// The mean only.
    Mean = 1,
    /// The mean and the leading principal components, rotated.
    Principal = 2,
}

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelHeader {
    /// How it was fitted; only [`ModelKind::Principal`] has a matrix.
    pub kind: ModelKind,
    /// Components of the mean and columns of the matrix: those of the vectors.
    pub dimensions: u32,
    /// Rows of the matrix, 0 without one.
    pub components: u32,
    /// Generation that code objects refer to; never 0.
    pub generation: u32,
    /// Vectors it was fitted on.
    pub fitted_rows: u64,
    /// Seed of the rotation that the matrix includes.
    pub seed: u64,
    /// Rows of the index then, from which those were drawn.
    pub index_rows: u64,
}

impl ModelHeader {
    /// Bytes of a row.
    pub fn stride(&self) -> usize {
        (self.dimensions as usize * 4).next_multiple_of(ALIGN)
    }

    /// Rows of the object.
    pub fn rows(&self) -> usize {
        2 + self.components as usize
    }
}

/// A decoded model, in place.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// What it is.
    pub header: ModelHeader,
    bytes: &'a [u8],
}

impl<'a> Model<'a> {
    /// Checks all rows of a model of an index with `dimensions`.
    pub fn decode(bytes: &'a [u8], dimensions: u32) -> Result<Model<'a>> {
        ensure(bytes.len() >= HEADER_LEN, "a model without a header")?;
        known_version("the model", get_u32(bytes, 0), VERSION)?;
        let flags = get_u16(bytes, 6);
        let header = ModelHeader {
            kind: match get_u16(bytes, 4) {
                1 => ModelKind::Mean,
                2 => ModelKind::Principal,
                other => return Err(Error::corrupt(format!("model kind {other}"))),
            },
            dimensions: get_u32(bytes, 8),
            components: get_u32(bytes, 12),
            generation: get_u32(bytes, 20),
            fitted_rows: get_u64(bytes, 24),
            seed: get_u64(bytes, 32),
            index_rows: get_u64(bytes, 40),
        };
        let matrix = header.kind == ModelKind::Principal;
        ensure(header.dimensions == dimensions && dimensions > 0, "the dimensions of the model")?;
        ensure(
            header.components <= dimensions.min(MAX_COMPONENTS) && (header.components > 0) == matrix,
            "the components of the model",
        )?;
        ensure(flags == if matrix { FLAG_MATRIX } else { 0 }, "the flags of the model")?;
        let counts = header.fitted_rows < 1 << 48 && header.index_rows < 1 << 48;
        ensure(header.generation > 0 && counts, "a number in the model")?;
        ensure(get_u32(bytes, 16) as usize == header.stride(), "the stride of the model")?;
        ensure(bytes.len() == header.rows() * header.stride(), "the length of the model")?;
        let model = Model { header, bytes };
        let finite = (0..header.components as usize + 1).all(|row| model.row(row + 1).all(f32::is_finite));
        ensure(finite, "a value in the model that is not finite")?;
        Ok(model)
    }

    /// The mean.
    pub fn mean(&self) -> impl Iterator<Item = f32> + use<'a> {
        self.row(1)
    }

    /// Row `i` of the matrix, empty past the last.
    pub fn matrix_row(&self, i: usize) -> impl Iterator<Item = f32> + use<'a> {
        self.row(if i < self.header.components as usize { i + 2 } else { usize::MAX })
    }

    fn row(&self, row: usize) -> impl Iterator<Item = f32> + use<'a> {
        let stride = self.header.stride();
        let start = row.saturating_mul(stride);
        let bytes =
            self.bytes.get(start..start.saturating_add(self.header.dimensions as usize * 4)).unwrap_or(&[]);
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
    }
}

/// The bytes of a model: `matrix` holds `components` rows of `dimensions` values, back to back. An error when
/// the lengths or the values do not fit the header.
pub fn encode(header: &ModelHeader, mean: &[f32], matrix: &[f32]) -> Result<Vec<u8>> {
    let (dimensions, stride) = (header.dimensions as usize, header.stride());
    ensure(
        mean.len() == dimensions && matrix.len() == dimensions * header.components as usize,
        "model lengths",
    )?;
    let mut bytes = vec![0u8; header.rows() * stride];
    let flags = if header.kind == ModelKind::Principal { FLAG_MATRIX } else { 0 };
    bytes.resize(bytes.len().max(HEADER_LEN), 0);
    put_u32(&mut bytes, 0, VERSION);
    put_u16(&mut bytes, 4, header.kind as u16);
    put_u16(&mut bytes, 6, flags);
    put_u32(&mut bytes, 8, header.dimensions);
    put_u32(&mut bytes, 12, header.components);
    put_u32(&mut bytes, 16, stride as u32);
    put_u32(&mut bytes, 20, header.generation);
    put_u64(&mut bytes, 24, header.fitted_rows);
    put_u64(&mut bytes, 32, header.seed);
    put_u64(&mut bytes, 40, header.index_rows);
    let rows = std::iter::once(mean).chain(matrix.chunks(dimensions.max(1)));
    for (values, row) in rows.zip(bytes.chunks_mut(stride.max(1)).skip(1)) {
        for (value, out) in values.iter().zip(row.as_chunks_mut::<4>().0) {
            *out = value.to_le_bytes();
        }
    }
    Model::decode(&bytes, header.dimensions)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::derived::testing::{abuse, end_of};

    fn header(kind: ModelKind, dimensions: u32, components: u32) -> ModelHeader {
        ModelHeader {
            kind,
            dimensions,
            components,
            generation: 4,
            fitted_rows: 9_000,
            seed: 42,
            index_rows: 20_000,
        }
    }

    #[test]
    fn round_trip_with_and_without_a_matrix() {
        assert_eq!(end_of(LAYOUT), HEADER_LEN);
        for (kind, d, c) in [
            (ModelKind::Mean, 1, 0),
            (ModelKind::Mean, 100, 0),
            (ModelKind::Principal, 30, 7),
            (ModelKind::Principal, 16, 16),
        ] {
            let mean: Vec<f32> = (0..d).map(|i| i as f32 - 3.5).collect();
            let matrix: Vec<f32> = (0..d * c).map(|i| (i as f32).sin()).collect();
            let bytes = encode(&header(kind, d, c), &mean, &matrix).unwrap();
            let model = Model::decode(&bytes, d).unwrap();
            assert_eq!(model.header, header(kind, d, c));
            assert_eq!(model.mean().collect::<Vec<_>>(), mean);
            let back: Vec<f32> = (0..c as usize).flat_map(|i| model.matrix_row(i)).collect();
            assert_eq!(back, matrix);
            assert_eq!(model.matrix_row(c as usize).count(), 0);
            assert_eq!(model.matrix_row(usize::MAX).count(), 0);
        }
    }

    #[test]
    fn every_number_is_checked() {
        let good = encode(&header(ModelKind::Principal, 20, 3), &[0.5; 20], &[0.25; 60]).unwrap();
        assert!(Model::decode(&good, 21).is_err(), "another index");
        for (name, at, len) in
            LAYOUT.iter().filter(|f| !matches!(f.0, "fitted_rows" | "seed" | "index_rows" | "reserved"))
        {
            for value in [0u8, 0xff] {
                let mut bad = good.clone();
                bad[*at..at + len].fill(value);
                // Any generation but 0 may be.
                let allowed = *name == "generation" && value == 0xff;
                assert_eq!(Model::decode(&bad, 20).is_ok(), allowed, "{name} filled with {value}");
            }
        }
        let mut nan = good.clone();
        nan[128 + 4..128 + 8].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Model::decode(&nan, 20).is_err(), "NaN in the mean");
        for bad in [(19, 60), (20, 59)] {
            assert!(
                encode(&header(ModelKind::Principal, 20, 3), &vec![0.0; bad.0], &vec![0.0; bad.1]).is_err()
            );
        }
        assert!(
            encode(&header(ModelKind::Mean, 20, 3), &[0.0; 20], &[0.0; 60]).is_err(),
            "a mean with a matrix"
        );
        abuse(&good, |bytes| drop(Model::decode(bytes, 20).map(|m| m.mean().sum::<f32>())));
    }
}
