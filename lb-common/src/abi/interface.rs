//! What the program has to know of an interface on which it answers.

use bytemuck::{Pod, Zeroable};

/// A value of `INTERFACES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Interface {
    pub mac: [u8; 6],
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<Interface>() == 8);
