//! TCP headers and options (RFC 9293 section 3.1, RFC 2018, RFC 2385, RFC 5925).

use super::{be16, be32};

/// Offset of the source port.
pub const SRC_PORT: usize = 0;
/// Offset of the destination port.
pub const DST_PORT: usize = 2;
/// Offset of the sequence number.
pub const SEQ: usize = 4;
/// Offset of the acknowledgement number.
pub const ACK: usize = 8;
/// Offset of the flags.
pub const FLAGS: usize = 13;
/// Offset of the window.
pub const WINDOW: usize = 14;
/// Offset of the checksum.
pub const CHECKSUM: usize = 16;
/// Offset of the urgent pointer.
pub const URGENT: usize = 18;
/// Length of a header without options.
pub const MIN_LEN: usize = 20;

/// Header flags.
pub mod flag {
    #![allow(missing_docs)]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const CWR: u8 = 0x80;
}

/// Option kinds.
pub mod option {
    #![allow(missing_docs)]
    pub const END: u8 = 0;
    pub const NOP: u8 = 1;
    pub const MSS: u8 = 2;
    pub const SACK: u8 = 5;
    pub const MD5: u8 = 19;
    pub const AO: u8 = 29;
}

/// The length of the header at `l4`; `None` if the frame does not hold all of it or it lies.
#[inline]
#[must_use]
pub fn header_len(frame: &[u8], l4: usize) -> Option<usize> {
    let offset = usize::from(*frame.get(l4 + 12)? >> 4) * 4;
    (offset >= MIN_LEN && l4 + offset <= frame.len()).then_some(offset)
}

/// Whether the options are just "NOP NOP timestamp", the usual case (RFC 7323 appendix A).
#[inline(always)]
#[must_use]
pub fn only_timestamp(options: &[u8]) -> bool {
    options.len() == 12 && be32(options, 0) == 0x0101_080a
}

/// Calls `visit(kind, start, end)` for each option other than END and NOP; offsets are in `options`.
/// Stops at the first option that lies about its length.
pub fn each_option(options: &[u8], mut visit: impl FnMut(u8, usize, usize)) {
    let mut at = 0;
    while at < options.len() {
        match options[at] {
            option::END => return,
            option::NOP => at += 1,
            kind => {
                let Some(&len) = options.get(at + 1) else {
                    return;
                };
                let end = at + usize::from(len);
                if len < 2 || end > options.len() {
                    return;
                }
                visit(kind, at, end);
                at = end;
            }
        }
    }
}

/// Whether the options hold SACK blocks (RFC 2018).
#[must_use]
pub fn has_sack(options: &[u8]) -> bool {
    let mut found = false;
    if !only_timestamp(options) {
        each_option(options, |kind, _, _| found |= kind == option::SACK);
    }
    found
}

/// The maximum segment size that a SYN announces (RFC 9293 section 3.7.1).
#[must_use]
pub fn mss(options: &[u8]) -> Option<u16> {
    let mut found = None;
    each_option(options, |kind, start, end| {
        if kind == option::MSS && end - start == 4 {
            found = Some(be16(options, start + 2));
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_walked_and_lies_end_the_walk() {
        type Row = (&'static str, &'static [u8], &'static [(u8, usize, usize)]);
        let table: &[Row] = &[
            ("none", &[], &[]),
            (
                "nop, nop, timestamp",
                &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                &[(8, 2, 12)],
            ),
            (
                "mss, sack permitted",
                &[2, 4, 5, 180, 4, 2, 1, 1],
                &[(2, 0, 4), (4, 4, 6)],
            ),
            ("end stops", &[0, 2, 4, 5, 180], &[]),
            ("length 0", &[2, 0, 5, 180], &[]),
            ("length 1", &[2, 1, 5, 180], &[]),
            ("past the end", &[5, 10, 0, 0], &[]),
            ("no length byte", &[1, 1, 1, 5], &[]),
        ];
        for (name, options, wanted) in table {
            let mut seen = Vec::new();
            each_option(options, |kind, start, end| seen.push((kind, start, end)));
            assert_eq!(&seen, wanted, "{name}");
        }
    }

    #[test]
    fn mss_of_a_syn() {
        assert_eq!(mss(&[1, 1, 4, 2, 2, 4, 5, 180]), Some(1460));
        assert_eq!(mss(&[1, 1, 4, 2]), None);
    }

    proptest! {
        #[test]
        fn any_options_end(options in proptest::collection::vec(any::<u8>(), 0..40)) {
            each_option(&options, |_, start, end| assert!(start < end && end <= options.len()));
        }
    }
}
