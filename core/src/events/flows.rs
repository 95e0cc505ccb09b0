//! The newest flow records: which connection holds a moment. The rule is that of the stores.
//!
//! A record is kept under its ends, whichever of them is named first. What the rule says of plain
//! records is decided here; a tuple that holds any other (`keep_odd`) is left to the store whole.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use hashbrown::HashMap;

/// An event may carry a time slightly before its connection's first packet; the stores' EARLY_NS.
const EARLY_NS: i64 = 1_000_000;

/// `1:` and the base64 of twenty bytes, with quotes.
const HASH_BYTES: usize = 32;

/// An address and a port.
pub type End = (IpAddr, u16);

/// The two ends of a connection, its client first; or of an event, its source first.
pub type Ends = (End, End);

/// What an event takes over from a flow record.
pub struct Facts<'a> {
    /// Names the record.
    pub id: &'a str,
    /// The client and the server, if a header told them.
    pub truth: Option<Ends>,
    /// Outermost first.
    pub vlan: Vec<i64>,
    /// Nanoseconds since 1970.
    pub start: i64,
    /// Likewise; None while it is open.
    pub end: Option<i64>,
    /// Names of the codecs of its headers, the outermost first.
    pub codecs: &'a [&'a str],
    /// As the engine names it.
    pub verdict: &'a str,
}

/// A record as events need it: everything is text already.
pub struct Record<T> {
    start: i64,
    end: i64,
    is_odd: bool,
    /// Whether the lesser of the two ends is the client.
    by_lesser: bool,
    vlan: Box<[i64]>,
    truth: Option<Ends>,
    /// The client's true address and port, the server's, and members of `peeltap`, as JSON.
    text: Box<[u8]>,
    /// Where the first four of these end.
    cuts: [u8; 4],
    /// With the seed that it was made with.
    community_id: Option<(u16, [u8; HASH_BYTES])>,
    /// What the caller calls it.
    pub token: T,
}

impl<T> Record<T> {
    fn new(ends: Ends, facts: &Facts<'_>, token: T) -> Option<Self> {
        let (text, cuts) = written(facts)?;
        Some(Self {
            start: facts.start,
            end: facts.end.unwrap_or(i64::MAX),
            is_odd: false,
            by_lesser: ends.0 < ends.1,
            vlan: facts.vlan.clone().into(),
            truth: facts.truth,
            text,
            cuts,
            community_id: None,
            token,
        })
    }

    fn odd(token: T) -> Self {
        Self {
            // Before all others.
            start: i64::MIN,
            end: i64::MIN,
            is_odd: true,
            by_lesser: false,
            vlan: Box::default(),
            truth: None,
            text: Box::default(),
            cuts: [0; 4],
            community_id: None,
            token,
        }
    }

    /// EVE cuts its times, so starts are compared in whole microseconds.
    fn begun(&self) -> i64 {
        self.start.saturating_sub(self.start.rem_euclid(1000))
    }

    /// Compute the hash of the true ends, if there are any; see `community_id`.
    pub fn hash(&mut self, seed: u16) {
        if let Some(ends) = self.truth {
            if self.community_id.is_none_or(|(of, _)| of != seed) {
                self.community_id = Some((seed, community_id(ends, seed)));
            }
        }
    }

    /// The true ends' Community ID as JSON, once `hash` was called.
    #[must_use]
    pub fn community_id(&self) -> Option<&[u8]> {
        self.community_id.as_ref().map(|(_, text)| text.as_slice())
    }

    /// The true ends as JSON, if there are any: client and server, each an address and a port.
    #[must_use]
    pub fn ends(&self) -> Option<[&[u8]; 4]> {
        let [a, b, c, d] = self.cuts.map(usize::from);
        let text = &self.text;
        self.truth
            .is_some()
            .then(|| [&text[..a], &text[a..b], &text[b..c], &text[c..d]])
    }

    /// Members of `peeltap`, from `flow` to `verdict`.
    #[must_use]
    pub fn members(&self) -> &[u8] {
        &self.text[usize::from(self.cuts[3])..]
    }
}

fn written(facts: &Facts<'_>) -> Option<(Box<[u8]>, [u8; 4])> {
    let mut text = Vec::with_capacity(128);
    let mut cuts = [0; 4];
    if let Some((client, server)) = facts.truth {
        for (at, (ip, port)) in [client, server].into_iter().enumerate() {
            write_address(ip, &mut text);
            cuts[2 * at] = u8::try_from(text.len()).ok()?;
            text.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
            cuts[2 * at + 1] = u8::try_from(text.len()).ok()?;
        }
    }
    text.extend_from_slice(b"\"flow\":");
    write_name(facts.id, &mut text)?;
    text.extend_from_slice(b",\"codec\":[");
    for (at, codec) in facts.codecs.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        write_name(codec, &mut text)?;
    }
    text.extend_from_slice(b"],\"verdict\":");
    write_name(facts.verdict, &mut text)?;
    Some((text.into(), cuts))
}

/// As Suricata spells it: IPv6 in full.
fn write_address(ip: IpAddr, text: &mut Vec<u8>) {
    text.push(b'"');
    match ip {
        IpAddr::V4(four) => {
            for (at, byte) in four.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push(b'.');
                }
                text.extend_from_slice(itoa::Buffer::new().format(byte).as_bytes());
            }
        }
        IpAddr::V6(six) => {
            for (at, byte) in six.octets().into_iter().enumerate() {
                if at > 0 && at % 2 == 0 {
                    text.push(b':');
                }
                text.push(HEX[usize::from(byte >> 4)]);
                text.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    text.push(b'"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A name as JSON, if it is spelt there as it reads.
fn write_name(name: &str, text: &mut Vec<u8>) -> Option<()> {
    let is_plain = |byte: u8| (b' '..0x7F).contains(&byte) && byte != b'"' && byte != b'\\';
    if !name.bytes().all(is_plain) {
        return None;
    }
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.push(b'"');
    Some(())
}

/// Community ID, version 1, as JSON (github.com/corelight/community-id-spec).
fn community_id((client, server): Ends, seed: u16) -> [u8; HASH_BYTES] {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    };
    let mut ends = [client, server].map(|(ip, port)| (octets(ip), port.to_be_bytes()));
    ends.sort();
    let [(low, low_port), (high, high_port)] = &ends;
    let mut sha = sha1_smol::Sha1::new();
    const TCP: [u8; 2] = [6, 0];
    for part in [
        &seed.to_be_bytes()[..],
        low,
        high,
        &TCP,
        low_port,
        high_port,
    ] {
        sha.update(part);
    }
    let mut text = *b"\"1:____________________________\"";
    let written = STANDARD.encode_slice(sha.digest().bytes(), &mut text[3..HASH_BYTES - 1]);
    debug_assert_eq!(written, Ok(HASH_BYTES - 4));
    text
}

/// Records by their ends.
pub struct Flows<T> {
    slots: HashMap<[End; 2], Vec<Record<T>>, ahash::RandomState>,
    count: usize,
}

impl<T> Default for Flows<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::default(),
            count: 0,
        }
    }
}

impl<T> Flows<T> {
    /// Keep a record of `ends`, behind those that began with it; false if it is none for events.
    pub fn keep(&mut self, ends: Ends, facts: &Facts<'_>, token: T) -> bool
    where
        T: Clone,
    {
        let Some(record) = Record::new(ends, facts, token.clone()) else {
            self.keep_odd(ends, token);
            return false;
        };
        let slot = self.slot(ends);
        let at = slot.partition_point(|other| other.start <= record.start);
        slot.insert(at, record);
        true
    }

    /// Keep in mind that there is a record of `ends` of which only the store knows what to say.
    pub fn keep_odd(&mut self, ends: Ends, token: T) {
        self.slot(ends).insert(0, Record::odd(token));
    }

    /// Where one more record of `ends` goes.
    fn slot(&mut self, ends: Ends) -> &mut Vec<Record<T>> {
        self.count += 1;
        let slot = self.slots.entry(key(ends)).or_default();
        // Nearly always it stays the only one.
        slot.reserve_exact(1);
        slot
    }

    /// Forget the records of `ends` that are called so.
    pub fn forget(&mut self, ends: Ends, is: impl Fn(&T) -> bool) {
        let key = key(ends);
        if let Some(slot) = self.slots.get_mut(&key) {
            let before = slot.len();
            slot.retain(|record| !is(&record.token));
            self.count -= before - slot.len();
            if slot.is_empty() {
                self.slots.remove(&key);
            }
        }
    }

    /// Forget all.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.count = 0;
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The record of an event of `ends` at `moment`, and whether its source is the server.
    ///
    /// It is the one that the store finds: the latest that had begun, on the event's VLAN if there
    /// is one there. None where that is not sure, none is known, or the moment lies after its end.
    /// `vlan` is asked for the event's tags if they decide.
    pub fn find(
        &mut self,
        (source, target): Ends,
        moment: i64,
        vlan: impl FnOnce() -> Option<Vec<i64>>,
    ) -> Option<(&mut Record<T>, bool)> {
        // Both directions at once: only the store knows the order of its candidates.
        if source == target {
            return None;
        }
        let slot = self.slots.get_mut(&key((source, target)))?;
        let by_lesser = source < target;
        let at = match slot.as_slice() {
            [only] => {
                (!only.is_odd && only.begun() <= moment.saturating_add(EARLY_NS)).then_some(0)
            }
            several => choose(several, by_lesser, moment, &vlan()?),
        }?;
        let record = &mut slot[at];
        let is_turned = record.by_lesser != by_lesser;
        (moment <= record.end).then_some((record, is_turned))
    }
}

/// The place of the record that holds `moment`; `choose` of the stores, for plain records.
fn choose<T>(records: &[Record<T>], by_lesser: bool, moment: i64, vlan: &[i64]) -> Option<usize> {
    if records.iter().any(|record| record.is_odd) {
        return None;
    }
    // 1. What had begun, or was about to.
    let limit = moment.saturating_add(EARLY_NS);
    let begun = || {
        let each = records.iter().enumerate();
        each.filter(move |(_, record)| record.begun() <= limit)
    };
    // 2. Of those the ones on the event's VLAN, if there are any.
    let is_there = |record: &Record<T>| *record.vlan == *vlan;
    let any_there = begun().any(|(_, record)| is_there(record));
    let candidates = || begun().filter(move |(_, record)| !any_there || is_there(record));
    // 3. The latest of them that had begun; if none had, the latest that was about to. Of equal
    // ones the event's own direction comes first, and then the one that came first.
    let rank = |record: &Record<T>| (record.start, record.by_lesser == by_lesser);
    let best = |latest: i64| {
        candidates()
            .filter(|(_, record)| record.begun() <= latest)
            .reduce(|best, other| match rank(other.1).cmp(&rank(best.1)) {
                Ordering::Greater => other,
                _ => best,
            })
    };
    best(moment).or_else(|| best(limit)).map(|(at, _)| at)
}

fn key((one, other): Ends) -> [End; 2] {
    if one <= other {
        [one, other]
    } else {
        [other, one]
    }
}

#[cfg(test)]
mod tests {
    use super::{community_id, Ends, Facts, Flows};

    fn ends(client: &str, server: &str) -> Ends {
        let end = |text: &str| {
            let at: std::net::SocketAddr = text.parse().expect("an end");
            (at.ip(), at.port())
        };
        (end(client), end(server))
    }

    fn leg() -> Ends {
        ends("172.16.23.1:40000", "172.16.23.2:9000")
    }

    fn facts(start: i64, end: Option<i64>, vlan: &[i64]) -> Facts<'static> {
        Facts {
            id: "9f0c",
            truth: Some(ends("203.0.113.7:5", "[2001:db8::1]:80")),
            vlan: vlan.to_vec(),
            start,
            end,
            codecs: &["agent", "magic"],
            verdict: "stripped",
        }
    }

    fn turned((one, other): Ends) -> Ends {
        (other, one)
    }

    fn found(flows: &mut Flows<u32>, ends: Ends, moment: i64) -> Option<(u32, bool)> {
        let (record, is_turned) = flows.find(ends, moment, || Some(vec![5]))?;
        Some((record.token, is_turned))
    }

    #[test]
    fn a_record_is_text() {
        let mut flows = Flows::default();
        assert!(flows.keep(leg(), &facts(0, None, &[]), 1));
        let (record, _) = flows.find(leg(), 0, || None).expect("known");
        assert_eq!(
            record.ends().expect("true ones").concat(),
            br#""203.0.113.7"5"2001:0db8:0000:0000:0000:0000:0000:0001"80"#
        );
        assert_eq!(
            record.members(),
            br#""flow":"9f0c","codec":["agent","magic"],"verdict":"stripped""#
        );
        assert_eq!(record.community_id(), None);
        record.hash(0);
        assert_eq!(record.community_id().map(<[u8]>::len), Some(32));
    }

    #[test]
    fn hashes_of_the_specification() {
        for (client, server, seed, expected) in [
            (
                "128.232.110.120:34855",
                "66.35.250.204:80",
                0,
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                "66.35.250.204:80",
                "128.232.110.120:34855",
                0,
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                "128.232.110.120:34855",
                "66.35.250.204:80",
                1,
                "1:3V71V58M3Ksw/yuFALMcW0LAHvc=",
            ),
        ] {
            let text = community_id(ends(client, server), seed);
            assert_eq!(text, format!("\"{expected}\"").as_bytes());
        }
    }

    #[test]
    fn epochs() {
        let mut flows = Flows::default();
        flows.keep(leg(), &facts(2_000_999, Some(9_000_000), &[]), 2);
        // Slightly before, within its life, after it; each from both sides.
        for (moment, expected) in [
            (999_999, None),
            (1_000_000, Some(2)),
            (9_000_000, Some(2)),
            (9_000_001, None),
        ] {
            let known = found(&mut flows, leg(), moment);
            assert_eq!(known, expected.map(|token| (token, false)), "{moment}");
            let known = found(&mut flows, turned(leg()), moment);
            assert_eq!(known, expected.map(|token| (token, true)), "{moment}");
        }
        // An earlier epoch, and a later one by the other end.
        flows.keep(leg(), &facts(0, Some(1), &[]), 1);
        flows.keep(turned(leg()), &facts(5_000_000, None, &[]), 3);
        for (moment, expected) in [
            (0, Some((1, false))),
            (1_500_000, None),
            (2_000_000, Some((2, false))),
            (4_999_999, Some((2, false))),
            (5_000_000, Some((3, true))),
            (i64::MAX, Some((3, true))),
        ] {
            assert_eq!(found(&mut flows, leg(), moment), expected, "{moment}");
        }
        assert_eq!(flows.len(), 3);
        flows.forget(leg(), |&token| token == 3);
        assert_eq!(found(&mut flows, leg(), 5_000_000), Some((2, false)));
        flows.clear();
        assert!(flows.is_empty());
    }

    #[test]
    fn the_events_vlan_decides_where_it_is_known() {
        let mut flows = Flows::default();
        flows.keep(leg(), &facts(0, None, &[5]), 1);
        flows.keep(leg(), &facts(1000, None, &[6]), 2);
        assert_eq!(found(&mut flows, leg(), 9_000_000), Some((1, false)));
        let other = flows.find(leg(), 9_000_000, || Some(vec![7]));
        assert_eq!(other.map(|(record, _)| record.token), Some(2));
        // Tags that cannot be read are the store's.
        assert!(flows.find(leg(), 9_000_000, || None).is_none());
    }

    #[test]
    fn of_equal_starts_the_events_own_direction_is_first() {
        let mut flows = Flows::default();
        flows.keep(turned(leg()), &facts(0, None, &[]), 1);
        flows.keep(leg(), &facts(0, None, &[]), 2);
        flows.keep(leg(), &facts(0, None, &[]), 3);
        assert_eq!(found(&mut flows, leg(), 5), Some((2, false)));
        assert_eq!(found(&mut flows, turned(leg()), 5), Some((1, false)));
    }

    #[test]
    fn what_is_left_to_the_store() {
        let mut flows = Flows::default();
        // A tuple with an odd record is the store's, whole; with its own end as its other one, too.
        assert!(!flows.keep(
            leg(),
            &Facts {
                id: "a\"b",
                ..facts(0, None, &[])
            },
            1
        ));
        flows.keep(leg(), &facts(0, None, &[]), 2);
        assert_eq!(found(&mut flows, leg(), 5), None);
        flows.forget(leg(), |&token| token == 1);
        assert_eq!(found(&mut flows, leg(), 5), Some((2, false)));
        let same = (leg().0, leg().0);
        flows.keep(same, &facts(0, None, &[]), 4);
        assert_eq!(found(&mut flows, same, 5), None);
    }
}
