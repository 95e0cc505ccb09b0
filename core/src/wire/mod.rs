//! Wire formats: one header family a file, each in the order offsets, checked view, parse, emit, tests.
//!
//! [`packet::parse`] walks a frame once and gives the offsets that the engine needs; everything here
//! is checked against the frame's captured length before it is read.

pub mod checksum;
pub mod ip;
pub mod link;
pub mod packet;
pub mod seq;
pub mod tcp;

pub use seq::Seq;

/// Two bytes at `at`, network order. Panics past the end: callers hold an offset that `parse` checked.
#[inline(always)]
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    let field: &[u8; 2] = bytes[at..at + 2].try_into().expect("two bytes");
    u16::from_be_bytes(*field)
}

/// Four bytes at `at`, network order. Panics past the end, as [`be16`].
#[inline(always)]
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    let field: &[u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(*field)
}

/// Writes two bytes at `at`, network order.
#[inline(always)]
pub fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes four bytes at `at`, network order.
#[inline(always)]
pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}
