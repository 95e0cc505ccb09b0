//! What is known of connections, and the events that it is put into.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use hashbrown::{HashMap, HashSet};
use memchr::memchr;

use super::changes::Changes;
use super::flows::{self, Flows};
use super::line::{self, Seen, Span};
use super::moment;

// No text of Suricata's in these places is longer.
const MAX_TEXT: usize = 66;

// Longer ones are worth a word, which others say.
const MAX_LINE: usize = 1 << 20;

/// What the store said of one connection, one direction, and what it puts into an event.
pub struct Answer<T> {
    /// Nanoseconds since 1970 for which it holds, both included.
    pub moments: (i64, i64),
    /// The true ends as JSON, if any: source and destination, each an address and a port.
    pub ends: Option<[Vec<u8>; 4]>,
    /// The true `community_id` as JSON, where the event has one.
    pub community_id: Option<Vec<u8>>,
    /// The `peeltap` object, up to where its confidence stands.
    pub member: Vec<u8>,
    /// What the caller calls it.
    pub token: T,
}

/// Of the events that were corrected since they were last asked for.
pub struct Counts<T> {
    /// Events whose flow's start told the connection.
    pub exact: u64,
    /// Events whose own time did.
    pub time: u64,
    /// Events of other protocols.
    pub other: u64,
    /// Of each type known, in the order in which they became so.
    pub types: Vec<(Vec<u8>, u64)>,
    /// How many were alerts.
    pub alerts: u64,
    /// Where each alert stands in its block, and the token of its record, if they are wanted.
    pub told: Option<Vec<(Option<T>, Range<usize>)>>,
}

/// How the events of a block are called: a file's name, and where in it the block begins.
pub type Place<'a> = (&'a [u8], u64);

/// Corrects the events of connections that `Flows` has, or that somebody else decided before.
pub struct Known<T> {
    seed: u16,
    answers: HashMap<Vec<u8>, Answer<T>, ahash::RandomState>,
    key: Vec<u8>,
    held: HashSet<i64, ahash::RandomState>,
    /// See [`Counts`].
    pub counts: Counts<T>,
}

impl<T: Clone> Known<T> {
    /// With Suricata's seed of `community_id`; `tells_alerts`: whether `Counts::told` is wanted.
    #[must_use]
    pub fn new(seed: u16, tells_alerts: bool) -> Self {
        Self {
            seed,
            answers: HashMap::default(),
            key: Vec::new(),
            held: HashSet::default(),
            counts: Counts {
                exact: 0,
                time: 0,
                other: 0,
                types: Vec::new(),
                alerts: 0,
                told: tells_alerts.then(Vec::new),
            },
        }
    }

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

    /// Events of this flow wait elsewhere: what follows them is for others.
    pub fn hold(&mut self, flow: i64) {
        self.held.insert(flow);
    }

    /// None of this flow waits any more.
    pub fn release(&mut self, flow: i64) {
        self.held.remove(&flow);
    }

    /// Nothing waits any more.
    pub fn release_all(&mut self) {
        self.held.clear();
    }

    /// Keep what was decided of `line`, for the next event of its ends. False if it cannot be used.
    pub fn learn(&mut self, line: &[u8], answer: Answer<T>) -> bool {
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
        flows: &mut Flows<T>,
        data: &[u8],
        mut at: usize,
        place: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> (usize, u64) {
        let mut done = 0;
        while let Some(length) = memchr(b'\n', &data[at..]) {
            let written = out.len();
            let whole = at..at + length;
            if length > MAX_LINE || self.line(flows, data, whole, place, out).is_none() {
                out.truncate(written);
                break;
            }
            at += length + 1;
            done += 1;
        }
        (at, done)
    }

    fn line(
        &mut self,
        flows: &mut Flows<T>,
        data: &[u8],
        whole: Range<usize>,
        place: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let line = &data[whole.clone()];
        let seen = line::read(line)?;
        let kind = inside(line, seen.event_type.as_ref()?);
        let types = &self.counts.types;
        let of_type = types.iter().position(|(known, _)| known == kind)?;
        if !self.held.is_empty() && self.follows(line, &seen) {
            return None;
        }
        let mut token = None;
        if is_tcp(line, &seen) {
            token = self.known(flows, line, &seen, out)?;
            if seen.flow_start.is_some() {
                out.extend_from_slice(b",\"confidence\":\"exact\"");
                self.counts.exact += 1;
            } else {
                out.extend_from_slice(b",\"confidence\":\"time\"");
                self.counts.time += 1;
            }
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
            self.counts.other += 1;
        }
        if let Some((file, begin)) = place {
            out.extend_from_slice(b",\"id\":\"");
            out.extend_from_slice(file);
            write_hex(begin + whole.start as u64, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"}}\n");
        self.counts.types[of_type].1 += 1;
        if kind == b"alert" && seen.has_alert {
            self.counts.alerts += 1;
            if let Some(told) = &mut self.counts.told {
                told.push((token, whole));
            }
        }
        Some(())
    }

    /// Whether an earlier event of its flow waits.
    fn follows(&self, line: &[u8], seen: &Seen) -> bool {
        let flow = seen.flow_id.as_ref().map(|span| &line[span.clone()]);
        let number = flow.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        number.is_some_and(|number: i64| self.held.contains(&number))
    }

    /// Write the event `line` of a known connection up to its confidence; the token of an alert's
    /// record, if it is wanted.
    fn known(
        &mut self,
        flows: &mut Flows<T>,
        line: &[u8],
        seen: &Seen,
        out: &mut Vec<u8>,
    ) -> Option<Option<T>> {
        let is_told = seen.has_alert && self.counts.told.is_some();
        let text = seen.flow_start.as_ref().or(seen.timestamp.as_ref())?;
        let moment = moment::parse(inside(line, text))?;
        // 1. Of a connection whose record is here.
        let found = ends(line, seen).and_then(|ends| flows.find(ends, moment, || tags(line, seen)));
        if let Some((record, turned)) = found {
            if seen.community_id.is_some() {
                record.hash(self.seed);
            }
            let mut changes = Changes::default();
            if let Some([a, b, c, d]) = record.ends() {
                let ends = if turned { [c, d, a, b] } else { [a, b, c, d] };
                changes.all(line, seen, ends, record.community_id())?;
            }
            changes.write(line, out);
            write_observed(line, seen, out)?;
            out.extend_from_slice(if turned {
                b",\"direction\":\"to_client\","
            } else {
                b",\"direction\":\"to_server\","
            });
            out.extend_from_slice(record.members());
            return Some(is_told.then(|| record.token.clone()));
        }
        // 2. Of one about which the store was asked.
        write_key(line, seen, &mut self.key)?;
        let answer = self.answers.get(self.key.as_slice())?;
        if moment < answer.moments.0 || moment > answer.moments.1 {
            return None;
        }
        let mut changes = Changes::default();
        if let Some(ends) = &answer.ends {
            let ends = ends.each_ref().map(Vec::as_slice);
            changes.all(line, seen, ends, answer.community_id.as_deref())?;
        }
        changes.write(line, out);
        out.extend_from_slice(b",\"peeltap\":");
        out.extend_from_slice(&answer.member);
        Some(is_told.then(|| answer.token.clone()))
    }
}

/// The root's ends, if they are spelt as Suricata spells addresses.
fn ends(line: &[u8], seen: &Seen) -> Option<flows::Ends> {
    let end = |ip: &Option<Span>, port: &Option<Span>| {
        let ip = address(inside(line, ip.as_ref()?))?;
        let digits = &line[port.clone()?];
        let port = digits
            .iter()
            .fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        Some((ip, port))
    };
    let ends = &seen.ends;
    Some((
        end(&ends.src_ip, &ends.src_port)?,
        end(&ends.dest_ip, &ends.dest_port)?,
    ))
}

/// IPv4 in its only spelling, IPv6 in full.
fn address(text: &[u8]) -> Option<IpAddr> {
    if let Some(b':') = text.get(4) {
        if text.len() != 39 {
            return None;
        }
        let six: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
        return Some(six.into());
    }
    let four: Ipv4Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(four.into())
}

/// The tags of `vlan`, if it is absent or a list of plain numbers.
fn tags(line: &[u8], seen: &Seen) -> Option<Vec<i64>> {
    let Some(span) = &seen.vlan else {
        return Some(Vec::new());
    };
    let text = std::str::from_utf8(&line[span.clone()]).ok()?;
    let list = text.strip_prefix('[')?.strip_suffix(']')?;
    if list.is_empty() {
        return Some(Vec::new());
    }
    let number = |digits: &str| digits.parse().ok();
    list.split(',').map(number).collect()
}

/// `peeltap` up to its direction: the ends as they stand in the event.
fn write_observed(line: &[u8], seen: &Seen, out: &mut Vec<u8>) -> Option<()> {
    let ends = &seen.ends;
    for (name, span) in [
        (
            &b",\"peeltap\":{\"observed\":{\"src_ip\":"[..],
            &ends.src_ip,
        ),
        (b",\"src_port\":", &ends.src_port),
        (b",\"dest_ip\":", &ends.dest_ip),
        (b",\"dest_port\":", &ends.dest_port),
    ] {
        out.extend_from_slice(name);
        out.extend_from_slice(&line[span.clone()?]);
    }
    if let Some(span) = &seen.community_id {
        out.extend_from_slice(b",\"community_id\":");
        out.extend_from_slice(&line[span.clone()]);
    }
    out.push(b'}');
    Some(())
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

#[cfg(test)]
mod tests {
    use super::{Answer, Known};
    use crate::events::flows::{Facts, Flows};

    const LINE: &str = r#"{"timestamp":"2026-01-01T00:00:01.000000+0000","event_type":"alert","src_ip":"10.0.0.2","src_port":9000,"dest_ip":"10.0.0.1","dest_port":40000,"proto":"TCP","alert":{"source":{"ip":"10.0.0.1","port":40000}}}"#;

    fn answer() -> Answer<u32> {
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

    fn done(known: &mut Known<u32>, text: &str) -> (usize, String) {
        of_flows(known, &mut Flows::default(), text)
    }

    fn of_flows(known: &mut Known<u32>, flows: &mut Flows<u32>, text: &str) -> (usize, String) {
        let mut out = Vec::new();
        let (at, _) = known.correct(flows, text.as_bytes(), 0, Some((b"file", 15)), &mut out);
        (at, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn what_was_learnt_goes_into_the_next() {
        let mut known = Known::new(0, true);
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
            known.counts.told.as_ref().map(|told| told[1].clone()),
            Some((Some(7), LINE.len() + 1..2 * LINE.len() + 1))
        );
        assert_eq!(known.counts.alerts, 2);
        known.clear();
        assert_eq!(done(&mut known, &block).0, 0);
    }

    #[test]
    fn other_ends_and_other_moments_are_for_others() {
        let mut known = Known::new(0, true);
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
        let mut known = Known::new(0, true);
        known.allow(b"dns");
        let line = r#"{"event_type":"dns","src_ip":"a","proto":"UDP"}"#;
        let (at, out) = done(&mut known, &format!("{line}\n"));
        assert_eq!(at, line.len() + 1);
        assert!(out.ends_with(",\"peeltap\":{\"confidence\":\"none\",\"id\":\"file-f\"}}\n"));
        assert_eq!(done(&mut known, &(line.replace("UDP", "ICMP") + "\n")).0, 0);
        assert!(!known.learn(line.as_bytes(), answer()));
    }

    fn end(text: &str) -> (std::net::IpAddr, u16) {
        let end: std::net::SocketAddr = text.parse().expect("an end");
        (end.ip(), end.port())
    }

    fn flows() -> Flows<u32> {
        let mut flows = Flows::default();
        let facts = Facts {
            id: "f",
            truth: Some((end("203.0.113.7:5"), end("192.0.2.1:80"))),
            vlan: vec![],
            start: 0,
            end: None,
            codecs: &["magic"],
            verdict: "stripped",
        };
        flows.keep((end("10.0.0.1:40000"), end("10.0.0.2:9000")), &facts, 9);
        flows
    }

    #[test]
    fn a_record_needs_no_answer() {
        let mut known = Known::new(7, true);
        known.allow(b"alert");
        let line = LINE.replace(r#""proto""#, r#""community_id":"1:x","proto""#);
        let (at, out) = of_flows(&mut known, &mut flows(), &format!("{line}\n"));
        assert_eq!(at, line.len() + 1);
        let expected = r#"{"timestamp":"2026-01-01T00:00:01.000000+0000","event_type":"alert","src_ip":"192.0.2.1","src_port":80,"dest_ip":"203.0.113.7","dest_port":5,"community_id":"1:HASH","proto":"TCP","alert":{"source":{"ip":"203.0.113.7","port":5}},"peeltap":{"observed":{"src_ip":"10.0.0.2","src_port":9000,"dest_ip":"10.0.0.1","dest_port":40000,"community_id":"1:x"},"direction":"to_client","flow":"f","codec":["magic"],"verdict":"stripped","confidence":"time","id":"file-f"}}"#;
        let hash = out.split("\"1:").nth(1).and_then(|rest| rest.get(..28));
        assert_eq!(out.trim_end(), expected.replace("HASH", hash.expect("one")));
        assert_eq!(known.counts.told, Some(vec![(Some(9), 0..line.len())]));
    }

    #[test]
    fn what_follows_an_event_that_waits_is_for_others() {
        let mut known = Known::new(0, false);
        known.allow(b"alert");
        let mut flows = flows();
        known.hold(5);
        for (flow, taken) in [
            (r#""flow_id":5,"#, false),
            (r#""flow_id":6,"#, true),
            (r#""flow_id":5.0,"#, true),
            (r#""flow_id":"5","#, true),
            (r#""flow_id":6,"flow_id":6,"#, false),
            ("", true),
        ] {
            let line = LINE.replacen('{', &format!("{{{flow}"), 1);
            let (at, _) = of_flows(&mut known, &mut flows, &format!("{line}\n"));
            assert_eq!(at > 0, taken, "{flow}");
        }
        known.release(5);
        let line = LINE.replacen('{', r#"{"flow_id":5,"#, 1);
        assert!(of_flows(&mut known, &mut flows, &format!("{line}\n")).0 > 0);
        known.hold(5);
        known.release_all();
        assert!(of_flows(&mut known, &mut flows, &format!("{line}\n")).0 > 0);
        assert_eq!(known.counts.told, None);
        assert_eq!(known.counts.alerts, 6);
    }
}
