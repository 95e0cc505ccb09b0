#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peeltap_fuzz::events::events(data));
