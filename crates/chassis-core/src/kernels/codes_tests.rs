//! Products with codes: every instruction set against the scalar form, to the bit. `tests/it/cpu.rs` has the active
//! kernels against records that the format wrote.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::codes::{Extent, extent, fits};
use super::scalar::Scalar;
use super::tests::every_isa;
use super::*;

/// What ends a record.
struct Factors {
    a: f32,
    bias: f32,
}

/// Seeded 64-bit values.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between `-limit` and `limit`.
    fn within(&mut self, limit: i64) -> i64 {
        (self.next() >> 33) as i64 % (2 * limit + 1) - limit
    }
}

/// NaN has many bit patterns, and which one comes out is not said.
fn bits(estimates: [f32; 4]) -> [u32; 4] {
    estimates.map(|e| if e.is_nan() { f32::NAN.to_bits() } else { e.to_bits() })
}

/// Four records of one stride, as a page holds them: side by side, from an address of any alignment.
struct Records {
    bytes: Vec<u8>,
    start: usize,
    stride: usize,
}

impl Records {
    fn new(stride: usize, start: usize, factors: [Factors; 4], mut code: impl FnMut() -> u8) -> Records {
        let mut bytes: Vec<u8> = (0..start + 4 * stride).map(|_| code()).collect();
        for (row, factors) in factors.iter().enumerate() {
            let end = start + (row + 1) * stride;
            bytes[end - 8..end - 4].copy_from_slice(&factors.a.to_le_bytes());
            bytes[end - 4..end].copy_from_slice(&factors.bias.to_le_bytes());
        }
        Records { bytes, start, stride }
    }

    fn get(&self) -> [&[u8]; 4] {
        [0, 1, 2, 3].map(|row| &self.bytes[self.start + row * self.stride..][..self.stride])
    }
}

fn check<L: Lanes>(
    lanes: L,
    values_4: &[i8],
    values_8: &[i16],
    scale: f32,
    offset: i32,
    records: [&[u8]; 4],
) {
    let four = CodeQuery { values: values_4, offset, scale };
    let eight = CodeQuery { values: values_8, offset, scale };
    let stride = records[0].len();
    let (got, expected) = (lanes.estimate_4bit(four, records), Scalar.estimate_4bit(four, records));
    assert_eq!(bits(got), bits(expected), "4 bits, stride {stride}: {got:?} for {expected:?}");
    let (got, expected) = (lanes.estimate_8bit(eight, records), Scalar.estimate_8bit(eight, records));
    assert_eq!(bits(got), bits(expected), "8 bits, stride {stride}: {got:?} for {expected:?}");
    // The last of the records stands as the query, with all that may be codes in it and with less.
    let record = records[3];
    for codes in [stride.saturating_sub(8), stride / 2 + 1, stride / 3, 1, 0] {
        let query = RecordQuery { record, codes, scale };
        let (got, expected) =
            (lanes.estimate_8bit_codes(query, records), Scalar.estimate_8bit_codes(query, records));
        assert_eq!(bits(got), bits(expected), "{codes} codes, stride {stride}: {got:?} for {expected:?}");
    }
}

fn ordinary(random: &mut Random) -> [Factors; 4] {
    [(); 4].map(|()| {
        let mut value = || random.within(1 << 20) as f32 / 4096.0;
        Factors { a: value(), bias: value() }
    })
}

/// Every value of the query counts here, also those over the factors: what a kernel reads is what it multiplies.
struct EveryStride;
impl WithLanes for EveryStride {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for stride in (64..=1664).step_by(64) {
            for start in [0, 1, 7, 32] {
                let factors = ordinary(&mut random);
                let records = Records::new(stride, start, factors, || random.next() as u8);
                let values_4: Vec<i8> = (0..2 * stride).map(|_| random.within(127) as i8).collect();
                let values_8: Vec<i16> = (0..stride).map(|_| random.within(4095) as i16).collect();
                let (scale, offset) = (random.within(1 << 20) as f32 / 1e7, random.within(1 << 24) as i32);
                check(lanes, &values_4, &values_8, scale, offset, records.get());
            }
        }
    }
}

/// The largest codes against the largest values, and all that fits in their types.
struct Extremes;
impl WithLanes for Extremes {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let mut random = Random(7);
        for stride in (64..=1664).step_by(64) {
            for (four, eight) in [(127, 4095), (-127, -4095), (-128, i16::MIN), (127, i16::MAX)] {
                for code in [0x00, 0x0f, 0xf0, 0xff] {
                    let factors = ordinary(&mut random);
                    let records = Records::new(stride, 0, factors, || code);
                    let (values_4, values_8) = (vec![four; 2 * stride], vec![eight; stride]);
                    for offset in [0, i32::MAX, i32::MIN] {
                        check(lanes, &values_4, &values_8, 0.37, offset, records.get());
                    }
                }
            }
        }
        // 240 codes of 15 against 127: the product itself, so that a sum that saturates in both forms shows.
        let mut record = [0xff; 128];
        record[120..124].copy_from_slice(&(-1f32).to_le_bytes());
        record[124..].fill(0);
        for value in [127, -127] {
            let mut values = [value; 256];
            values[3 * 64 + 24..3 * 64 + 32].fill(0);
            values[3 * 64 + 56..].fill(0);
            let query = CodeQuery { values: &values, offset: 0, scale: 1.0 };
            let product = 2.0 * 15.0 * f32::from(value) * 240.0;
            assert_eq!(lanes.estimate_4bit(query, [&record; 4]), [product; 4]);
        }
        // The same of two records, in which only the first codes count.
        for (query, code, product) in [
            (255, 255, 127 * 127),
            (1, 1, 127 * 127),
            (1, 0, 127 * 128),
            (0, 0, 127 * 128),
            (255, 1, -127 * 127),
        ] {
            let mut record = [code; 128];
            record[120..124].copy_from_slice(&1f32.to_le_bytes());
            record[124..].copy_from_slice(&0f32.to_le_bytes());
            for codes in [1, 31, 32, 33, 64, 96, 120] {
                let query = RecordQuery { record: &[query; 128], codes, scale: 1.0 };
                let expected = -((product * codes as i32) as f32);
                assert_eq!(lanes.estimate_8bit_codes(query, [&record; 4]), [expected; 4], "{codes} codes");
            }
        }
    }
}

/// Any bit pattern may stand in a record.
struct EdgeFactors;
impl WithLanes for EdgeFactors {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let edges = [0.0, -0.0, 1e-45, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN];
        let mut random = Random(11);
        for (i, &a) in edges.iter().enumerate() {
            for (j, &bias) in edges.iter().enumerate() {
                for scale in [1.0, 0.0, f32::NAN, f32::INFINITY, f32::MAX] {
                    let mut factors = ordinary(&mut random);
                    factors[(i + j) % 4] = Factors { a, bias };
                    let records = Records::new(128, 0, factors, || random.next() as u8);
                    check(lanes, &[3; 256], &[-5; 128], scale, 99, records.get());
                }
            }
        }
    }
}

/// Lengths that do not fit: a debug build stops, others answer as if all were as short as the shortest.
struct Misfits;
impl WithLanes for Misfits {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let mut random = Random(13);
        let factors = ordinary(&mut random);
        let records = Records::new(192, 0, factors, || random.next() as u8);
        let [a, b, c, d] = records.get();
        for (len, values) in
            [(0, 192), (7, 192), (63, 192), (65, 192), (191, 192), (192, 191), (192, 64), (192, 0)]
        {
            for records in [[a, b, c, &d[..len]], [&a[..len], b, c, d], [a, &b[..len], &c[..len], d]] {
                let work = || check(lanes, &vec![3; 2 * values], &vec![-5; values], 0.5, 3, records);
                let stopped = catch_unwind(AssertUnwindSafe(work)).is_err();
                assert_eq!(stopped, cfg!(debug_assertions), "records of {len}, query for {values}");
            }
        }
    }
}

/// A panel of any codes against a vector, and with the largest of both.
struct Panels;
impl WithLanes for Panels {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let mut random = Random(17);
        for columns in [0usize, 1, 3, 4, 5, 31, 32, 33, 63, 64, 68, 100, 384, 1537] {
            let len = columns.div_ceil(PANEL_VALUES) * PANEL_STEP;
            for start in [0, 1] {
                let bytes: Vec<u8> = (0..start + len).map(|_| random.next() as u8).collect();
                let values: Vec<i8> =
                    (0..columns.next_multiple_of(4)).map(|_| random.within(127) as i8).collect();
                check_panel(lanes, &values, &bytes[start..]);
            }
            for (value, code) in [(127, 0xff), (-128, 0xff), (-128, 0xf0), (127, 0x0f), (-1, 0)] {
                check_panel(lanes, &vec![value; columns.next_multiple_of(4)], &vec![code; len]);
            }
        }
        // The shorter one rules.
        check_panel(lanes, &[3; 40], &[0x57; 3 * PANEL_STEP + 7]);
        check_panel(lanes, &[3; 7], &[0x57; 3 * PANEL_STEP]);
        // Each code where its place says, and nothing else.
        let mut panel = [0; 2 * PANEL_STEP];
        for row in 0..PANEL_ROWS {
            for column in 0..8 {
                let (at, high) = panel_place(row, column);
                panel[at] |= if high { 0x70 } else { 0x07 };
                let mut values = [0; 8];
                values[column] = -3;
                let mut expected = [0; PANEL_ROWS];
                expected[row] = -21;
                assert_eq!(lanes.panel_4bit(&values, &panel), expected, "row {row}, column {column}");
                panel[at] = 0;
            }
        }
    }
}

fn check_panel<L: Lanes>(lanes: L, values: &[i8], panel: &[u8]) {
    let (got, expected) = (lanes.panel_4bit(values, panel), Scalar.panel_4bit(values, panel));
    assert_eq!(got, expected, "{} values, {} bytes", values.len(), panel.len());
}

every_isa! {
    gives_the_bits_of_the_definition_of_a_panel => Panels;
    gives_the_bits_of_the_definition_at_every_stride => EveryStride;
    gives_the_bits_of_the_definition_on_extremes => Extremes;
    takes_any_factors => EdgeFactors;
    reads_nothing_beyond_what_it_was_given => Misfits;
}

#[test]
fn the_shortest_rules() {
    let bytes = [0; 256];
    let of = |a: usize, b: usize, c: usize, d: usize| [&bytes[..a], &bytes[..b], &bytes[..c], &bytes[..d]];
    for (covered, records, record, summed) in [
        (128, of(128, 128, 128, 128), 128, 128),
        (200, of(128, 128, 128, 128), 128, 128),
        (127, of(128, 128, 128, 128), 128, 64),
        (128, of(128, 64, 128, 128), 64, 64),
        (128, of(127, 128, 128, 128), 64, 64),
        (128, of(128, 128, 63, 128), 0, 0),
        (128, of(128, 128, 128, 0), 0, 0),
        (0, of(192, 192, 192, 192), 192, 0),
    ] {
        assert_eq!(extent(covered, &records), Extent { record, summed });
    }
    assert!(fits(128, &of(128, 128, 128, 128)) && fits(129, &of(128, 128, 128, 128)));
    assert!(!fits(127, &of(128, 128, 128, 128)) && !fits(128, &of(127, 127, 127, 127)));
    for row in 0..4 {
        let mut records = of(128, 128, 128, 128);
        records[row] = &bytes[..64];
        assert!(!fits(128, &records), "row {row} is shorter");
    }
}
