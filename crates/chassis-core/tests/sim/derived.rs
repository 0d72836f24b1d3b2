//! Derived objects of the workloads. What a row or page holds follows from its kind, generation and number, so the
//! model keeps two numbers an object.
//!
//! Their layout version is one that no release knows: the engine leaves such objects alone and carries them along,
//! whatever it does with its own.

use std::collections::BTreeMap;

use chassis_core::internals::codes::{Codec, EncodeScratch, Geometry};
use chassis_core::internals::format::Descriptor;
use chassis_core::internals::format::derived::codes::Bits;
use chassis_core::internals::kernels::{self, Lanes, WithLanes};
use chassis_core::internals::storage::{Kind, Txn, View};
use chassis_core::{Error, VectorIndex};

use crate::rng::mix;

/// Rows in small chunks, rows of two blocks, pages.
pub const KINDS: [Kind; 4] = [Kind::Codes4, Kind::Codes8, Kind::EntryBlock, Kind::Calibration];
/// No layout of any release.
const FOREIGN: u32 = 1_000_000;

/// One object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    pub generation: u16,
    /// Rows or pages.
    pub len: usize,
}

/// The objects of a version.
pub type All = BTreeMap<Kind, Derived>;

fn stride(kind: Kind) -> usize {
    match kind {
        Kind::Codes4 => 64,
        Kind::Codes8 => 192,
        _ => 5_000,
    }
}

fn descriptor(kind: Kind, generation: u16) -> Descriptor {
    let of_kind = match kind {
        Kind::Calibration => Descriptor::paged(kind),
        _ => Descriptor::rows(kind, stride(kind) as u32, 256),
    };
    Descriptor { generation, version: FOREIGN, ..of_kind }
}

/// Word `i` of row or page `n`.
fn word(kind: Kind, generation: u16, n: usize, i: usize) -> u32 {
    mix((kind as u64) << 48 ^ (generation as u64) << 32 ^ (n as u64) << 12 ^ i as u64) as u32
}

fn row(kind: Kind, generation: u16, n: usize) -> Vec<u8> {
    (0..stride(kind) / 4).flat_map(|i| word(kind, generation, n, i).to_le_bytes()).collect()
}

fn append(txn: &mut Txn<'_>, kind: Kind, object: &mut Derived, len: usize) -> Result<(), Error> {
    let old = std::mem::replace(object, Derived { len, ..*object });
    if kind == Kind::Calibration {
        for n in old.len..len {
            let page = txn.edit(kind, n)?;
            (0..8).for_each(|i| page.set(i, word(kind, old.generation, n, i)));
        }
        return Ok(());
    }
    // One object's rows come one by one, those of the others in another order and more than are published.
    if kind == Kind::Codes4 {
        return (old.len..len).try_for_each(|n| txn.put_row(kind, n, &row(kind, old.generation, n)));
    }
    txn.reserve_rows(kind, len + 3)?;
    let writer = txn.row_writer(kind)?;
    (old.len..len + 3).rev().try_for_each(|n| writer.write(n, &row(kind, old.generation, n)))?;
    txn.publish_rows(kind, len)
}

fn in_txn(index: &VectorIndex, work: impl FnOnce(&mut Txn<'_>) -> Result<(), Error>) -> Result<(), Error> {
    index.with_store(|store| work(&mut store.txn()?))?
}

/// Puts a new object of `len` rows in the place of the one there is, or where none is.
pub fn replace(
    index: &VectorIndex,
    all: &mut All,
    kind: Kind,
    generation: u16,
    len: usize,
) -> Result<(), Error> {
    let mut object = Derived { generation, len: 0 };
    in_txn(index, |txn| {
        txn.replace(descriptor(kind, generation))?;
        append(txn, kind, &mut object, len)
    })?;
    all.insert(kind, object);
    Ok(())
}

/// Appends up to `len` rows.
pub fn extend(index: &VectorIndex, all: &mut All, kind: Kind, len: usize) -> Result<(), Error> {
    let Some(object) = all.get_mut(&kind) else { return Ok(()) };
    in_txn(index, |txn| append(txn, kind, object, len))
}

pub fn drop_object(index: &VectorIndex, all: &mut All, kind: Kind) -> Result<(), Error> {
    in_txn(index, |txn| txn.drop_object(kind))?;
    all.remove(&kind);
    Ok(())
}

/// Compares every object to the last byte. What cannot be read goes to `damaged`, which says whether that is an
/// answer.
pub fn compare(
    index: &VectorIndex,
    all: &All,
    mut damaged: impl FnMut(Error) -> Result<(), String>,
) -> Result<(), String> {
    let view = index.with_store(|store| store.view()).map_err(|e| format!("derived objects: {e}"))?;
    if view.rows(Kind::Model).is_some() {
        return match follows(&view) {
            Ok(true) => Ok(()),
            Ok(false) => Err("codes do not follow from the model and the vectors".into()),
            Err(error) => damaged(error),
        };
    }
    for kind in KINDS {
        let found = found(&view, kind);
        if found != all.get(&kind).copied() {
            return Err(format!("{kind:?}: found {found:?}, not {:?}", all.get(&kind)));
        }
        let Some(Derived { generation, len }) = found else { continue };
        for n in 0..len {
            match same(&view, kind, generation, n) {
                Ok(true) => {}
                Ok(false) => return Err(format!("{kind:?}: other content in {n} of {len}")),
                Err(error) => damaged(error).map_err(|e| format!("{kind:?}, {n} of {len}: {e}"))?,
            }
        }
    }
    Ok(())
}

/// Whether the engine's own codes are whole, of one generation, and what their vectors encode to.
fn follows(view: &View) -> Result<bool, Error> {
    let (Some(model), Some(vectors)) = (view.rows(Kind::Model), view.rows(Kind::Vectors)) else {
        return Ok(false);
    };
    let mut bytes = Vec::new();
    for n in 0..model.len() {
        bytes.extend_from_slice(model.get_verified(n)?);
    }
    let codec = &Codec::decode(&bytes, Geometry::Euclidean, view.header().dimensions)?;
    let mut kinds = 0;
    for bits in [Bits::Four, Bits::Eight] {
        let Some(rows) = view.rows(bits.kind()) else { continue };
        kinds += 1;
        let fits = rows.descriptor().generation == model.descriptor().generation && codec.has(bits);
        if !fits || rows.len() != view.node_count() as usize {
            return Ok(false);
        }
        for n in 0..rows.len() {
            let vector = &kernels::f32s(vectors.get_verified(n)?)[..view.header().dimensions as usize];
            if rows.get_verified(n)? != kernels::dispatch(Encode { codec, bits, vector }) {
                return Ok(false);
            }
        }
    }
    Ok(kinds > 0)
}

struct Encode<'a> {
    codec: &'a Codec,
    bits: Bits,
    vector: &'a [f32],
}

impl WithLanes for Encode<'_> {
    type Output = Vec<u8>;
    fn call<L: Lanes>(self, lanes: L) -> Vec<u8> {
        let mut record = vec![0; self.codec.layout(self.bits).stride as usize];
        self.codec.encode(lanes, self.vector, self.bits, &mut EncodeScratch::default(), &mut record);
        record
    }
}

fn found(view: &View, kind: Kind) -> Option<Derived> {
    let rows = view.rows(kind).map(|rows| (rows.descriptor(), rows.len()));
    let pages = view.optional_pages(kind).map(|pages| (pages.descriptor(), pages.count()));
    let (descriptor, len) = rows.or(pages)?;
    Some(Derived { generation: descriptor.generation, len })
}

fn same(view: &View, kind: Kind, generation: u16, n: usize) -> Result<bool, Error> {
    if let Some(pages) = view.optional_pages(kind) {
        let page = pages.get(n)?;
        return Ok((0..8).all(|i| page.word(i) == word(kind, generation, n, i)));
    }
    let Some(rows) = view.rows(kind) else { return Ok(false) };
    Ok(rows.get_verified(n)? == row(kind, generation, n))
}
