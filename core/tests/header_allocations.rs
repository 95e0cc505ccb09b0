//! Header parsing is on the packet's way: it allocates nothing, whatever the answer.

use std::hint::black_box;

use peeltap_core::header::registry::build;
use peeltap_core::header::{AnyCodec, Codec, CodecSpec, Truth};

/// A codec of every kind.
fn codecs() -> Vec<AnyCodec> {
    let mut specs: Vec<CodecSpec> =
        serde_json::from_str(include_str!("../fuzz/src/layouts.json")).expect("codecs");
    for kind in ["proxy-v1", "proxy-v2", "sslproxy"] {
        let json = format!(r#"{{"name":"{kind}","kind":"{kind}"}}"#);
        specs.push(CodecSpec::from_json(json.as_bytes()).expect("a codec"));
    }
    specs
        .iter()
        .map(|spec| build(spec).expect("a codec"))
        .collect()
}

#[test]
fn parsing_allocates_nothing() {
    let truth = |peer: &str, destination: &str| {
        let address = |text: &str| text.parse().expect("an address");
        Truth::new(address(peer), address(destination)).expect("one family")
    };
    let truths = [
        truth("203.0.113.7:46421", "192.168.110.2:80"),
        truth("[2001:db8::7]:46421", "[2001:db8::2]:22"),
    ];
    for codec in codecs() {
        let mut parsed = 0;
        for header in truths.iter().filter_map(|truth| codec.emit(truth)) {
            for end in 0..=header.len() {
                let mut changed = header.clone();
                changed[end.saturating_sub(1)] ^= 0x80;
                for stream in [&header[..end], &changed[..end]] {
                    let count = allocation_counter::measure(|| {
                        let _ = black_box(codec.parse(black_box(stream)));
                    });
                    assert_eq!(count.count_total, 0, "{} of {stream:?}", codec.name());
                    parsed += 1;
                }
            }
        }
        assert!(parsed > 0, "{}: emitted nothing", codec.name());
    }
}
