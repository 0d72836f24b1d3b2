//! CRC32C over blocks, and fixed-width fields in byte slices.

/// CRC32C of `bytes`.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// A second, independent check value: CRC32C continued from another start.
pub fn crc_with(seed: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, bytes)
}

macro_rules! fields {
    ($($get:ident $put:ident $type:ty;)*) => {$(
        /// Reads a little-endian field; 0 when it lies outside.
        pub fn $get(bytes: &[u8], at: usize) -> $type {
            const N: usize = size_of::<$type>();
            match bytes.get(at..at + N).and_then(|b| <[u8; N]>::try_from(b).ok()) {
                Some(b) => <$type>::from_le_bytes(b),
                None => 0,
            }
        }
        /// Writes a little-endian field.
        pub fn $put(bytes: &mut [u8], at: usize, value: $type) {
            bytes[at..at + size_of::<$type>()].copy_from_slice(&value.to_le_bytes());
        }
    )*};
}
fields! {
    get_u16 put_u16 u16;
    get_u32 put_u32 u32;
    get_u64 put_u64 u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_the_standard_one() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc(&[0u8; 32]), 0x8a91_36aa);
        assert_eq!(crc(b"123456789"), 0xe306_9283);
    }
}
