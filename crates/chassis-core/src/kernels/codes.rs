//! Integer products of a query with quantized codes, and the distances estimated from them.
//!
//! A record is laid out as `format::derived::codes` says: codes, a zero pad, then `a` and `bias`. The values of a
//! query are zero over pad and factors, so a kernel runs over whole records and has no tail. Integers add up to the
//! same in any order and the floats after them are rounded one operation at a time: every instruction set gives the
//! bits of the scalar form.

use super::lanes::Simd;

/// Records and the pieces of them that are summed are whole multiples of this.
const ALIGN: usize = 64;
/// Bytes of a record that are met by 64 values of a 4-bit query: 32 for the low halves, then 32 for the high ones.
pub const CHUNK: usize = 32;
/// Rows of a panel: what a matrix in codes of 4 bits is multiplied by a vector in. Their ten sums of eight integers are
/// as many as the registers hold.
pub const PANEL_ROWS: usize = 80;
/// Bytes of a panel that are met by four values of the vector.
pub const PANEL_STEP: usize = 2 * PANEL_ROWS;
/// Values that meet [`PANEL_STEP`].
pub const PANEL_VALUES: usize = 4;
/// `a` and `bias`, which end a record.
const FACTORS_LEN: usize = 8;

/// A query in the form codes are compared with.
///
/// For 4-bit codes `values` holds 64 values for every 32 bytes of a record, first those of the low halves, then
/// those of the high halves. For 8-bit codes it holds one value a byte. Values over the pad and the factors of a
/// record are zero.
#[derive(Debug, Clone, Copy)]
pub struct CodeQuery<'a, T> {
    /// What the codes are multiplied by.
    pub values: &'a [T],
    /// What is subtracted because codes are counted from their middle.
    pub offset: i32,
    /// What a unit of the integers is worth.
    pub scale: f32,
}

/// A record of 8-bit codes as a query.
#[derive(Debug, Clone, Copy)]
pub struct RecordQuery<'a> {
    /// The whole record: as long as those it is compared with.
    pub record: &'a [u8],
    /// How many codes it begins with; what follows them is not multiplied.
    pub codes: usize,
    /// What a unit of the integers is worth.
    pub scale: f32,
}

/// What a call may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes every record has; the factors are the last of them. A multiple of 64.
    pub record: usize,
    /// Bytes of a record that are multiplied. A multiple of 64, at most `record`.
    pub summed: usize,
}

/// The extent of four records and a query that covers `covered` bytes of each: the shortest rules.
#[inline(always)]
pub fn extent(covered: usize, records: &[&[u8]; 4]) -> Extent {
    let shorter = records[0].len().min(records[1].len());
    let record = shorter.min(records[2].len()).min(records[3].len()) / ALIGN * ALIGN;
    Extent { record, summed: record.min(covered / ALIGN * ALIGN) }
}

/// What callers promise; a call that breaks it is answered from its [`extent`].
#[inline(always)]
pub fn fits(covered: usize, records: &[&[u8]; 4]) -> bool {
    let len = records[0].len();
    let one_length = records[1].len() == len && records[2].len() == len && records[3].len() == len;
    one_length && len.is_multiple_of(ALIGN) && covered >= len
}

#[inline(always)]
fn starts(records: &[&[u8]; 4]) -> [*const u8; 4] {
    [records[0].as_ptr(), records[1].as_ptr(), records[2].as_ptr(), records[3].as_ptr()]
}

/// Where the factors of each record are.
///
/// # Safety
/// Each record has `len` readable bytes, at least 8.
#[inline(always)]
unsafe fn factors(records: &[&[u8]; 4], len: usize) -> [*const u8; 4] {
    let at = len - FACTORS_LEN;
    let [a, b, c, d] = starts(records);
    // SAFETY: `at` is inside every record, by the caller's promise.
    unsafe { [a.add(at), b.add(at), c.add(at), d.add(at)] }
}

/// Products over the first `summed` bytes. The usual strides have code of their own, without a loop.
///
/// # Safety
/// `summed` is a multiple of 64, each record has that many bytes and the query twice as many values.
#[inline(always)]
unsafe fn products_4bit<S: Simd>(s: S, query: &[i8], records: &[&[u8]; 4], summed: usize) -> S::Quad {
    debug_assert!(query.len() / 2 >= summed && summed.is_multiple_of(ALIGN));
    let (query, records) = (query.as_ptr(), starts(records));
    // SAFETY: by the caller's promise; a multiple of 64 is an even number of chunks.
    unsafe {
        match summed {
            64 => s.products_4bit(query, records, 64 / CHUNK),
            128 => s.products_4bit(query, records, 128 / CHUNK),
            192 => s.products_4bit(query, records, 192 / CHUNK),
            _ => s.products_4bit(query, records, summed / CHUNK),
        }
    }
}

#[inline(always)]
pub fn estimate_4bit<S: Simd>(s: S, query: CodeQuery<'_, i8>, records: [&[u8]; 4]) -> [f32; 4] {
    let covered = query.values.len() / 2;
    debug_assert!(fits(covered, &records), "four records of one stride, and a query for it");
    let extent = extent(covered, &records);
    if extent.record == 0 {
        return [f32::NAN; 4];
    }
    // SAFETY: the extent is inside the query and every record, and a record of it has at least 64 bytes.
    unsafe {
        let dots = products_4bit(s, query.values, &records, extent.summed);
        s.estimates(s.twice(dots), query.offset, query.scale, factors(&records, extent.record))
    }
}

#[inline(always)]
pub fn estimate_8bit<S: Simd>(s: S, query: CodeQuery<'_, i16>, records: [&[u8]; 4]) -> [f32; 4] {
    let covered = query.values.len();
    debug_assert!(fits(covered, &records), "four records of one stride, and a query for it");
    let extent = extent(covered, &records);
    if extent.record == 0 {
        return [f32::NAN; 4];
    }
    // SAFETY: as for 4 bits.
    unsafe {
        let dots = s.products_8bit(query.values.as_ptr(), starts(&records), extent.summed);
        s.estimates(dots, query.offset, query.scale, factors(&records, extent.record))
    }
}

#[inline(always)]
pub fn estimate_8bit_codes<S: Simd>(s: S, query: RecordQuery<'_>, records: [&[u8]; 4]) -> [f32; 4] {
    let covered = query.record.len();
    debug_assert!(fits(covered, &records), "four records of one stride, and one as the query");
    let extent = extent(covered, &records);
    if extent.record == 0 {
        return [f32::NAN; 4];
    }
    // SAFETY: as for 4 bits; `summed` is a multiple of 64, so the codes rounded up to one of 32 are inside it.
    unsafe {
        let codes = query.codes.min(extent.summed);
        let dots = s.products_8bit_codes(query.record.as_ptr(), starts(&records), codes);
        s.estimates(dots, 0, query.scale, factors(&records, extent.record))
    }
}

/// Where the code of a row and a column of a panel is: the byte, and whether in its high half.
#[inline(always)]
pub fn panel_place(row: usize, column: usize) -> (usize, bool) {
    let (block, eight, lane) = (row / 16, row / 8 % 2, row % 8);
    let (step, value) = (column / PANEL_VALUES, column % PANEL_VALUES);
    (step * PANEL_STEP + block * CHUNK + lane * PANEL_VALUES + value, eight == 1)
}

/// Steps that both a panel and a vector have.
#[inline(always)]
pub fn panel_steps(values: &[i8], panel: &[u8]) -> usize {
    (values.len() / PANEL_VALUES).min(panel.len() / PANEL_STEP)
}

#[inline(always)]
pub fn panel_4bit<S: Simd>(s: S, values: &[i8], panel: &[u8]) -> [i32; PANEL_ROWS] {
    // SAFETY: both have so many steps.
    unsafe { s.panel_4bit(values.as_ptr(), panel.as_ptr(), panel_steps(values, panel)) }
}
