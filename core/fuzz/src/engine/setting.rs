//! Where scripts play: the connections, the one that no leg names, and the limits.

/// Both ends of a connection.
pub struct Tuple {
    pub client: &'static [u8],
    pub client_port: u16,
    pub server: &'static [u8],
    pub server_port: u16,
}

const GATEWAY1: &[u8] = &[172, 16, 23, 1];
const GATEWAY2: &[u8] = &[172, 16, 23, 2];
const GATEWAY1_V6: &[u8] = &[0xfd, 0, 0, 0x23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const GATEWAY2_V6: &[u8] = &[0xfd, 0, 0, 0x23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

const fn tuple(client: &'static [u8], client_port: u16, server: &'static [u8]) -> Tuple {
    Tuple {
        client,
        client_port,
        server,
        server_port: 9000,
    }
}

/// The connections of all scripts; a client's port tells them apart.
pub const TUPLES: [Tuple; 8] = [
    tuple(GATEWAY1, 40000, GATEWAY2),
    tuple(GATEWAY1_V6, 40001, GATEWAY2_V6),
    // Nobody that the leg trusts.
    tuple(&[172, 16, 23, 9], 40002, GATEWAY2),
    // No leg at all.
    tuple(&[10, 0, 0, 1], 40003, &[10, 0, 0, 2]),
    tuple(GATEWAY1, 40004, GATEWAY2),
    tuple(GATEWAY1_V6, 40005, GATEWAY2_V6),
    tuple(GATEWAY1, 40006, GATEWAY2),
    tuple(GATEWAY1, 40007, GATEWAY2),
];

/// The one tuple that no leg names.
pub const STRANGER: usize = 3;

/// The limits of a script.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    pub half_open: usize,
    pub hold_packets: usize,
    pub hold_bytes: usize,
    pub hold_total_bytes: usize,
    pub fragments: usize,
    /// Seconds that packets and fragments are held.
    pub hold: u64,
    /// Seconds that connections are remembered.
    pub idle: u64,
}

const WIDE: Limits = Limits {
    connections: 64,
    half_open: 64,
    hold_packets: 256,
    hold_bytes: 1 << 20,
    hold_total_bytes: 64 << 20,
    fragments: 4096,
    hold: 3,
    idle: 3600,
};

/// None that is ever met; few connections; little held; little of everything.
pub const LIMITS: [Limits; 4] = [
    WIDE,
    Limits {
        connections: 2,
        half_open: 2,
        idle: 1,
        ..WIDE
    },
    Limits {
        hold_packets: 2,
        hold_total_bytes: 1500,
        fragments: 3,
        hold: 1,
        ..WIDE
    },
    Limits {
        connections: 1,
        half_open: 1,
        hold_packets: 1,
        hold_bytes: 600,
        hold_total_bytes: 700,
        fragments: 1,
        hold: 0,
        idle: 0,
    },
];
