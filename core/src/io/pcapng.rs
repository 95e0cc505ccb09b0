//! The pcapng container (draft-ietf-opsawg-pcapng): sections of blocks.
//!
//! ```text
//! block     type 4 | total length 4 | body | total length 4
//! EPB body  interface 4 | time, high 4 | low 4 | captured 4 | original 4 | frame, padded | options
//! ```

use pcap_parser::pcapng::{parse_block_be, parse_block_le, Block, OptionCode};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::InterfaceDescriptionBlock;

use super::pcap::Order;
use super::{Clock, Interface};

/// Type and length: what must be seen of a block to know where it ends.
pub const BLOCK_HEADER: usize = 12;
/// The type of a section header block; reads the same in either byte order.
pub const SECTION: u32 = 0x0a0d_0d0a;

const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAMES: u32 = 4;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Length of an enhanced packet block beside the frame and its padding, without options.
const ENHANCED_OVERHEAD: usize = 32;

/// A packet as its block has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPacket {
    /// The interface's number within the section.
    pub interface: u32,
    /// The time in the interface's ticks; a simple packet block has none.
    pub ticks: Option<u64>,
    /// Bytes on the wire.
    pub orig_len: u32,
    /// Where the frame begins in the block.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A section begins: interfaces are numbered anew.
    Section,
    /// The next interface of the section.
    Interface(Interface),
    /// A packet.
    Packet(BlockPacket),
    /// Neither of these; the name is for counting.
    Other(&'static str),
    /// The block's inside breaks the rules.
    Malformed,
}

/// The byte order of the section that `block` begins; `None` where it does not begin one. `block`
/// must hold [`BLOCK_HEADER`] bytes.
pub fn section_order(block: &[u8]) -> Option<Order> {
    let little = Order { big_endian: false };
    let big = Order { big_endian: true };
    if little.u32(block) != SECTION {
        return None;
    }
    [little, big]
        .into_iter()
        .find(|order| order.u32(&block[8..]) == BYTE_ORDER)
}

/// The length of the block in the file; `None` where it cannot be right. Lengths are a multiple of
/// four; a writer that forgot to count its padding is read as if it had (as Wireshark does).
pub fn block_len(block: &[u8], order: Order) -> Option<usize> {
    let length = order.u32(&block[4..]) as usize;
    (length >= BLOCK_HEADER).then(|| length.next_multiple_of(4))
}

/// Reads one whole block. `snaplen` is that of the section's first interface: a simple packet block
/// is cut by it without saying so.
pub fn parse(block: &[u8], order: Order, snaplen: u32) -> Content {
    match order.u32(block) {
        OBSOLETE_PACKET => obsolete_packet(block, order),
        NAMES => Content::Other("name_resolution"),
        STATISTICS => Content::Other("interface_statistics"),
        SECTION | INTERFACE | SIMPLE_PACKET | ENHANCED_PACKET => {
            let parse = if order.big_endian {
                parse_block_be
            } else {
                parse_block_le
            };
            match parse(block) {
                Ok((_, Block::SectionHeader(_))) => Content::Section,
                Ok((_, Block::InterfaceDescription(idb))) => {
                    Content::Interface(interface(&idb, order))
                }
                Ok((_, Block::EnhancedPacket(epb))) => {
                    let start = ENHANCED_OVERHEAD - 4;
                    Content::Packet(BlockPacket {
                        interface: epb.if_id,
                        ticks: Some(u64::from(epb.ts_high) << 32 | u64::from(epb.ts_low)),
                        orig_len: epb.origlen,
                        start,
                        end: start + epb.packet_data().len(),
                    })
                }
                Ok((_, Block::SimplePacket(spb))) => {
                    let snaplen = if snaplen == 0 { u32::MAX } else { snaplen };
                    let captured = spb.packet_data().len().min(snaplen as usize);
                    Content::Packet(BlockPacket {
                        interface: 0,
                        ticks: None,
                        orig_len: spb.origlen,
                        start: 12,
                        end: 12 + captured,
                    })
                }
                _ => Content::Malformed,
            }
        }
        _ => Content::Other("unknown_block"),
    }
}

fn interface(idb: &InterfaceDescriptionBlock, order: Order) -> Interface {
    let option = |code| idb.options.iter().find(|option| option.code == code);
    let resolution = option(OptionCode::IfTsresol)
        .and_then(|option| option.value.first().copied())
        .unwrap_or(Clock::MICROS.resolution);
    let offset = option(OptionCode::IfTsoffset)
        .and_then(|option| option.value.get(..8)?.try_into().ok())
        .map_or(0, |bytes| {
            if order.big_endian {
                i64::from_be_bytes(bytes)
            } else {
                i64::from_le_bytes(bytes)
            }
        });
    let name = option(OptionCode::IfName).and_then(|option| option.as_str().ok());
    Interface {
        link_type: idb.linktype.0 as u16,
        snaplen: idb.snaplen,
        clock: Clock { resolution, offset },
        name: name.map(str::to_owned),
    }
}

/// Appendix A: interface 2 | drops 2 | time 8 | captured 4 | original 4 | frame.
fn obsolete_packet(block: &[u8], order: Order) -> Content {
    const FRAME: usize = 28;
    if block.len() < FRAME + 4 {
        return Content::Malformed;
    }
    let end = FRAME + order.u32(&block[20..]) as usize;
    if end > block.len() - 4 {
        return Content::Malformed;
    }
    let interface = if order.big_endian {
        u16::from_be_bytes([block[8], block[9]])
    } else {
        u16::from_le_bytes([block[8], block[9]])
    };
    Content::Packet(BlockPacket {
        interface: u32::from(interface),
        ticks: Some(u64::from(order.u32(&block[12..])) << 32 | u64::from(order.u32(&block[16..]))),
        orig_len: order.u32(&block[24..]),
        start: FRAME,
        end,
    })
}

/// A section header block, little-endian, of unknown length.
pub fn emit_section() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&BYTE_ORDER.to_le_bytes());
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&u64::MAX.to_le_bytes());
    emit_option(&mut body, OptionCode::ShbUserAppl.0, b"peeltap");
    end_options(&mut body);
    emit_block(SECTION, &body)
}

/// An interface description block, little-endian. Its snap length is left open: a frame may grow by
/// an IP header.
pub fn emit_interface(interface: &Interface) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&interface.link_type.to_le_bytes());
    body.extend_from_slice(&[0; 6]);
    if let Some(name) = &interface.name {
        // An option's length has 16 bits.
        emit_option(
            &mut body,
            OptionCode::IfName.0,
            &name.as_bytes()[..name.len().min(65_535)],
        );
    }
    emit_option(
        &mut body,
        OptionCode::IfTsresol.0,
        &[interface.clock.resolution],
    );
    if interface.clock.offset != 0 {
        let offset = interface.clock.offset.to_le_bytes();
        emit_option(&mut body, OptionCode::IfTsoffset.0, &offset);
    }
    end_options(&mut body);
    emit_block(INTERFACE, &body)
}

/// The length of the block that [`emit_packet`] writes.
pub fn packet_len(frame: usize) -> usize {
    ENHANCED_OVERHEAD + frame.next_multiple_of(4)
}

/// Writes an enhanced packet block, little-endian, that fills `out`.
pub fn emit_packet(out: &mut [u8], interface: u32, ticks: u64, orig_len: u32, frame: &[u8]) {
    let total = packet_len(frame.len());
    let fields = [
        ENHANCED_PACKET,
        total as u32,
        interface,
        (ticks >> 32) as u32,
        ticks as u32,
        frame.len() as u32,
        orig_len,
    ];
    for (bytes, field) in out.chunks_exact_mut(4).zip(fields) {
        bytes.copy_from_slice(&field.to_le_bytes());
    }
    let padding = ENHANCED_OVERHEAD - 4 + frame.len();
    out[ENHANCED_OVERHEAD - 4..padding].copy_from_slice(frame);
    out[padding..total - 4].fill(0);
    out[total - 4..total].copy_from_slice(&(total as u32).to_le_bytes());
}

fn emit_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn end_options(body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 4]);
}

fn emit_block(block_type: u32, body: &[u8]) -> Vec<u8> {
    let total = (BLOCK_HEADER + body.len()) as u32;
    let mut block = Vec::with_capacity(total as usize);
    block.extend_from_slice(&block_type.to_le_bytes());
    block.extend_from_slice(&total.to_le_bytes());
    block.extend_from_slice(body);
    block.extend_from_slice(&total.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LITTLE: Order = Order { big_endian: false };
    const BIG: Order = Order { big_endian: true };

    #[test]
    fn big_endian_interfaces_keep_their_clock() {
        let block = b"\0\0\0\x01\0\0\0\x30\0\x71\0\0\0\0\xff\xff\
            \0\x09\0\x01\x8a\0\0\0\
            \0\x0e\0\x08\0\0\0\0\0\0\0\x05\
            \0\0\0\0\0\0\0\0\0\0\0\x30";
        let Content::Interface(interface) = parse(block, BIG, 0) else {
            panic!("not an interface");
        };
        assert_eq!(interface.link_type, 113);
        assert_eq!(interface.snaplen, 65_535);
        assert_eq!(
            interface.clock,
            Clock {
                resolution: 0x8a,
                offset: 5
            }
        );
    }

    #[test]
    fn obsolete_packet_blocks_are_read() {
        let block = b"\x02\0\0\0\x24\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x40\0\0\0abc\0\x24\0\0\0";
        let packet = BlockPacket {
            interface: 1,
            ticks: Some(1 << 32 | 2),
            orig_len: 64,
            start: 28,
            end: 31,
        };
        assert_eq!(parse(block, LITTLE, 0), Content::Packet(packet));
        let mut lying = block.to_vec();
        lying[20] = 9;
        assert_eq!(parse(&lying, LITTLE, 0), Content::Malformed);
    }

    #[test]
    fn a_simple_packet_is_cut_by_the_snap_length() {
        let block = b"\x03\0\0\0\x14\0\0\0\x07\0\0\0abcd\x14\0\0\0";
        for (snaplen, end) in [(0, 16), (3, 15), (100, 16)] {
            let Content::Packet(packet) = parse(block, LITTLE, snaplen) else {
                panic!("not a packet");
            };
            assert_eq!((packet.ticks, packet.orig_len, packet.end), (None, 7, end));
        }
    }

    #[test]
    fn sections_say_their_order() {
        let section = emit_section();
        assert_eq!(section_order(&section), Some(LITTLE));
        assert_eq!(parse(&section, LITTLE, 0), Content::Section);
        assert_eq!(block_len(&section, LITTLE), Some(section.len()));
        assert_eq!(
            section_order(b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4d"),
            Some(BIG)
        );
        assert_eq!(
            section_order(b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x00"),
            None
        );
    }

    proptest! {
        #[test]
        fn interfaces_round_trip(link_type: u16, resolution: u8, offset: i64, name in proptest::option::of("[a-z0-9]{1,15}")) {
            let interface = Interface { link_type, snaplen: 0, clock: Clock { resolution, offset }, name };
            prop_assert_eq!(parse(&emit_interface(&interface), LITTLE, 0), Content::Interface(interface));
        }

        #[test]
        fn packets_round_trip(interface: u32, ticks: u64, orig_len: u32, frame: Vec<u8>) {
            let mut block = vec![0xaa; packet_len(frame.len())];
            emit_packet(&mut block, interface, ticks, orig_len, &frame);
            let Content::Packet(packet) = parse(&block, LITTLE, 0) else {
                return Err(TestCaseError::fail("not a packet"));
            };
            prop_assert_eq!((packet.interface, packet.ticks, packet.orig_len), (interface, Some(ticks), orig_len));
            prop_assert_eq!(&block[packet.start..packet.end], &frame[..]);
        }

        #[test]
        fn no_block_panics(
            block_type in prop_oneof![Just(SECTION), 0u32..8, any::<u32>()],
            body in proptest::collection::vec(any::<u8>(), 0..200),
            big_endian: bool,
            honest: bool,
        ) {
            let order = Order { big_endian };
            let mut block = emit_block(block_type, &body);
            if honest {
                order.put_u32(&mut block[0..], block_type);
                let length = block.len();
                order.put_u32(&mut block[4..], length as u32);
                order.put_u32(&mut block[length - 4..], length as u32);
            }
            if let Content::Packet(packet) = parse(&block, order, 0) {
                prop_assert!(packet.start <= packet.end && packet.end <= block.len());
            }
        }
    }
}
