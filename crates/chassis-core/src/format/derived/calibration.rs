//! The calibration table: what a search has to do in an index to reach a recall. One row of
//! [`Kind::Calibration`](crate::format::Kind::Calibration).

use crate::error::Result;
use crate::format::checksum::{get_u16, get_u32, put_u16, put_u32};
use crate::format::derived::{ensure, known_version};
use crate::format::{Field, PAGE_PAYLOAD};

/// Layout of the table.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 64;
/// Bytes of a row.
pub const ROW_LEN: usize = 32;
/// Rows a table can have.
pub const MAX_ROWS: usize = (PAGE_PAYLOAD - HEADER_LEN) / ROW_LEN;
/// The largest number of results, candidates or records a row may name.
pub const MAX_COUNT: u32 = 1 << 20;
/// The largest gamma a row may name.
pub const MAX_GAMMA: f32 = 16.0;
/// Set when `gamma` is in use.
pub const FLAG_GAMMA: u16 = 1;

/// Fields of the header.
pub const HEADER_LAYOUT: &[Field] =
    &[("version", 0, 4), ("rows", 4, 4), ("fitted_rows", 8, 4), ("reserved", 12, 52)];

/// Fields of a row.
pub const ROW_LAYOUT: &[Field] = &[
    ("recall_thousandths", 0, 2),
    ("code_generation", 2, 2),
    ("k_class", 4, 4),
    ("ef", 8, 4),
    ("gamma", 12, 4),
    ("stage2_depth", 16, 4),
    ("links_read", 20, 2),
    ("flags", 22, 2),
    ("reserved", 24, 8),
];

/// The settings for one class of recall and of `k`. Rows are in the order of their first three fields here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Generation of the codes walked over, 0 for the vectors themselves.
    pub code_generation: u16,
    /// The largest `k` the row is for.
    pub k_class: u32,
    /// Recall it reaches, in thousandths.
    pub recall_thousandths: u16,
    /// Candidates held.
    pub ef: u32,
    /// A walk ends when the nearest open candidate is farther than `1 + gamma` times the `k`-th best.
    pub gamma: Option<f32>,
    /// Candidates measured again by the second kind of codes, 0 for none.
    pub stage2_depth: u32,
    /// Links of a list that are read, 0 for all.
    pub links_read: u16,
}

impl Row {
    fn order(&self) -> (u16, u32, u16) {
        (self.code_generation, self.k_class, self.recall_thousandths)
    }

    fn is_sound(&self) -> bool {
        (1..=1000).contains(&self.recall_thousandths)
            && (1..=MAX_COUNT).contains(&self.k_class)
            && (1..=MAX_COUNT).contains(&self.ef)
            && self.gamma.is_none_or(|gamma| (0.0..=MAX_GAMMA).contains(&gamma))
            && self.stage2_depth <= MAX_COUNT
            && self.links_read <= 96
    }

    fn decode(b: &[u8]) -> Result<Row> {
        let (flags, gamma) = (get_u16(b, 22), f32::from_bits(get_u32(b, 12)));
        let row = Row {
            recall_thousandths: get_u16(b, 0),
            code_generation: get_u16(b, 2),
            k_class: get_u32(b, 4),
            ef: get_u32(b, 8),
            gamma: (flags & FLAG_GAMMA != 0).then_some(gamma),
            stage2_depth: get_u32(b, 16),
            links_read: get_u16(b, 20),
        };
        let flags_fit = flags <= FLAG_GAMMA && (flags == FLAG_GAMMA || gamma.to_bits() == 0);
        ensure(row.is_sound() && flags_fit, "a row of the calibration table")?;
        Ok(row)
    }
}

/// Reads a table from the content of its page.
pub fn decode(content: &[u8]) -> Result<Vec<Row>> {
    ensure(content.len() >= HEADER_LEN, "a calibration table without a header")?;
    known_version("the calibration table", get_u32(content, 0), VERSION)?;
    let count = get_u32(content, 4) as usize;
    let fits = count <= MAX_ROWS && content.len() >= HEADER_LEN + count * ROW_LEN;
    ensure(fits, "the number of rows of the calibration table")?;
    let slots = content[HEADER_LEN..].chunks_exact(ROW_LEN).take(count);
    let rows = slots.map(Row::decode).collect::<Result<Vec<Row>>>()?;
    let ordered = rows.windows(2).all(|pair| pair[0].order() < pair[1].order());
    ensure(ordered, "the order of the calibration table")?;
    Ok(rows)
}

/// Nodes of the index a table was fitted for; 0 when there is no header.
pub fn fitted_rows(content: &[u8]) -> u32 {
    if content.len() < HEADER_LEN { 0 } else { get_u32(content, 8) }
}

/// The content of a table. `fitted_rows` says how many nodes the index had when it was fitted.
pub fn encode(rows: &[Row], fitted_rows: u32) -> Result<Vec<u8>> {
    let sound = rows.len() <= MAX_ROWS && rows.iter().all(Row::is_sound);
    ensure(
        sound && rows.windows(2).all(|pair| pair[0].order() < pair[1].order()),
        "a calibration table to write",
    )?;
    let mut content = vec![0u8; PAGE_PAYLOAD];
    put_u32(&mut content, 0, VERSION);
    put_u32(&mut content, 4, rows.len() as u32);
    put_u32(&mut content, 8, fitted_rows);
    for (row, b) in rows.iter().zip(content[HEADER_LEN..].chunks_exact_mut(ROW_LEN)) {
        put_u16(b, 0, row.recall_thousandths);
        put_u16(b, 2, row.code_generation);
        put_u32(b, 4, row.k_class);
        put_u32(b, 8, row.ef);
        put_u32(b, 12, row.gamma.unwrap_or(0.0).to_bits());
        put_u32(b, 16, row.stage2_depth);
        put_u16(b, 20, row.links_read);
        put_u16(b, 22, if row.gamma.is_some() { FLAG_GAMMA } else { 0 });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::derived::testing::{abuse, end_of};

    fn row(recall: u16, k: u32) -> Row {
        Row {
            recall_thousandths: recall,
            code_generation: 1,
            k_class: k,
            ef: 40,
            gamma: (recall > 900).then_some(0.05),
            stage2_depth: 16,
            links_read: 20,
        }
    }

    fn table() -> Vec<Row> {
        [1, 10, 100].iter().flat_map(|&k| [800, 900, 950, 980, 990].map(|recall| row(recall, k))).collect()
    }

    #[test]
    fn round_trip() {
        assert_eq!((end_of(HEADER_LAYOUT), end_of(ROW_LAYOUT), MAX_ROWS), (HEADER_LEN, ROW_LEN, 124));
        for rows in [vec![], table(), (1..=MAX_ROWS as u32).map(|k| row(950, k)).collect()] {
            assert_eq!(decode(&encode(&rows, 400).unwrap()).unwrap(), rows);
        }
    }

    #[test]
    fn every_number_is_checked() {
        for change in [
            (|r: &mut Row| r.recall_thousandths = 0) as fn(&mut Row),
            |r| r.recall_thousandths = 1_001,
            |r| r.k_class = 0,
            |r| r.k_class = MAX_COUNT + 1,
            |r| r.ef = 0,
            |r| r.ef = u32::MAX,
            |r| r.gamma = Some(f32::NAN),
            |r| r.gamma = Some(-0.1),
            |r| r.gamma = Some(f32::INFINITY),
            |r| r.stage2_depth = MAX_COUNT + 1,
            |r| r.links_read = 97,
        ] {
            let mut rows = table();
            change(&mut rows[3]);
            assert!(encode(&rows, 0).is_err(), "{:?}", rows[3]);
        }
        assert!(encode(&[row(950, 1), row(950, 1)], 0).is_err(), "twice the same class");
        assert!(encode(&vec![row(950, 1); MAX_ROWS + 1], 0).is_err());
        let good = encode(&table(), 400).unwrap();
        for (at, value) in [
            (4, 125),
            (64, 0),
            (64 + 4, 0),
            (64 + 8, 0),
            (64 + 15, 0x7f),
            (64 + 20, 97),
            (64 + 22, 2),
            (64 + 32, 0),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            bad[at + 1] = 0;
            assert!(decode(&bad).is_err(), "byte {at} set to {value}");
        }
        abuse(&good, |bytes| drop(decode(bytes)));
    }
}
