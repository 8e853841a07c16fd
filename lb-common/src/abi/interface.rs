//! What the program has to know of an interface on which it answers.

use bytemuck::{Pod, Zeroable};

/// A value of `INTERFACES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Interface {
    pub mac: [u8; 6],
    pub reserved: [u8; 2],
}

impl Interface {
    /// That of the interface at which test runs enter ([`super::LOOPBACK_IFINDEX`]), when the program was loaded for tests.
    pub const OF_TEST_RUNS: Self = Self { mac: [0x02, 0, 0, 0, 0xaa, 1], reserved: [0; 2] };
}

const _: () = assert!(size_of::<Interface>() == 8);
