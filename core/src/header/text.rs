//! Addresses and numbers in their canonical text, read from bytes without allocating.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest text of an address: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
pub(crate) const MAX_IP: usize = 45;

/// A decimal number of 16 bits; no sign, no heading zero.
pub(crate) fn decimal(text: &[u8]) -> Option<u16> {
    number(text, 10)
}

/// A hexadecimal number of 16 bits in either case; no prefix, no heading zero.
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u16> {
    number(text, 16)
}

fn number(text: &[u8], radix: u32) -> Option<u16> {
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    text.iter().try_fold(0u16, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(radix as u16)?.checked_add(digit as u16)
    })
}

/// A dotted quad; heading zeros are refused, as they would be octal to some readers.
pub(crate) fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An IPv6 address (RFC 4291 2.2), without a zone.
pub(crate) fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An address of either family.
pub(crate) fn ip(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A byte that occurs in the text of an address or of a port.
pub(crate) fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_canonical() {
        let table: [(&[u8], Option<u16>, Option<u16>); 9] = [
            (b"0", Some(0), Some(0)),
            (b"80", Some(80), Some(0x80)),
            (b"65535", Some(65535), None),
            (b"65536", None, None),
            (b"fFfF", None, Some(0xffff)),
            (b"", None, None),
            (b"080", None, None),
            (b"+80", None, None),
            (b"8 ", None, None),
        ];
        for (text, dec, hex) in table {
            assert_eq!((decimal(text), hexadecimal(text)), (dec, hex), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_canonical() {
        for text in [
            "1.2.3",
            "1.2.3.04",
            "01.2.3.4",
            "256.1.1.1",
            " 1.2.3.4",
            "1.2.3.4.5",
            "",
        ] {
            assert_eq!(ipv4(text.as_bytes()), None, "{text}");
        }
        for text in [
            "::1::",
            "1:2:3:4:5:6:7",
            "12345::",
            "fe80::1%eth0",
            "[::1]",
            "",
        ] {
            assert_eq!(ipv6(text.as_bytes()), None, "{text}");
        }
        let longest = b"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
        assert_eq!(longest.len(), MAX_IP);
        assert!(ipv6(longest).is_some());
        assert_eq!(ip(b"1.2.3.4"), Some([1, 2, 3, 4].into()));
    }
}
