//! The least XDP program: `XDP_PASS` and nothing else.
//!
//! A veth takes frames sent by `XDP_TX` on its peer only when it has a program itself. Real network cards need nothing
//! of the kind.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::namespace::Namespace;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// The program takes frames of several buffers: an interface with a large MTU takes no other.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// `r0 = XDP_PASS; exit`
static INSTRUCTIONS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
static LICENSE: &std::ffi::CStr = c"GPL";

#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct ObjectPin {
    path: u64,
    object: u32,
    flags: u32,
}

/// Attaches the stub to an interface for as long as the file `pin` on bpffs exists.
///
/// # Errors
/// When the interface does not exist, refuses, or has another program.
pub fn attach(namespace: &Namespace, interface: &str, pin: &Path) -> Result<()> {
    let (interface, pin) = (interface.to_owned(), pin.to_owned());
    // The kernel looks the interface up where the calling thread is.
    namespace.inside(move || {
        let ifindex = nix::net::if_::if_nametoindex(interface.as_str())?;
        attach_here(ifindex, &pin).with_context(|| format!("cannot attach the pass stub to {interface}"))
    })
}

fn attach_here(ifindex: u32, pin: &Path) -> Result<()> {
    let program = load(&INSTRUCTIONS)?;
    let link = bpf_fd(
        BPF_LINK_CREATE,
        &LinkCreate { program: program.as_raw_fd().cast_unsigned(), ifindex, attach_type: BPF_XDP, flags: 0 },
    )?;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    bpf(
        BPF_OBJ_PIN,
        &ObjectPin { path: path.as_ptr() as u64, object: link.as_raw_fd().cast_unsigned(), flags: 0 },
    )?;
    Ok(())
}

/// An XDP program.
pub(super) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    bpf_fd(
        BPF_PROG_LOAD,
        &ProgramLoad {
            program_type: BPF_PROG_TYPE_XDP,
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: BPF_F_XDP_HAS_FRAGS,
        },
    )
}

fn bpf_fd<A>(command: libc::c_int, attributes: &A) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<A>(command: libc::c_int, attributes: &A) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is a struct of this module, laid out as this command's part of `union bpf_attr`; the kernel
    // takes what lies beyond the size we give as zero. The pointers in it outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    match libc::c_int::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
