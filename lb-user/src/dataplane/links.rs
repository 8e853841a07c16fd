//! Taking pinned links off at once.
//!
//! Removing the pin is not enough: the kernel lets go of a link that nobody holds any more from a work queue, some time
//! later, and until then the interface refuses another program.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::DataplaneError;
use super::pins::{kernel, remove_file};

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_DETACH: libc::c_int = 34;

/// What `BPF_OBJ_GET` takes of `union bpf_attr`.
#[repr(C)]
struct ObjectGet {
    path: u64,
    object: u32,
    flags: u32,
}

/// What `BPF_LINK_DETACH` takes of it.
#[repr(C)]
struct LinkDetach {
    link: u32,
}

/// Takes a pinned link off its interface and removes the pin; fine when there is none.
pub(super) fn remove_link(path: &Path) -> Result<(), DataplaneError> {
    match detach(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(kernel(path, source)),
        _ => remove_file(path),
    }
}

fn detach(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let fd = bpf(BPF_OBJ_GET, &ObjectGet { path: path.as_ptr() as u64, object: 0, flags: 0 })?;
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    bpf(BPF_LINK_DETACH, &LinkDetach { link: link.as_raw_fd().cast_unsigned() }).map(drop)
}

fn bpf<A>(command: libc::c_int, attributes: &A) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is one of the structs above, laid out as this command's part of `union bpf_attr`; the kernel
    // takes what lies beyond the size we give as zero. The path in it outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    match libc::c_int::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
