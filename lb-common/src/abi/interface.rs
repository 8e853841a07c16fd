//! What the program has to know of the interfaces it answers on.

use bytemuck::{Pod, Zeroable};

/// A key of `INTERFACES`: by which interface, and in which VLAN of it, a frame comes in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct InterfaceKey {
    pub ifindex: u32,
    /// VLAN ids of the frame's tags in two half words, the outer one in the lower; 0 without tags.
    pub vlans: u32,
}

/// A value of `INTERFACES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Interface {
    pub mac: [u8; 6],
    pub reserved: [u8; 2],
    /// A bit for each interface that addresses are confined to and whose frames come in here: this one, and bonds, bridges and
    /// VLAN interfaces on it. See [`super::Target::answers_in`].
    pub places: u64,
}

const _: () = assert!(size_of::<InterfaceKey>() == 8);
const _: () = assert!(size_of::<Interface>() == 16);
