//! Large transfers over TCP, and what a host finds out about packet sizes on the way.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::namespace::Namespace;
use super::process::run;

/// Bytes each way.
const LEN: usize = 20 << 20;
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// A server that takes what a client has to say until it stops, and answers with its name's length, its name, the number
/// of bytes that it took, and [`LEN`] bytes if it was asked for them. It ends when dropped.
#[derive(Debug)]
pub struct FileServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a client wants of a [`FileServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    Upload,
    Download,
}

impl FileServer {
    /// # Errors
    /// When the address is in use or not the namespace's.
    pub fn start(namespace: &Namespace, address: SocketAddr, name: &str) -> Result<Self> {
        let listener = namespace.inside(move || {
            let listener =
                TcpListener::bind(address).with_context(|| format!("cannot serve on {address}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name) = (Arc::clone(&stop), name.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A client that does not get all reports it; there is nobody to tell here.
                    Ok((stream, _)) => drop(serve(stream, &name)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                    Err(_) => break,
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, name: &str) -> Result<()> {
    stream.set_nonblocking(false)?;
    set_patience(&stream)?;
    let mut wanted = [0];
    stream.read_exact(&mut wanted)?;
    let taken = count(&mut stream)?;
    stream.write_all(&[name.len() as u8])?;
    stream.write_all(name.as_bytes())?;
    stream.write_all(&taken.to_be_bytes())?;
    if wanted == [Transfer::Download as u8] {
        stream.write_all(&vec![7; LEN])?;
    }
    Ok(())
}

/// Sends or fetches many bytes, and says which server it was. The kernel's TCP sets "don't fragment".
///
/// # Errors
/// When not all of them arrive, or not in time.
pub fn transfer(client: &Namespace, server: SocketAddr, transfer: Transfer) -> Result<String> {
    let talk = move || {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        set_patience(&stream)?;
        stream.write_all(&[transfer as u8])?;
        let (up, down) = if transfer == Transfer::Upload { (LEN, 0) } else { (0, LEN) };
        stream.write_all(&vec![7; up])?;
        stream.shutdown(Shutdown::Write)?;
        let mut len = [0];
        stream.read_exact(&mut len)?;
        let mut name = vec![0; len[0].into()];
        stream.read_exact(&mut name)?;
        let mut taken = [0; 8];
        stream.read_exact(&mut taken)?;
        ensure!(u64::from_be_bytes(taken) == up as u64, "not all of the {up} bytes arrived");
        let got = count(&mut stream)?;
        ensure!(got == down as u64, "{got} bytes came instead of {down}");
        Ok(String::from_utf8(name)?)
    };
    client.inside(talk).with_context(|| format!("{transfer:?} {server}"))
}

/// The bytes until the other side stops.
fn count(stream: &mut TcpStream) -> Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut taken = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(taken),
            len => taken += len as u64,
        }
    }
}

fn set_patience(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream.set_write_timeout(Some(PATIENCE))?)
}

/// All that `tracepath` says.
///
/// # Errors
/// When it cannot be run.
pub fn tracepath(client: &Namespace, to: IpAddr, hops: u8) -> Result<String> {
    run(client.command("tracepath")?.args(["-n", "-m", &hops.to_string(), &to.to_string()]))
}

/// The packet size that `tracepath` finds to fit the way.
///
/// # Errors
/// When it finds none.
pub fn path_mtu(client: &Namespace, to: IpAddr) -> Result<u32> {
    let said = tracepath(client, to, 3)?;
    let found = said.lines().filter_map(|line| line.split_once("pmtu ")).next_back();
    found
        .and_then(|(_, mtu)| mtu.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no MTU:\n{said}"))
}

/// The packet size that a host has learned for the way to `to`; `None` before it has.
///
/// # Errors
/// When there is no route.
pub fn learned_mtu(host: &Namespace, to: IpAddr) -> Result<Option<u32>> {
    let said = run(host.command("ip")?.args(["route", "get", &to.to_string()]))?;
    let mut words = said.split_whitespace().skip_while(|word| *word != "mtu").skip(1);
    Ok(words.next().map(str::parse).transpose()?)
}

/// Lets a host forget the sizes that it has learned.
///
/// # Errors
/// When `ip` fails.
pub fn forget_mtus(host: &Namespace) -> Result<()> {
    for family in ["-4", "-6"] {
        run(host.command("ip")?.args([family, "route", "flush", "cache"]))?;
    }
    Ok(())
}
