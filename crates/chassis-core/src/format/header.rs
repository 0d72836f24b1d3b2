//! Block 0: what an index is, fixed at creation.

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::{crc, get_u16, get_u32, put_u16, put_u32};
use crate::format::{BLOCK, Field, MAX_FANOUT};

/// Opens every file: not text, and damaged by any newline conversion (the trick of PNG).
pub const MAGIC: [u8; 16] = *b"\x93CHASSIS\r\n\x1a\n\0\0\0\0";
/// Readers refuse another major version.
pub const MAJOR: u16 = 1;
/// Additions that older readers may ignore.
pub const MINOR: u16 = 0;
/// Tells a byte-swapped file from a damaged one.
pub const BYTE_ORDER: u32 = 0x0102_0304;
/// The longest model stamp.
pub const MAX_MODEL: usize = 256;

/// Fields of the header, in file order.
pub const LAYOUT: &[Field] = &[
    ("magic", 0, 16),
    ("major", 16, 2),
    ("minor", 18, 2),
    ("byte_order", 20, 4),
    ("block_size", 24, 4),
    ("compat", 28, 4),
    ("ro_compat", 32, 4),
    ("incompat", 36, 4),
    ("dimensions", 40, 4),
    ("vector_type", 44, 1),
    ("metric", 45, 1),
    ("id_type", 46, 1),
    ("quantization", 47, 1),
    ("m", 48, 2),
    ("m0", 50, 2),
    ("ef_construction", 52, 4),
    ("fanout", 56, 2),
    ("model_len", 58, 2),
    ("chunk_bytes", 60, 4),
    ("model", 64, 256),
    ("crc", 4092, 4),
];

/// What an index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Feature bits any reader may ignore.
    pub compat: u32,
    /// Feature bits a reader may ignore, a writer may not.
    pub ro_compat: u32,
    /// Feature bits nobody may ignore.
    pub incompat: u32,
    /// Components of every vector.
    pub dimensions: u32,
    /// 0 f32, 1 f16, 2 i8.
    pub vector_type: u8,
    /// 0 l2, 1 ip, 2 cosine.
    pub metric: u8,
    /// 0 integer, 1 string.
    pub id_type: u8,
    /// 0 auto, 1 none, 2 8-bit, 3 4-bit.
    pub quantization: u8,
    /// Links a new node makes.
    pub m: u16,
    /// Degree bound, and so slot size, of layer 0.
    pub m0: u16,
    /// Candidates held while inserting.
    pub ef_construction: u32,
    /// Entries a table node may use.
    pub fanout: u16,
    /// Rows are grouped in chunks of at least this many bytes.
    pub chunk_bytes: u32,
    /// The caller's model stamp.
    pub model: String,
}

impl Default for Header {
    fn default() -> Self {
        Header {
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            dimensions: 1,
            vector_type: 0,
            metric: 0,
            id_type: 0,
            quantization: 0,
            m: 16,
            m0: 32,
            ef_construction: 200,
            fanout: MAX_FANOUT as u16,
            chunk_bytes: 32 << 10,
            model: String::new(),
        }
    }
}

/// Block 0 as read, not believed.
pub struct UnverifiedHeader<'a>(pub &'a [u8]);

impl UnverifiedHeader<'_> {
    /// Believes the header or says why not. Magic and version come before the checksum, so that a newer file is
    /// never called damaged.
    pub fn verify(self) -> Result<Header> {
        let b = self.0;
        if b.len() < 64 || b[..16] != MAGIC {
            return Err(Error::new(ErrorKind::NotADatabase, "the file is not a Chassis index"));
        }
        let major = get_u16(b, 16);
        if major != MAJOR {
            let text = format!(
                "the file has format version {major}, this release reads {MAJOR}; use a newer release"
            );
            return Err(Error::new(ErrorKind::UnsupportedVersion, text));
        }
        if b.len() < BLOCK {
            return Err(Error::new(ErrorKind::Truncated, format!("the file ends after {} bytes", b.len())));
        }
        if get_u32(b, 20) != BYTE_ORDER || crc(&b[..BLOCK - 4]) != get_u32(b, BLOCK - 4) {
            return Err(Error::corrupt("the header"));
        }
        let incompat = get_u32(b, 36);
        if incompat != 0 {
            let text =
                format!("the file needs features {incompat:#x} that this release lacks; use a newer one");
            return Err(Error::new(ErrorKind::UnsupportedVersion, text));
        }
        let model = b.get(64..64 + get_u16(b, 58) as usize).and_then(|m| std::str::from_utf8(m).ok());
        let header = Header {
            compat: get_u32(b, 28),
            ro_compat: get_u32(b, 32),
            incompat,
            dimensions: get_u32(b, 40),
            vector_type: b[44],
            metric: b[45],
            id_type: b[46],
            quantization: b[47],
            m: get_u16(b, 48),
            m0: get_u16(b, 50),
            ef_construction: get_u32(b, 52),
            fanout: get_u16(b, 56),
            chunk_bytes: get_u32(b, 60),
            model: model.ok_or_else(|| Error::corrupt("the model stamp"))?.to_owned(),
        };
        let sound = get_u32(b, 24) as usize == BLOCK
            && (1..=65_535).contains(&header.dimensions)
            && header.vector_type == 0
            && (2..=64).contains(&header.m)
            && (4..=96).contains(&header.m0)
            && (2..=MAX_FANOUT).contains(&(header.fanout as usize))
            && (64..=1 << 24).contains(&header.chunk_bytes)
            && header.model.len() <= MAX_MODEL;
        if sound { Ok(header) } else { Err(Error::corrupt("a number in the header is out of range")) }
    }
}

impl Header {
    /// The block to write.
    pub fn encode(&self) -> Vec<u8> {
        let mut b = vec![0u8; BLOCK];
        b[..16].copy_from_slice(&MAGIC);
        put_u16(&mut b, 16, MAJOR);
        put_u16(&mut b, 18, MINOR);
        put_u32(&mut b, 20, BYTE_ORDER);
        put_u32(&mut b, 24, BLOCK as u32);
        put_u32(&mut b, 28, self.compat);
        put_u32(&mut b, 32, self.ro_compat);
        put_u32(&mut b, 36, self.incompat);
        put_u32(&mut b, 40, self.dimensions);
        b[44..48].copy_from_slice(&[self.vector_type, self.metric, self.id_type, self.quantization]);
        put_u16(&mut b, 48, self.m);
        put_u16(&mut b, 50, self.m0);
        put_u32(&mut b, 52, self.ef_construction);
        put_u16(&mut b, 56, self.fanout);
        put_u16(&mut b, 58, self.model.len() as u16);
        put_u32(&mut b, 60, self.chunk_bytes);
        b[64..64 + self.model.len()].copy_from_slice(self.model.as_bytes());
        let sum = crc(&b[..BLOCK - 4]);
        put_u32(&mut b, BLOCK - 4, sum);
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let header = Header { dimensions: 1536, m: 8, m0: 48, model: "e5-small".into(), ..Header::default() };
        let bytes = header.encode();
        assert_eq!(UnverifiedHeader(&bytes).verify().unwrap(), header);
        for bit in 0..BLOCK * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(UnverifiedHeader(&bad).verify().is_err(), "bit {bit}");
        }
        for len in 0..BLOCK {
            assert!(UnverifiedHeader(&bytes[..len]).verify().is_err(), "{len} bytes");
        }
    }
}
