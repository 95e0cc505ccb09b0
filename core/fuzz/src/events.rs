//! Events: what was decided of the first lines is put into the rest.

use peeltap_core::events::known::{Answer, Known};

/// Lines; from each of the first eight an answer is learnt that changes everything that may change.
pub fn events(data: &[u8]) {
    let mut known = Known::default();
    for kind in ["alert", "flow", "http", "dns", "tls", "ssh", "anomaly"] {
        known.allow(kind.as_bytes());
    }
    for (token, line) in data.split(|&byte| byte == b'\n').take(8).enumerate() {
        let ends = ["\"192.0.2.7\"", "46421", "\"192.0.2.1\"", "80"].map(|text| text.into());
        let answer = Answer {
            moments: (i64::MIN, i64::MAX),
            ends: (token % 2 == 0).then_some(ends),
            community_id: (token % 2 == 0).then(|| b"\"1:x\"".to_vec()),
            member: b"{\"verdict\":\"stripped\"".to_vec(),
            token,
        };
        known.learn(line, answer);
    }
    let mut out = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let before = out.len();
        let (end, done) = known.correct(data, at, Some((b"file.", 7)), &mut out);
        assert!(at <= end && end <= data.len());
        // One line out for each that was taken in, and nothing of the one that was not.
        let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert_eq!(lines(&data[at..end]), done);
        assert_eq!(lines(&out[before..]), done);
        // What is for others is passed over.
        let rest = data[end..].iter().position(|&byte| byte == b'\n');
        at = rest.map_or(data.len(), |length| end + length + 1);
    }
}
