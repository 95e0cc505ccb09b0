//! Events: of the first lines, one becomes a record, one is decided, and that goes into the rest.

use std::net::IpAddr;

use peeltap_core::events::flows::{End, Ends, Facts, Flows};
use peeltap_core::events::known::{Answer, Known};
use serde_json::Value;

/// Lines. Of the first eight, every second one teaches an answer that changes everything that may
/// change; every other is a connection's, whose record is kept: with and without true ends, with
/// another epoch, or one that is left to others.
pub fn events(data: &[u8]) {
    let mut known = Known::new(7, true);
    let mut flows = Flows::default();
    for kind in ["alert", "flow", "http", "dns", "tls", "ssh", "anomaly"] {
        known.allow(kind.as_bytes());
    }
    for (token, line) in data.split(|&byte| byte == b'\n').take(8).enumerate() {
        if token % 2 == 0 {
            keep(&mut flows, line, token);
        } else {
            known.learn(line, answer(token));
        }
    }
    known.hold(5);
    let mut out = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let before = out.len();
        let (end, done) = known.correct(&mut flows, data, at, Some((b"file.", 7)), &mut out);
        assert!(at <= end && end <= data.len());
        // One line out for each that was taken in, and nothing of the one that was not.
        let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert_eq!(lines(&data[at..end]), done);
        assert_eq!(lines(&out[before..]), done);
        for line in out[before..].split(|&byte| byte == b'\n') {
            assert!(line.is_empty() || has_peeltap(line), "{line:?}");
        }
        // What is for others is passed over.
        let rest = data[end..].iter().position(|&byte| byte == b'\n');
        at = rest.map_or(data.len(), |length| end + length + 1);
    }
    // Nothing is left of what is forgotten.
    for line in data.split(|&byte| byte == b'\n').take(8) {
        if let Some(ends) = ends(line) {
            flows.forget(ends, |_| true);
        }
    }
    assert!(flows.is_empty());
}

fn answer(token: usize) -> Answer<usize> {
    let ends = ["\"192.0.2.7\"", "46421", "\"192.0.2.1\"", "80"].map(|text| text.into());
    let is_true = token % 4 == 1;
    Answer {
        moments: (i64::MIN, i64::MAX),
        ends: is_true.then_some(ends),
        community_id: is_true.then(|| b"\"1:x\"".to_vec()),
        member: b"{\"verdict\":\"stripped\"".to_vec(),
        token,
    }
}

fn keep(flows: &mut Flows<usize>, line: &[u8], token: usize) {
    let Some(ends) = ends(line) else { return };
    let six: IpAddr = [0x20u8, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into();
    let mut facts = Facts {
        id: "9f0c2a6e51d3b874",
        truth: (token > 0).then_some(((six, 1), (IpAddr::from([192, 0, 2, 1]), 65535))),
        vlan: vec![5],
        start: i64::MIN,
        end: None,
        codecs: &["magic", "proxy-v2"],
        verdict: "stripped",
    };
    flows.keep(ends, &facts, token);
    if token == 4 {
        facts.start = 1_767_225_600_000_000_000;
        facts.vlan = vec![];
        flows.keep((ends.1, ends.0), &facts, token);
    }
    if token == 6 {
        flows.keep_odd(ends, token);
    }
}

fn ends(line: &[u8]) -> Option<Ends> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let end = |ip: &str, port: &str| -> Option<End> {
        let port = u16::try_from(event[port].as_u64()?).ok()?;
        Some((event[ip].as_str()?.parse().ok()?, port))
    };
    Some((end("src_ip", "src_port")?, end("dest_ip", "dest_port")?))
}

fn has_peeltap(line: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(line).expect("JSON");
    event["peeltap"]["confidence"].is_string() && event["peeltap"]["id"].is_string()
}
