//! Which kernels run here, what they read in records of codes, and what file they build: for the lanes that emulate
//! other CPUs, which must not pass by running something else, and which compare the digest.

use chassis_core::internals::format::checksum::crc;
use chassis_core::internals::format::derived::codes::{Bits, Codes, Factors};
use chassis_core::internals::kernels::{self, CodeQuery, Lanes, WithLanes};
use chassis_core::{BatchOptions, Id, Metric, OpenOptions, Quantization, VectorIndex};

use crate::support::{clustered, options, place};

#[test]
fn the_expected_kernels_are_active() {
    let name = kernels::active().name();
    println!("active kernel: {name}");
    match std::env::var("CHASSIS_EXPECT_KERNEL") {
        Ok(expected) => assert_eq!(name, expected),
        Err(_) => assert!(["scalar", "avx2", "vnni", "neon"].contains(&name), "{name}"),
    }
}

#[test]
fn a_file_to_compare_between_cpus() {
    let mut digests = Vec::new();
    let (none, four, auto) = (Quantization::None, Quantization::Bits4, Quantization::Auto);
    // Over vectors, over codes of 4 bits, and over those of a projection with a second stage.
    for (metric, quantization, dims) in [
        (Metric::L2, none, 37),
        (Metric::Ip, none, 37),
        (Metric::Cosine, none, 37),
        (Metric::Ip, four, 37),
        (Metric::Cosine, auto, 250),
    ] {
        let (_dir, path) = place();
        let options = OpenOptions { quantization: Some(quantization), ..options(dims, metric) };
        let index = VectorIndex::open(&path, &options).unwrap();
        for part in clustered(3_000, dims, 77).chunks(1_000 * dims) {
            index.add_batch(part, &BatchOptions::default()).unwrap();
            index.commit().unwrap();
        }
        index.delete(&[Id::Integer(5)]).unwrap();
        index.commit().unwrap();
        index.close().unwrap();
        digests.push(format!("{:08x}", crc(&std::fs::read(&path).unwrap())));
    }
    println!("file digest: {}", digests.join(" "));
}

/// One estimate for records of either kind.
struct Estimate<'a> {
    codes: &'a Codes,
    query: &'a [i8],
    record: &'a [u8],
}

impl WithLanes for Estimate<'_> {
    type Output = [f32; 4];

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        let (stride, half, records) = (self.record.len(), self.codes.code_len(), [self.record; 4]);
        let (offset, scale) = (10, 0.25);
        match self.codes.bits {
            Bits::Four => {
                let mut values = vec![0; 2 * stride];
                for (i, &value) in self.query.iter().enumerate() {
                    let (byte, side) = if i < half { (i, 0) } else { (i - half, 32) };
                    values[byte / 32 * 64 + byte % 32 + side] = value;
                }
                let query = CodeQuery { values: &values, offset, scale };
                lanes.estimate_4bit(query, records)
            }
            Bits::Eight => {
                let mut values: Vec<i16> = self.query.iter().map(|&v| v.into()).collect();
                values.resize(stride, 0);
                lanes.estimate_8bit(CodeQuery { values: &values, offset, scale }, records)
            }
        }
    }
}

#[test]
fn kernels_read_the_records_the_format_writes() {
    for bits in [Bits::Four, Bits::Eight] {
        for dimension in [1u32, 2, 55, 64, 65, 112, 113, 240, 257, 400] {
            let layout = Codes::new(bits, dimension, 0, 0, 0);
            let largest = if bits == Bits::Four { 15 } else { 255 };
            let codes: Vec<u8> = (0..dimension).map(|i| (i * i * 7 + 3 * i + 1) as u8 & largest).collect();
            let query: Vec<i8> = (0..dimension).map(|i| (i * i * 5 % 255) as u8 as i8).collect();
            let mut record = vec![0; layout.stride as usize];
            assert!(layout.encode(&codes, Factors { a: 0.5, bias: 3.0 }, &mut record));
            let dot: i32 = codes.iter().zip(&query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum();
            let times = if bits == Bits::Four { 2 } else { 1 };
            let expected = 3.0 - 0.5 * (0.25 * (times * dot - 10) as f32);
            let estimates = kernels::dispatch(Estimate { codes: &layout, query: &query, record: &record });
            assert_eq!(estimates, [expected; 4], "{bits:?}, {dimension} components");
        }
    }
}
