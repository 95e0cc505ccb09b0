//! The first bytes of a client's stream, put together from segments in any order.

/// Ranges `(start, end)`, sorted, never touching one another.
#[derive(Clone, Debug, Default)]
pub struct Ranges(Vec<(usize, usize)>);

impl Ranges {
    /// Adds a range; those that it touches become one with it.
    pub fn add(&mut self, mut start: usize, mut end: usize) {
        self.0.retain(|&(from, to)| {
            let apart = to < start || from > end;
            if !apart {
                start = start.min(from);
                end = end.max(to);
            }
            apart
        });
        let at = self.0.partition_point(|(from, _)| *from < start);
        self.0.insert(at, (start, end));
    }

    /// Where the first gap begins.
    #[must_use]
    pub fn prefix(&self) -> usize {
        match self.0.first() {
            Some(&(0, end)) => end,
            _ => 0,
        }
    }
}

/// Bytes of a stream from offset 0 on, as far as they can matter to a header. The first copy of a
/// byte wins.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    bytes: Vec<u8>,
    filled: Ranges,
}

impl Assembler {
    /// Adds segment `data` at stream `offset`; what lies before 0 or from `limit` on is left out.
    /// Returns whether it disagrees with bytes that were there already.
    pub fn insert(&mut self, offset: i64, data: &[u8], limit: usize) -> bool {
        let skip = usize::try_from(-offset).unwrap_or(0);
        let start = usize::try_from(offset).unwrap_or(0);
        if skip >= data.len() || start >= limit {
            return false;
        }
        let data = &data[skip..];
        let data = &data[..data.len().min(limit - start)];
        let end = start + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }

        // Fill the gaps between what is there, and compare the rest.
        let mut conflict = false;
        let mut at = start;
        for &(from, to) in self
            .filled
            .0
            .iter()
            .filter(|(from, to)| *from < end && *to > start)
        {
            if at < from {
                self.bytes[at..from].copy_from_slice(&data[at - start..from - start]);
            }
            let (from, to) = (from.max(start), to.min(end));
            conflict |= self.bytes[from..to] != data[from - start..to - start];
            at = to;
        }
        if at < end {
            self.bytes[at..end].copy_from_slice(&data[at - start..]);
        }
        self.filled.add(start, end);
        conflict
    }

    /// The bytes from offset 0 up to the first gap.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.bytes[..self.filled.prefix()]
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled.0.is_empty()
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_come_together() {
        // (segments, prefix, whether the last one disagrees)
        type Row = (
            &'static str,
            &'static [(i64, &'static [u8])],
            &'static [u8],
            bool,
        );
        let table: [Row; 8] = [
            ("in order", &[(0, b"ab"), (2, b"cd")], b"abcd", false),
            ("reversed", &[(2, b"cd"), (0, b"ab")], b"abcd", false),
            ("a gap", &[(0, b"ab"), (3, b"d")], b"ab", false),
            ("nothing at the front", &[(1, b"bc")], b"", false),
            ("repeated", &[(0, b"abcd"), (1, b"bc")], b"abcd", false),
            ("first wins", &[(0, b"ab"), (1, b"XYZ")], b"abYZ", true),
            (
                "over two pieces",
                &[(1, b"b"), (3, b"d"), (0, b"abcde")],
                b"abcde",
                false,
            ),
            ("before the start", &[(-2, b"..ab")], b"ab", false),
        ];
        for (name, segments, prefix, conflict) in table {
            let mut assembler = Assembler::default();
            let mut last = false;
            for (offset, data) in segments {
                last = assembler.insert(*offset, data, 100);
            }
            assert_eq!((assembler.prefix(), last), (prefix, conflict), "{name}");
        }
    }

    #[test]
    fn what_cannot_matter_is_not_kept() {
        let mut assembler = Assembler::default();
        assembler.insert(0, &[7; 300], 107);
        assembler.insert(i64::from(i32::MAX), b"far", 107);
        assert_eq!(assembler.size(), 107);
    }

    proptest! {
        #[test]
        fn any_order_gives_the_stream(
            stream in proptest::collection::vec(any::<u8>(), 1..100),
            cuts in proptest::collection::vec((0usize..100, 0usize..100), 0..40),
        ) {
            let mut assembler = Assembler::default();
            for (a, b) in cuts {
                let (a, b) = (a.min(b).min(stream.len()), a.max(b).min(stream.len()));
                prop_assert!(!assembler.insert(a as i64, &stream[a..b], 100));
                prop_assert!(stream.starts_with(assembler.prefix()));
            }
            assembler.insert(0, &stream, 100);
            prop_assert_eq!(assembler.prefix(), &stream[..]);
        }
    }
}
