//! A classic BPF program, as libpcap compiles a capture filter, run on each packet.
//!
//! McCanne and Jacobson, "The BSD Packet Filter" (USENIX 1993); the checks are those of the kernel's
//! `bpf_check_classic`: known instructions only, jumps forward and inside, a last `ret`. A load
//! beyond the captured bytes rejects the packet, as everywhere.

/// One instruction: code, jump if true, jump if false, constant (`struct bpf_insn`).
pub type Instruction = (u16, u8, u8, u32);

/// The most instructions of a program (BPF_MAXINSNS).
const MOST: usize = 4096;
/// Words of scratch memory (BPF_MEMWORDS).
const SCRATCH: usize = 16;

/// A program that has been checked: it ends, and it cannot leave its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Box<[Op]>);

/// Jump distances are in instructions beyond the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Load(Width, Address),
    LoadImmediate(u32),
    LoadLength,
    LoadScratch(usize),
    LoadXImmediate(u32),
    LoadXLength,
    LoadXScratch(usize),
    /// Four times the low half of a byte: the length of an IPv4 header.
    LoadXHeaderLength(u32),
    Store(usize),
    StoreX(usize),
    Alu(Alu, Operand),
    Negate,
    Jump(u32),
    JumpIf(Test, Operand, u8, u8),
    Return(u32),
    ReturnA,
    AToX,
    XToA,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Byte,
    Half,
    Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    Absolute(u32),
    /// Relative to X.
    Indexed(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    K(u32),
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Greater,
    GreaterEqual,
    Set,
}

impl Filter {
    /// Checks and decodes a program; the error says which instruction is wrong.
    pub fn new(program: &[Instruction]) -> Result<Filter, String> {
        if program.is_empty() || program.len() > MOST {
            return Err(format!(
                "a filter has 1 to {MOST} instructions, this one {}",
                program.len()
            ));
        }
        let mut ops = Vec::with_capacity(program.len());
        for (index, instruction) in program.iter().enumerate() {
            let rest = program.len() - index - 1;
            ops.push(decode(*instruction, rest).ok_or_else(|| {
                let (code, jt, jf, k) = instruction;
                format!("filter instruction {index} is not valid: ({code:#x}, {jt}, {jf}, {k:#x})")
            })?);
        }
        match ops.last() {
            Some(Op::Return(_) | Op::ReturnA) => Ok(Filter(ops.into())),
            _ => Err("a filter must end in a return instruction".to_owned()),
        }
    }

    /// Whether the program accepts a frame; `wire_len` is its length on the wire.
    pub fn accepts(&self, frame: &[u8], wire_len: u32) -> bool {
        self.run(frame, wire_len)
            .is_some_and(|accepted| accepted != 0)
    }

    /// Runs the program; `None` where a load or a division left its bounds.
    fn run(&self, frame: &[u8], wire_len: u32) -> Option<u32> {
        let (mut a, mut x) = (0u32, 0u32);
        let mut scratch = [0u32; SCRATCH];
        let mut pc = 0;
        loop {
            let op = *self.0.get(pc)?;
            pc += 1;
            match op {
                Op::Load(width, address) => a = load(frame, width, address, x)?,
                Op::LoadImmediate(k) => a = k,
                Op::LoadLength => a = wire_len,
                Op::LoadScratch(k) => a = scratch[k],
                Op::LoadXImmediate(k) => x = k,
                Op::LoadXLength => x = wire_len,
                Op::LoadXScratch(k) => x = scratch[k],
                Op::LoadXHeaderLength(k) => {
                    x = (load(frame, Width::Byte, Address::Absolute(k), 0)? & 0xf) * 4;
                }
                Op::Store(k) => scratch[k] = a,
                Op::StoreX(k) => scratch[k] = x,
                Op::Alu(alu, operand) => a = compute(alu, a, value(operand, x))?,
                Op::Negate => a = a.wrapping_neg(),
                Op::Jump(distance) => pc += distance as usize,
                Op::JumpIf(test, operand, jt, jf) => {
                    let k = value(operand, x);
                    let holds = match test {
                        Test::Equal => a == k,
                        Test::Greater => a > k,
                        Test::GreaterEqual => a >= k,
                        Test::Set => a & k != 0,
                    };
                    pc += usize::from(if holds { jt } else { jf });
                }
                Op::Return(k) => return Some(k),
                Op::ReturnA => return Some(a),
                Op::AToX => x = a,
                Op::XToA => a = x,
            }
        }
    }
}

/// `rest` is the number of instructions that follow.
fn decode((code, jt, jf, k): Instruction, rest: usize) -> Option<Op> {
    let scratch = || usize::try_from(k).ok().filter(|&word| word < SCRATCH);
    let operand = if code & 0x08 == 0 {
        Operand::K(k)
    } else {
        Operand::X
    };
    let width = match code & 0x18 {
        0x00 => Width::Word,
        0x08 => Width::Half,
        _ => Width::Byte,
    };
    let alu = |alu| Some(Op::Alu(alu, operand));
    let jump = |test| {
        let inside = usize::from(jt) < rest && usize::from(jf) < rest;
        inside.then_some(Op::JumpIf(test, operand, jt, jf))
    };
    match code {
        // BPF_LD: ABS, IND, then IMM, MEM, LEN.
        0x20 | 0x28 | 0x30 => Some(Op::Load(width, Address::Absolute(k))),
        0x40 | 0x48 | 0x50 => Some(Op::Load(width, Address::Indexed(k))),
        0x00 => Some(Op::LoadImmediate(k)),
        0x60 => Some(Op::LoadScratch(scratch()?)),
        0x80 => Some(Op::LoadLength),
        // BPF_LDX
        0x01 => Some(Op::LoadXImmediate(k)),
        0x61 => Some(Op::LoadXScratch(scratch()?)),
        0x81 => Some(Op::LoadXLength),
        0xb1 => Some(Op::LoadXHeaderLength(k)),
        // BPF_ST, BPF_STX
        0x02 => Some(Op::Store(scratch()?)),
        0x03 => Some(Op::StoreX(scratch()?)),
        // BPF_ALU; a constant divisor of nought, or shift beyond the word, is refused here.
        0x04 | 0x0c => alu(Alu::Add),
        0x14 | 0x1c => alu(Alu::Sub),
        0x24 | 0x2c => alu(Alu::Mul),
        0x34 | 0x94 if k == 0 => None,
        0x34 | 0x3c => alu(Alu::Div),
        0x44 | 0x4c => alu(Alu::Or),
        0x54 | 0x5c => alu(Alu::And),
        0x64 | 0x74 if k >= 32 => None,
        0x64 | 0x6c => alu(Alu::ShiftLeft),
        0x74 | 0x7c => alu(Alu::ShiftRight),
        0x84 => Some(Op::Negate),
        0x94 | 0x9c => alu(Alu::Mod),
        0xa4 | 0xac => alu(Alu::Xor),
        // BPF_JMP
        0x05 => (usize::try_from(k).ok()? < rest).then_some(Op::Jump(k)),
        0x15 | 0x1d => jump(Test::Equal),
        0x25 | 0x2d => jump(Test::Greater),
        0x35 | 0x3d => jump(Test::GreaterEqual),
        0x45 | 0x4d => jump(Test::Set),
        // BPF_RET, BPF_MISC
        0x06 => Some(Op::Return(k)),
        0x16 => Some(Op::ReturnA),
        0x07 => Some(Op::AToX),
        0x87 => Some(Op::XToA),
        _ => None,
    }
}

fn value(operand: Operand, x: u32) -> u32 {
    match operand {
        Operand::K(k) => k,
        Operand::X => x,
    }
}

fn compute(alu: Alu, a: u32, b: u32) -> Option<u32> {
    Some(match alu {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub => a.wrapping_sub(b),
        Alu::Mul => a.wrapping_mul(b),
        Alu::Div => a.checked_div(b)?,
        Alu::Mod => a.checked_rem(b)?,
        Alu::And => a & b,
        Alu::Or => a | b,
        Alu::Xor => a ^ b,
        Alu::ShiftLeft => a.checked_shl(b).unwrap_or(0),
        Alu::ShiftRight => a.checked_shr(b).unwrap_or(0),
    })
}

fn load(frame: &[u8], width: Width, address: Address, x: u32) -> Option<u32> {
    let start = match address {
        Address::Absolute(k) => k,
        Address::Indexed(k) => k.checked_add(x)?,
    } as usize;
    let bytes = frame.get(start..)?;
    Some(match width {
        Width::Byte => u32::from(*bytes.first()?),
        Width::Half => u32::from(u16::from_be_bytes(*bytes.first_chunk()?)),
        Width::Word => u32::from_be_bytes(*bytes.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `tcp dst port 80` on Ethernet, as libpcap 1.10 compiles it.
    #[rustfmt::skip]
    const PORT_80: &[Instruction] = &[
        (0x28, 0, 0, 12), (0x15, 0, 4, 0x86dd), (0x30, 0, 0, 20), (0x15, 0, 11, 6), (0x28, 0, 0, 56),
        (0x15, 8, 9, 80), (0x15, 0, 8, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 6, 6), (0x28, 0, 0, 20),
        (0x45, 4, 0, 0x1fff), (0xb1, 0, 0, 14), (0x48, 0, 0, 16), (0x15, 0, 1, 80), (0x06, 0, 0, 262_144),
        (0x06, 0, 0, 0),
    ];

    fn tcp_to(port: u16, options: usize) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 4 * options + 20];
        frame[12] = 8;
        frame[14] = 0x45 + options as u8;
        frame[23] = 6;
        frame[14 + 20 + 4 * options + 2..][..2].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn a_compiled_filter_is_obeyed() {
        let filter = Filter::new(PORT_80).unwrap();
        let mut fragment = tcp_to(80, 0);
        fragment[21] = 1;
        let mut udp = tcp_to(80, 0);
        udp[23] = 17;
        let cases = [
            ("port 80", tcp_to(80, 0), true),
            ("port 80 behind IP options", tcp_to(80, 3), true),
            ("port 81", tcp_to(81, 0), false),
            ("a later fragment", fragment, false),
            ("UDP", udp, false),
            ("cut before the port", tcp_to(80, 0)[..35].to_vec(), false),
            ("empty", Vec::new(), false),
        ];
        for (name, frame, accepted) in cases {
            assert_eq!(
                filter.accepts(&frame, frame.len() as u32),
                accepted,
                "{name}"
            );
        }
    }

    #[test]
    fn every_instruction_computes() {
        // Each program starts with A = 12, X = 5 on the frame 01 02 03 04 and returns A.
        #[rustfmt::skip]
        let cases: &[(&[Instruction], Option<u32>)] = &[
            (&[(0x04, 0, 0, 3)], Some(15)), (&[(0x0c, 0, 0, 0)], Some(17)),
            (&[(0x14, 0, 0, 13)], Some(u32::MAX)), (&[(0x1c, 0, 0, 0)], Some(7)),
            (&[(0x24, 0, 0, 2)], Some(24)), (&[(0x2c, 0, 0, 0)], Some(60)),
            (&[(0x34, 0, 0, 5)], Some(2)), (&[(0x3c, 0, 0, 0)], Some(2)),
            (&[(0x94, 0, 0, 7)], Some(5)), (&[(0x9c, 0, 0, 0)], Some(2)),
            (&[(0x44, 0, 0, 3)], Some(15)), (&[(0x54, 0, 0, 9)], Some(8)), (&[(0xa4, 0, 0, 10)], Some(6)),
            (&[(0x64, 0, 0, 2)], Some(48)), (&[(0x6c, 0, 0, 0)], Some(384)),
            (&[(0x74, 0, 0, 2)], Some(3)), (&[(0x7c, 0, 0, 0)], Some(0)),
            (&[(0x84, 0, 0, 0)], Some(12u32.wrapping_neg())),
            (&[(0x20, 0, 0, 0)], Some(0x0102_0304)), (&[(0x28, 0, 0, 1)], Some(0x0203)), (&[(0x30, 0, 0, 3)], Some(4)),
            (&[(0x20, 0, 0, 1)], None), (&[(0x30, 0, 0, 4)], None), (&[(0x30, 0, 0, u32::MAX)], None),
            (&[(0x01, 0, 0, 2), (0x50, 0, 0, 1)], Some(4)), (&[(0x50, 0, 0, u32::MAX)], None),
            (&[(0x80, 0, 0, 0)], Some(99)), (&[(0x81, 0, 0, 0), (0x87, 0, 0, 0)], Some(99)),
            (&[(0x02, 0, 0, 15), (0x00, 0, 0, 1), (0x60, 0, 0, 15)], Some(12)),
            (&[(0x03, 0, 0, 0), (0x60, 0, 0, 0)], Some(5)), (&[(0x02, 0, 0, 1), (0x61, 0, 0, 1), (0x87, 0, 0, 0)], Some(12)),
            (&[(0x07, 0, 0, 0), (0x00, 0, 0, 0), (0x87, 0, 0, 0)], Some(12)),
            (&[(0xb1, 0, 0, 3), (0x87, 0, 0, 0)], Some(16)),
            (&[(0x05, 0, 0, 1), (0x00, 0, 0, 7), (0x04, 0, 0, 1)], Some(13)),
            (&[(0x01, 0, 0, 0), (0x3c, 0, 0, 0)], None), (&[(0x01, 0, 0, 40), (0x6c, 0, 0, 0)], Some(0)),
        ];
        for (body, expected) in cases {
            let mut program = vec![(0x00, 0, 0, 12), (0x01, 0, 0, 5)];
            program.extend_from_slice(body);
            program.push((0x16, 0, 0, 0));
            let filter = Filter::new(&program).unwrap();
            assert_eq!(filter.run(&[1, 2, 3, 4], 99), *expected, "{body:x?}");
        }
    }

    #[test]
    fn every_jump_tests() {
        // A = 6; jumps to `ret 1` where the test holds.
        for (code, k, holds) in [
            (0x15, 6, true),
            (0x15, 7, false),
            (0x25, 5, true),
            (0x25, 6, false),
            (0x35, 6, true),
            (0x35, 7, false),
            (0x45, 4, true),
            (0x45, 8, false),
        ] {
            let ret = [(0x06, 0, 0, 0), (0x06, 0, 0, 1)];
            let by_k = [&[(0x00, 0, 0, 6), (code, 1, 0, k)], &ret[..]].concat();
            let by_x = [
                &[(0x00, 0, 0, 6), (0x01, 0, 0, k), (code | 8, 1, 0, 0)],
                &ret[..],
            ]
            .concat();
            for program in [by_k, by_x] {
                assert_eq!(
                    Filter::new(&program).unwrap().accepts(&[], 0),
                    holds,
                    "{program:x?}"
                );
            }
        }
    }

    #[test]
    fn programs_that_could_go_wrong_are_refused() {
        let ret = (0x06, 0, 0, 0);
        let cases: &[(&str, &[Instruction])] = &[
            ("empty", &[]),
            ("no return at the end", &[(0x00, 0, 0, 0)]),
            ("jump beyond the end", &[(0x05, 0, 0, 1), ret]),
            ("jump that wraps", &[(0x05, 0, 0, u32::MAX), ret]),
            ("branch beyond the end", &[(0x15, 0, 1, 0), ret]),
            ("scratch beyond the end", &[(0x02, 0, 0, 16), ret]),
            ("division by nought", &[(0x34, 0, 0, 0), ret]),
            ("shift beyond the word", &[(0x64, 0, 0, 32), ret]),
            ("no such instruction", &[(0xff, 0, 0, 0), ret]),
        ];
        for (name, program) in cases {
            assert!(Filter::new(program).is_err(), "{name}");
        }
        assert!(Filter::new(&vec![ret; MOST]).is_ok());
        assert!(Filter::new(&vec![ret; MOST + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_program_and_no_frame_panics(
            program in proptest::collection::vec(
                (prop_oneof![0u16..0x100, any::<u16>()], 0u8..8, 0u8..8, prop_oneof![0u32..64, any::<u32>()]), 0..24),
            frame: Vec<u8>, wire_len: u32,
        ) {
            let mut program = program;
            program.retain(|instruction| decode(*instruction, 9).is_some());
            program.extend([(0x06, 0, 0, 1); 9]);
            let filter = Filter::new(&program).unwrap();
            filter.accepts(&frame, wire_len);
        }

        #[test]
        fn what_is_accepted_has_only_known_instructions(program: Vec<(u16, u8, u8, u32)>, frame: Vec<u8>) {
            if let Ok(filter) = Filter::new(&program) {
                filter.accepts(&frame, 0);
            }
        }
    }
}
