//! New values in an event's text, in the places that name its ends.

use super::line::{Ends, Seen, Span};

/// What stands in the place of what, at most: the root's five, four of the flow, two of each side.
const MAX_CHANGES: usize = 13;

/// Values to come, and where.
#[derive(Default)]
pub struct Changes<'a> {
    list: [(usize, usize, &'a [u8]); MAX_CHANGES],
    count: usize,
}

impl<'a> Changes<'a> {
    fn add(&mut self, span: &Span, text: &'a [u8]) {
        self.list[self.count] = (span.start, span.end, text);
        self.count += 1;
    }

    /// Every place that names an end; None if one names another than the root's.
    pub fn all(
        &mut self,
        line: &[u8],
        seen: &Seen,
        ends: [&'a [u8]; 4],
        community_id: Option<&'a [u8]>,
    ) -> Option<()> {
        let root = &seen.ends;
        self.pair(line, root, root, ends)?;
        if let Some(span) = &seen.community_id {
            self.add(span, community_id?);
        }
        if let Some(flow) = &seen.flow {
            self.pair(line, root, flow, ends)?;
        }
        for (ip, port) in seen.sides.iter().flatten() {
            self.end(line, root, ip, port, ends)?;
        }
        Some(())
    }

    fn pair(&mut self, line: &[u8], root: &Ends, named: &Ends, ends: [&'a [u8]; 4]) -> Option<()> {
        let (src, dest) = (named.src_ip.as_ref()?, named.dest_ip.as_ref()?);
        self.end(line, root, src, named.src_port.as_ref()?, ends)?;
        self.end(line, root, dest, named.dest_port.as_ref()?, ends)
    }

    fn end(
        &mut self,
        line: &[u8],
        root: &Ends,
        ip: &Span,
        port: &Span,
        ends: [&'a [u8]; 4],
    ) -> Option<()> {
        let is = |other_ip: &Option<Span>, other_port: &Option<Span>| {
            Some(
                line[ip.clone()] == line[other_ip.clone()?]
                    && line[port.clone()] == line[other_port.clone()?],
            )
        };
        let source = is(&root.src_ip, &root.src_port)?;
        let at = match (source, is(&root.dest_ip, &root.dest_port)?) {
            (true, false) => 0,
            (false, true) => 2,
            // Both, or neither: others know better.
            _ => return None,
        };
        self.add(ip, ends[at]);
        self.add(port, ends[at + 1]);
        Some(())
    }

    /// The line with all changes made, but for the brace that ends it.
    pub fn write(mut self, line: &[u8], out: &mut Vec<u8>) {
        let list = &mut self.list[..self.count];
        list.sort_unstable_by_key(|one| one.0);
        let mut from = 0;
        for (start, end, text) in list.iter() {
            out.extend_from_slice(&line[from..*start]);
            out.extend_from_slice(text);
            from = *end;
        }
        out.extend_from_slice(&line[from..line.len() - 1]);
    }
}
