//! Installs what is missing, and says what it does; silent when nothing is.
//!
//! On Debian as root everything comes as packages, bpf-linker built against Debian's LLVM; elsewhere the kernel side is
//! built with a rustup nightly and a released bpf-linker.

mod debian;

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo, find};
use crate::toolchain::{BpfCompiler, BpfLinker, BpfToolchain};

/// The release that the project is built with.
const BPF_LINKER: &str = "bpf-linker@0.13.0";

/// A program that the demo and the namespace tests run; or a file that one of them loads, by its whole path.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const LAB_TOOLS: [Tool; 12] = [
    Tool { program: "ip", package: "iproute2", purpose: "namespaces, links and routes" },
    Tool { program: "ethtool", package: "ethtool", purpose: "checksum offload off on veth links" },
    Tool { program: "nginx", package: "nginx", purpose: "the backends" },
    Tool { program: "curl", package: "curl", purpose: "single requests" },
    Tool { program: "wrk", package: "wrk", purpose: "load" },
    Tool { program: "ping", package: "iputils-ping", purpose: "echo requests" },
    Tool { program: "tracepath", package: "iputils-tracepath", purpose: "path MTU as clients find it" },
    Tool { program: "systemctl", package: "systemd", purpose: "the packaged service" },
    Tool { program: "dnsmasq", package: "dnsmasq-base", purpose: "a name server that is checked" },
    Tool { program: "keepalived", package: "keepalived", purpose: "the other side of VRRP elections" },
    Tool { program: "nft", package: "nftables", purpose: "packets that are dropped or refused on their way" },
    Tool { program: "memcached", package: "memcached", purpose: "a server that is checked" },
];

/// What a benchmark compares with, and measures by.
const PEER_TOOLS: [Tool; 3] = [
    Tool { program: "haproxy", package: "haproxy", purpose: "a balancer to compare with" },
    Tool { program: NGINX_STREAM, package: "libnginx-mod-stream", purpose: "a balancer to compare with" },
    Tool { program: "iperf3", package: "iperf3", purpose: "bulk transfers" },
];
/// Where Debian puts it.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

const VM_PEER_TOOLS: [Tool; 3] = [
    Tool { program: "ipvsadm", package: "ipvsadm", purpose: "the kernel's balancer" },
    Tool { program: "nginx", package: "nginx", purpose: "the guest's backend" },
    Tool { program: "wrk", package: "wrk", purpose: "load in the guest" },
];

const VM_TOOLS: [Tool; 7] = [
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", purpose: "the machine" },
    Tool { program: "busybox", package: "busybox-static", purpose: "the guest's programs" },
    Tool { program: "ip", package: "iproute2", purpose: "the guest's network" },
    Tool { program: "ethtool", package: "ethtool", purpose: "the guest's links" },
    Tool { program: "curl", package: "curl", purpose: "the guest's requests" },
    Tool { program: "depmod", package: "kmod", purpose: "the order of kernel modules" },
    Tool { program: "cpio", package: "cpio", purpose: "the guest's file system" },
];

/// Everything it takes to build for BPF.
pub(crate) fn kernel_side() -> Result<BpfToolchain> {
    if let Ok(tools) = BpfToolchain::detect() {
        return Ok(tools);
    }
    let compiler = match BpfCompiler::detect() {
        Some(compiler) => compiler,
        None => install_compiler()?,
    };
    if BpfLinker::detect().is_none() {
        install_linker(&compiler)?;
    }
    Ok(BpfToolchain::detect()?)
}

/// What the demo and the namespace tests run.
pub(crate) fn lab() -> Result<()> {
    tools(&LAB_TOOLS)
}

/// The balancers to compare with. A benchmark says which of them are missing, and measures the others.
pub(crate) fn peers() {
    if let Err(error) = tools(&PEER_TOOLS) {
        eprintln!("setup: {error:#}; the benchmark leaves out what is missing");
    }
}

/// What it takes to run another kernel.
pub(crate) fn vm() -> Result<()> {
    tools(&VM_TOOLS)
}

/// What it takes to compare with another kernel's own balancer.
pub(crate) fn vm_peers() -> Result<()> {
    tools(&VM_PEER_TOOLS)
}

fn tools(needed: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = needed.iter().filter(|tool| find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|tool| format!("{} ({})", tool.program, tool.purpose)).collect();
    if !debian::can_install() {
        bail!("missing: {}; install them, or run `cargo xtask setup` as root on Debian", names.join(", "));
    }
    println!("setup: installing {}", names.join(", "));
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    debian::install(&packages)
}

fn install_compiler() -> Result<BpfCompiler> {
    if debian::can_install() && debian::offers("rustc-web") {
        println!(
            "setup: installing Debian's rustc-web and rust-web-src (a compiler for BPF, the sources of core)"
        );
        debian::install(&["rustc-web", "rust-web-src"])?;
    } else if find("rustup").is_some() {
        println!("setup: installing a rustup nightly with rust-src");
        let mut rustup = std::process::Command::new("rustup");
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        rustup.args(["--component", "rust-src"]);
        command::succeed_quietly(rustup)?;
    } else {
        bail!(
            "no compiler for the kernel side: run this as root on Debian (packages rustc-web and rust-web-src), or \
             install rustup from https://rustup.rs and run it again"
        );
    }
    BpfCompiler::detect().context("the compiler was installed but is not found; this is a defect of setup")
}

fn install_linker(compiler: &BpfCompiler) -> Result<()> {
    match compiler {
        BpfCompiler::Debian => build_linker(),
        BpfCompiler::Nightly { .. } => fetch_linker(),
    }
}

/// Builds the linker against Debian's LLVM, the one that Debian's compiler uses.
fn build_linker() -> Result<()> {
    const LLVM: &str = "/usr/lib/llvm-22";
    let development_files = ["include/llvm-c/Core.h", "lib/libPolly.a"];
    if !development_files.iter().all(|file| std::path::Path::new(LLVM).join(file).is_file()) {
        if !debian::can_install() {
            bail!(
                "no bpf-linker: run this as root, or install the packages llvm-22-dev and libpolly-22-dev and run it again"
            );
        }
        println!("setup: installing Debian's llvm-22-dev and libpolly-22-dev (for bpf-linker)");
        debian::install(&["llvm-22-dev", "libpolly-22-dev"])?;
    }
    println!("setup: building {BPF_LINKER} (about a minute)");
    let mut install = cargo(["install", BPF_LINKER]);
    install.args(["--no-default-features", "--features", "llvm-22"]).env("LLVM_PREFIX", LLVM);
    command::succeed_quietly(install)
}

/// Fetches the linker as its project released it: it carries an LLVM as new as a nightly's.
fn fetch_linker() -> Result<()> {
    if find("cargo-binstall").is_none() {
        println!("setup: building cargo-binstall, which fetches released binaries (some minutes)");
        command::succeed_quietly(cargo(["install", "--locked", "cargo-binstall"]))?;
    }
    println!("setup: installing {BPF_LINKER}");
    command::succeed_quietly(cargo(["binstall", "--no-confirm", BPF_LINKER]))
}
