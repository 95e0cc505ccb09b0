//! What the tests of all codecs do with a table of cases.

use std::net::SocketAddr;

use super::{Codec, Found, Malformed, Parse, Truth};
use proptest::prelude::*;

/// One header: its bytes and what they mean.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) truth: Option<Truth>,
    /// `describe`, as JSON text.
    pub(crate) says: &'static str,
    /// Whether `emit(truth)` gives exactly these bytes.
    pub(crate) emits: bool,
}

/// A truth from two socket addresses in text.
pub(crate) fn truth(peer: &str, destination: &str) -> Truth {
    let address = |text: &str| text.parse::<SocketAddr>().expect("a socket address");
    Truth::new(address(peer), address(destination)).expect("one family")
}

/// Drives parse, describe and emit from one table: whole, byte by byte, and with a tail.
pub(crate) fn drive(codec: &dyn Codec, table: &[Case]) {
    for Case {
        name,
        bytes,
        truth,
        says,
        emits,
    } in table
    {
        let found = Found {
            start: 0,
            len: bytes.len(),
            truth: *truth,
        };
        assert_eq!(
            codec.parse(bytes),
            Ok(Parse::Header(found.clone())),
            "{name}: whole"
        );
        for end in 0..bytes.len() {
            assert_eq!(
                codec.parse(&bytes[..end]),
                Ok(Parse::NeedMore),
                "{name}: {end} bytes"
            );
        }
        for tail in [&b"GET / HTTP/1.1\r\n"[..], &[0; 300], bytes] {
            let stream = [bytes, tail].concat();
            assert_eq!(
                codec.parse(&stream),
                Ok(Parse::Header(found.clone())),
                "{name}: tail"
            );
        }
        assert!(bytes.len() <= codec.max_len(), "{name}: max_len");
        let described = serde_json::Value::Object(codec.describe(bytes)).to_string();
        assert_eq!(described, *says, "{name}: describe");
        if let (Some(truth), true) = (truth, emits) {
            assert_eq!(
                codec.emit(truth).as_deref(),
                Some(&bytes[..]),
                "{name}: emit"
            );
        }
    }
}

/// Each line of the table breaks one rule and is refused under the name of that rule, as soon as the
/// byte that breaks it is there and whatever follows.
pub(crate) fn refuse(codec: &dyn Codec, table: &[(&[u8], &'static str)]) {
    for (bytes, rule) in table {
        let shown = bytes.escape_ascii();
        assert_eq!(codec.parse(bytes), Err(Malformed(rule)), "{shown}");
        let longer = [bytes, &b"\r\n\r\n0 0 0 0\r\n"[..]].concat();
        assert_eq!(
            codec.parse(&longer),
            Err(Malformed(rule)),
            "{shown} and a tail"
        );
        assert_eq!(
            codec.parse(&bytes[..bytes.len() - 1]),
            Ok(Parse::NeedMore),
            "{shown} less one"
        );
    }
}

/// Foreign bytes are not mine from the first byte that differs.
pub(crate) fn decline(codec: &dyn Codec, table: &[&[u8]]) {
    for bytes in table {
        let shown = bytes.escape_ascii();
        assert_eq!(codec.parse(bytes), Ok(Parse::NotMine), "{shown}");
        assert_eq!(
            codec.parse(&bytes[..bytes.len() - 1]),
            Ok(Parse::NeedMore),
            "{shown} less one"
        );
    }
}

/// A parser's laws, for any bytes: an answer once given stays, a header lies within the stream, and
/// nothing behind it has a say.
pub(crate) fn laws(codec: &dyn Codec, stream: &[u8]) -> Result<(), TestCaseError> {
    let mut settled: Option<Result<Parse, Malformed>> = None;
    for end in 0..=stream.len() {
        let answer = codec.parse(&stream[..end]);
        match (&settled, &answer) {
            (None, Ok(Parse::NeedMore)) => prop_assert!(end < codec.max_len()),
            (None, Ok(Parse::Header(found))) => {
                prop_assert!(found.len > 0);
                prop_assert!(found.start + found.len <= end);
                let _ = codec.describe(&stream[found.start..found.start + found.len]);
                settled = Some(answer);
            }
            (None, _) => settled = Some(answer),
            (Some(first), _) => prop_assert_eq!(first, &answer, "with {} bytes", end),
        }
    }
    Ok(())
}

/// Two endpoints of one family that a header can carry unchanged: not two IPv4-mapped addresses.
pub(crate) fn any_truth() -> impl Strategy<Value = Truth> {
    let v4 = any::<([u8; 4], u16, [u8; 4], u16)>()
        .prop_map(|(a, p, b, q)| (SocketAddr::from((a, p)), SocketAddr::from((b, q))));
    let v6 = any::<([u8; 16], u16, [u8; 16], u16)>()
        .prop_map(|(a, p, b, q)| (SocketAddr::from((a, p)), SocketAddr::from((b, q))));
    prop_oneof![v4, v6].prop_map(|(a, b)| Truth::new(a, b).expect("one family"))
}

/// What a codec emits it reads back, whole, byte by byte and with a tail.
pub(crate) fn round_trip(
    codec: &dyn Codec,
    truth: &Truth,
    tail: &[u8],
) -> Result<(), TestCaseError> {
    let header = codec
        .emit(truth)
        .ok_or_else(|| TestCaseError::fail("nothing emitted"))?;
    let answer = codec.parse(&[&header, tail].concat());
    let Ok(Parse::Header(Found {
        start,
        len,
        truth: Some(read),
    })) = answer
    else {
        return Err(TestCaseError::fail(format!("{answer:?}")));
    };
    prop_assert_eq!((start, len, &read), (0, header.len(), truth));
    laws(codec, &header)
}
