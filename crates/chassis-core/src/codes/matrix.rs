//! The matrix of a model for queries, in codes of 4 bits: small enough for the nearest caches, where the floats are not.
//! 240 rows of 1,536 components take 184 KB in place of 1.5 MB. Their rounding is small beside that of the records.

use crate::codes::EncodeScratch;
use crate::codes::query::{LARGEST_4, grid, to_grid};
use crate::kernels::{LINE, Lanes, PANEL_ROWS, PANEL_STEP, PANEL_VALUES, WithLanes, dispatch, panel_place};

/// Rows as codes of 4 bits, counted from 7.5, and what makes up for the rounding of each.
pub(super) struct SmallMatrix {
    /// Panels of [`PANEL_ROWS`], from `start` on, which begins a cache line: a load that crosses into the next takes
    /// twice as long.
    bytes: Vec<u8>,
    start: usize,
    /// Bytes of a panel.
    panel: usize,
    /// One a row.
    a: Vec<f32>,
}

impl SmallMatrix {
    pub(super) fn new(matrix: &[f32], dimensions: usize) -> SmallMatrix {
        dispatch(Shrink { matrix, dimensions })
    }

    /// The product with a vector. `values` is memory.
    #[inline(always)]
    pub(super) fn project<L: Lanes>(
        &self,
        lanes: L,
        vector: &[f32],
        values: &mut Vec<i8>,
        out: &mut Vec<f32>,
    ) {
        let (step, inverse) = grid(vector, LARGEST_4);
        values.clear();
        values.resize(vector.len().next_multiple_of(PANEL_VALUES), 0);
        let sum = to_grid(vector, inverse, |rounded| rounded as i8, values);
        // Twice what codes counted from 0 are too large by; so the products stay whole numbers.
        let (offset, scale) = (15i32.wrapping_mul(sum), step / 2.0);
        out.clear();
        let panels = self.bytes[self.start..].chunks_exact(self.panel);
        for (a, panel) in self.a.chunks(PANEL_ROWS).zip(panels) {
            let products = lanes.panel_4bit(values, panel);
            let parts = a.iter().zip(products);
            out.extend(parts.map(|(a, product)| a * (scale * (2 * product).wrapping_sub(offset) as f32)));
        }
    }
}

struct Shrink<'a> {
    matrix: &'a [f32],
    dimensions: usize,
}

impl WithLanes for Shrink<'_> {
    type Output = SmallMatrix;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> SmallMatrix {
        let Shrink { matrix, dimensions } = self;
        let rows = matrix.chunks_exact(dimensions);
        let panel = dimensions.div_ceil(PANEL_VALUES) * PANEL_STEP;
        let mut bytes = vec![0u8; rows.len().div_ceil(PANEL_ROWS) * panel + LINE];
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        let (mut a, mut scratch) = (Vec::with_capacity(rows.len()), EncodeScratch::default());
        for (at, row) in rows.enumerate() {
            let (factor, codes) = scratch.encode_4(lanes, row);
            a.push(factor);
            let panel = &mut bytes[start + at / PANEL_ROWS * panel..][..panel];
            for (column, code) in codes.iter().enumerate() {
                let (place, high) = panel_place(at % PANEL_ROWS, column);
                panel[place] |= if high { code << 4 } else { *code };
            }
        }
        SmallMatrix { bytes, start, panel, a }
    }
}
