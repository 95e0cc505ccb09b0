//! Codecs: for any stream, an answer once given stays, a header lies within the stream, and what it
//! says can be emitted and read again.

use std::sync::LazyLock;

use peeltap_core::header::proxy_v1::ProxyV1;
use peeltap_core::header::proxy_v2::ProxyV2;
use peeltap_core::header::registry::build;
use peeltap_core::header::sslproxy::{Position, SslProxy};
use peeltap_core::header::{AnyCodec, Codec, CodecSpec, Found, Malformed, Parse};

/// Prefixes are all tried up to this length, and behind it one in [`STRIDE`].
const DENSE: usize = 300;
const STRIDE: usize = 97;

/// HAProxy's text line.
pub fn proxy_v1(data: &[u8]) {
    laws(&ProxyV1, data);
}

/// HAProxy's binary header.
pub fn proxy_v2(data: &[u8]) {
    laws(&ProxyV2, data);
}

/// SSLproxy's line in each of its positions.
pub fn sslproxy(data: &[u8]) {
    for position in [Position::Any, Position::Front, Position::Request] {
        laws(&SslProxy::new(position), data);
    }
}

/// A few layouts that together have every kind of field.
pub fn layouts(data: &[u8]) {
    static LAYOUTS: LazyLock<Vec<AnyCodec>> = LazyLock::new(|| {
        let specs: Vec<CodecSpec> = serde_json::from_str(include_str!("layouts.json"))
            .expect("layouts.json is a list of codecs");
        specs
            .iter()
            .map(|spec| build(spec).expect("layouts.json is valid"))
            .collect()
    });
    for layout in LAYOUTS.iter() {
        laws(layout, data);
    }
}

/// A codec's configuration, a NUL, and a stream.
pub fn declarations(data: &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    let Ok(spec) = CodecSpec::from_json(&data[..end]) else {
        return;
    };
    let Ok(codec) = build(&spec) else { return };
    laws(&codec, data.get(end + 1..).unwrap_or_default());
}

fn laws(codec: &dyn Codec, stream: &[u8]) {
    let whole = codec.parse(stream);
    let cuts = (0..stream.len()).filter(|cut| *cut < DENSE || cut % STRIDE == 0);
    let mut settled: Option<Result<Parse, Malformed>> = None;
    for cut in cuts.chain([stream.len()]) {
        let answer = codec.parse(&stream[..cut]);
        match &settled {
            None if answer == Ok(Parse::NeedMore) => assert!(cut < codec.max_len()),
            None => settled = Some(answer),
            Some(first) => assert_eq!(first, &answer, "an answer changed at {cut}"),
        }
    }

    let Ok(Parse::Header(Found { start, len, truth })) = whole else {
        return;
    };
    let end = start + len;
    assert!(len > 0 && end <= stream.len() && end <= codec.max_len());
    let answer = codec.parse(&stream[..end]);
    assert_eq!(answer, whole, "what follows the header has a say");
    assert_eq!(
        codec.parse(&stream[..end - 1]),
        Ok(Parse::NeedMore),
        "its last byte has none"
    );
    let _ = codec.describe(&stream[start..end]);

    let Some(truth) = truth else { return };
    let Some(header) = codec.emit(&truth) else {
        return;
    };
    match codec.parse(&header) {
        Ok(Parse::Header(found)) => {
            assert_eq!(found.truth, Some(truth));
            assert_eq!(found.start + found.len, header.len());
        }
        // A codec that looks behind a first line of HTTP does not read what it emits for the front.
        Ok(Parse::NotMine) if start > 0 => {}
        other => panic!("emitted {header:?}, read {other:?}"),
    }
}
