//! What is known of connections, and the events that it is put into.

use std::ops::Range;

use hashbrown::HashMap;

use super::line::{self, Ends, Seen, Span};
use super::moment;

// No text of Suricata's in these places is longer.
const MAX_TEXT: usize = 66;

// Longer ones are worth a word, which others say.
const MAX_LINE: usize = 1 << 20;

/// What is put into the events of one connection, one direction.
pub struct Answer {
    /// Nanoseconds since 1970 for which it holds, both included.
    pub moments: (i64, i64),
    /// The true ends as JSON, if any: source and destination, each an address and a port.
    pub ends: Option<[Vec<u8>; 4]>,
    /// The true `community_id` as JSON, where the event has one.
    pub community_id: Option<Vec<u8>>,
    /// The `peeltap` object, up to where its confidence stands.
    pub member: Vec<u8>,
    /// What the caller calls it.
    pub token: usize,
}

/// Of the events that were corrected since they were last asked for.
#[derive(Default)]
pub struct Counts {
    /// Events whose flow's start told the connection.
    pub exact: u64,
    /// Events whose own time did.
    pub time: u64,
    /// Events of other protocols.
    pub other: u64,
    /// Of each type known, in the order in which they became so.
    pub types: Vec<(Vec<u8>, u64)>,
    /// Where each alert stands in its block, and the token of its answer.
    pub alerts: Vec<(Option<usize>, Range<usize>)>,
}

/// How the events of a block are called: a file's name, and where in it the block begins.
pub type Place<'a> = (&'a [u8], u64);

/// Answers by what an event tells of its ends.
#[derive(Default)]
pub struct Known {
    answers: HashMap<Vec<u8>, Answer, ahash::RandomState>,
    key: Vec<u8>,
    /// See [`Counts`].
    pub counts: Counts,
}

impl Known {
    /// Forget all answers: the connections have changed.
    pub fn clear(&mut self) {
        self.answers.clear();
    }

    /// How many answers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Events of this type may be corrected from now on.
    pub fn allow(&mut self, kind: &[u8]) {
        if !self.counts.types.iter().any(|(known, _)| known == kind) {
            self.counts.types.push((kind.to_vec(), 0));
        }
    }

    /// Keep what was decided of `line`, for the next event of its ends. False if it cannot be used.
    pub fn learn(&mut self, line: &[u8], answer: Answer) -> bool {
        let Some(seen) = line::read(line) else {
            return false;
        };
        if !is_tcp(line, &seen)
            || write_key(line, &seen, &mut self.key).is_none()
            || seen.community_id.is_some() && answer.ends.is_some() != answer.community_id.is_some()
        {
            return false;
        }
        self.answers.insert(self.key.clone(), answer);
        true
    }

    /// Correct the lines of `data` from `at` on into `out`, each with its newline, up to the first
    /// that is for others. Returns where that one begins, or the end, and how many were done.
    pub fn correct(
        &mut self,
        data: &[u8],
        mut at: usize,
        place: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> (usize, u64) {
        let mut done = 0;
        while let Some(length) = data[at..].iter().position(|&byte| byte == b'\n') {
            if length > MAX_LINE || self.line(data, at..at + length, place, out).is_none() {
                break;
            }
            at += length + 1;
            done += 1;
        }
        (at, done)
    }

    fn line(
        &mut self,
        data: &[u8],
        whole: Range<usize>,
        place: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let line = &data[whole.clone()];
        let seen = line::read(line)?;
        let kind = inside(line, seen.event_type.as_ref()?);
        let counts = &mut self.counts;
        let (_, of_type) = counts.types.iter_mut().find(|(known, _)| known == kind)?;
        let mut token = None;
        if is_tcp(line, &seen) {
            // 1. Its connection.
            write_key(line, &seen, &mut self.key)?;
            let answer = self.answers.get(self.key.as_slice())?;
            // 2. Its moment.
            let text = seen.flow_start.as_ref().or(seen.timestamp.as_ref())?;
            let moment = moment::parse(inside(line, text))?;
            if moment < answer.moments.0 || moment > answer.moments.1 {
                return None;
            }
            // 3. The correction.
            let mut changes = Changes::default();
            if let Some(ends) = &answer.ends {
                changes.all(line, &seen, ends, answer.community_id.as_deref())?;
            }
            changes.write(line, out);
            out.extend_from_slice(b",\"peeltap\":");
            out.extend_from_slice(&answer.member);
            if seen.flow_start.is_some() {
                out.extend_from_slice(b",\"confidence\":\"exact\"");
                counts.exact += 1;
            } else {
                out.extend_from_slice(b",\"confidence\":\"time\"");
                counts.time += 1;
            }
            token = Some(answer.token);
        } else {
            let proto = inside(line, seen.proto.as_ref()?);
            // One of ICMP may quote a connection.
            if proto.windows(4).any(|part| part == b"ICMP")
                || seen.ends.src_ip.is_none() && seen.ends.dest_ip.is_none()
            {
                return None;
            }
            out.extend_from_slice(&line[..line.len() - 1]);
            out.extend_from_slice(b",\"peeltap\":{\"confidence\":\"none\"");
            counts.other += 1;
        }
        if let Some((file, begin)) = place {
            out.extend_from_slice(b",\"id\":\"");
            out.extend_from_slice(file);
            write_hex(begin + whole.start as u64, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"}}\n");
        *of_type += 1;
        if kind == b"alert" {
            counts.alerts.push((token, whole));
        }
        Some(())
    }
}

fn is_tcp(line: &[u8], seen: &Seen) -> bool {
    seen.proto
        .as_ref()
        .is_some_and(|proto| inside(line, proto) == b"TCP")
}

/// A string without its quotes.
fn inside<'a>(line: &'a [u8], span: &Span) -> &'a [u8] {
    &line[span.start + 1..span.end - 1]
}

/// All by which a connection is looked up, but for the moment.
fn write_key(line: &[u8], seen: &Seen, key: &mut Vec<u8>) -> Option<()> {
    key.clear();
    let ends = &seen.ends;
    let needed = [&ends.src_ip, &ends.src_port, &ends.dest_ip, &ends.dest_port];
    for (at, one) in needed
        .into_iter()
        .chain([&seen.community_id, &seen.vlan])
        .enumerate()
    {
        match one {
            Some(span) if span.len() <= MAX_TEXT => key.extend_from_slice(&line[span.clone()]),
            None if at >= needed.len() => {}
            _ => return None,
        }
        // In no text of UTF-8.
        key.push(0xFF);
    }
    Some(())
}

fn write_hex(number: u64, out: &mut Vec<u8>) {
    out.push(b'-');
    let digits = (16 - number.leading_zeros() as usize / 4).max(1);
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * at)) as usize & 15]);
    }
}

/// What stands in the place of what, at most: the root's five, four of the flow, two of each side.
const MAX_CHANGES: usize = 13;

#[derive(Default)]
struct Changes<'a> {
    list: [(usize, usize, &'a [u8]); MAX_CHANGES],
    count: usize,
}

impl<'a> Changes<'a> {
    fn add(&mut self, span: &Span, text: &'a [u8]) {
        self.list[self.count] = (span.start, span.end, text);
        self.count += 1;
    }

    /// Every place that names an end; None if one names another than the root's.
    fn all(
        &mut self,
        line: &[u8],
        seen: &Seen,
        ends: &'a [Vec<u8>; 4],
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

    fn pair(
        &mut self,
        line: &[u8],
        root: &Ends,
        named: &Ends,
        ends: &'a [Vec<u8>; 4],
    ) -> Option<()> {
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
        ends: &'a [Vec<u8>; 4],
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
        self.add(ip, &ends[at]);
        self.add(port, &ends[at + 1]);
        Some(())
    }

    /// The line with all changes made, but for the brace that ends it.
    fn write(mut self, line: &[u8], out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use super::{Answer, Known};

    const LINE: &str = r#"{"timestamp":"2026-01-01T00:00:01.000000+0000","event_type":"alert","src_ip":"10.0.0.2","src_port":9000,"dest_ip":"10.0.0.1","dest_port":40000,"proto":"TCP","alert":{"source":{"ip":"10.0.0.1","port":40000}}}"#;

    fn answer() -> Answer {
        let text = |text: &str| text.as_bytes().to_vec();
        Answer {
            moments: (0, i64::MAX),
            ends: Some([
                text(r#""192.0.2.1""#),
                text("80"),
                text(r#""203.0.113.7""#),
                text("5"),
            ]),
            community_id: None,
            member: text(r#"{"flow":"f""#),
            token: 7,
        }
    }

    fn done(known: &mut Known, text: &str) -> (usize, String) {
        let mut out = Vec::new();
        let (at, _) = known.correct(text.as_bytes(), 0, Some((b"file", 15)), &mut out);
        (at, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn what_was_learnt_goes_into_the_next() {
        let mut known = Known::default();
        let block = format!("{LINE}\n{LINE}\nrest");
        assert_eq!(done(&mut known, &block), (0, String::new()));
        assert!(known.learn(LINE.as_bytes(), answer()));
        // Its type is not known yet.
        assert_eq!(done(&mut known, &block), (0, String::new()));
        known.allow(b"alert");
        let (at, out) = done(&mut known, &block);
        assert_eq!(at, block.len() - 4);
        let expected = r#"{"timestamp":"2026-01-01T00:00:01.000000+0000","event_type":"alert","src_ip":"192.0.2.1","src_port":80,"dest_ip":"203.0.113.7","dest_port":5,"proto":"TCP","alert":{"source":{"ip":"203.0.113.7","port":5}},"peeltap":{"flow":"f","confidence":"time","id":"file-f"}}"#;
        assert_eq!(out.lines().next(), Some(expected));
        assert_eq!(known.counts.time, 2);
        assert_eq!(
            known.counts.alerts[1],
            (Some(7), LINE.len() + 1..2 * LINE.len() + 1)
        );
        known.clear();
        assert_eq!(done(&mut known, &block).0, 0);
    }

    #[test]
    fn other_ends_and_other_moments_are_for_others() {
        let mut known = Known::default();
        known.allow(b"alert");
        let mut one = answer();
        one.moments = (0, 5);
        assert!(known.learn(LINE.as_bytes(), one));
        assert_eq!(done(&mut known, &format!("{LINE}\n")).0, 0);
        assert!(known.learn(LINE.as_bytes(), answer()));
        let other = LINE.replace(r#""ip":"10.0.0.1""#, r#""ip":"10.0.0.9""#);
        assert_eq!(done(&mut known, &format!("{other}\n")).0, 0);
        assert_eq!(known.len(), 1);
        assert!(!known.is_empty());
    }

    #[test]
    fn another_protocol_needs_no_answer() {
        let mut known = Known::default();
        known.allow(b"dns");
        let line = r#"{"event_type":"dns","src_ip":"a","proto":"UDP"}"#;
        let (at, out) = done(&mut known, &format!("{line}\n"));
        assert_eq!(at, line.len() + 1);
        assert!(out.ends_with(",\"peeltap\":{\"confidence\":\"none\",\"id\":\"file-f\"}}\n"));
        assert_eq!(done(&mut known, &(line.replace("UDP", "ICMP") + "\n")).0, 0);
        assert!(!known.learn(line.as_bytes(), answer()));
    }
}
