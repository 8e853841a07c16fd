//! A host that asks all the time where an address is (ARP), and notes who answers when.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_user::net::link;

use super::namespace::Namespace;
use super::raw_socket::frame_socket;

/// An Ethernet address.
pub type Mac = [u8; 6];

const ARP: u16 = 0x0806;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// A thread that asks until it is dropped.
#[derive(Debug)]
pub struct Asker {
    pub address: Ipv4Addr,
    answers: Arc<Mutex<Vec<(Instant, Mac)>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Asker {
    /// Asks on an interface for `address`, in the name of `own`, which need be nobody's.
    ///
    /// # Errors
    /// When the kernel refuses a socket for frames.
    pub fn start(namespace: &Namespace, interface: &str, own: Ipv4Addr, address: Ipv4Addr) -> Result<Self> {
        let socket = frame_socket(namespace, interface, ARP)?;
        let of = interface.to_owned();
        let mac = namespace.inside(move || Ok(link::mac(&of)?))?;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (heard, ended) = (answers.clone(), over.clone());
        let thread = std::thread::spawn(move || ask(&socket, (mac, own), address, &heard, &ended));
        Ok(Self { address, answers, over, thread: Some(thread) })
    }

    /// # Errors
    /// When it asks no more.
    pub fn check(&self) -> Result<()> {
        let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        ensure!(!ended, "the asker has ended");
        Ok(())
    }

    /// Who answered last.
    #[must_use]
    pub fn last(&self) -> Option<Mac> {
        lock(&self.answers).last().map(|(_, mac)| *mac)
    }

    /// Forgets what it has heard so far.
    pub fn forget(&self) {
        lock(&self.answers).clear();
    }

    /// Every answer since, and when it came.
    #[must_use]
    pub fn answers(&self) -> Vec<(Instant, Mac)> {
        lock(&self.answers).clone()
    }

    /// Who answered since, one after the other.
    #[must_use]
    pub fn owners(&self) -> Vec<Mac> {
        let mut owners: Vec<Mac> = self.answers().into_iter().map(|(_, mac)| mac).collect();
        owners.dedup();
        owners
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("{error:#}");
        }
    }
}

/// Nothing that holds it can panic half-way.
fn lock(answers: &Mutex<Vec<(Instant, Mac)>>) -> MutexGuard<'_, Vec<(Instant, Mac)>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(
    socket: &UdpSocket,
    (mac, own): (Mac, Ipv4Addr),
    address: Ipv4Addr,
    heard: &Mutex<Vec<(Instant, Mac)>>,
    over: &AtomicBool,
) -> Result<()> {
    let head = [&[0xff; 6][..], &mac, &ARP.to_be_bytes(), &[0, 1, 8, 0, 6, 4, 0, 1]].concat();
    let request = [&head[..], &mac, &own.octets(), &[0; 6], &address.octets()].concat();
    socket.set_read_timeout(Some(PAUSE))?;
    let mut frame = [0; 128];
    while !over.load(Ordering::Relaxed) {
        socket.send(&request)?;
        let until = Instant::now() + PAUSE;
        while Instant::now() < until {
            let Ok(len) = socket.recv(&mut frame) else { continue };
            // Answers alone: announcements of the next master are for everybody.
            let is_answer = len >= 42 && frame[..6] == mac && frame[20..22] == [0, 2];
            if is_answer && frame[28..32] == address.octets() {
                lock(heard).push((Instant::now(), frame[22..28].try_into()?));
            }
        }
    }
    Ok(())
}
