//! A backend: nginx and a UDP service that answer with the backend's name, and `ferrolev decap` in front of them.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::daemon::ferrolev;
use super::lab_dir::Lab;
use super::load::http_get;
use super::namespace::Namespace;
use super::process::{Process, run};
use super::wait_until;

/// Ports that every backend's nginx listens on, IPv4 and IPv6.
const HTTP_PORTS: [u16; 2] = [80, 8080];

/// A running backend.
#[derive(Debug)]
pub struct Backend {
    pub name: String,
    pub namespace: Namespace,
    pub address4: Ipv4Addr,
    pub address6: Ipv6Addr,
    nginx: Process,
    decap: Process,
}

impl Backend {
    pub(super) fn start(
        name: String,
        namespace: Namespace,
        (address4, address6): (Ipv4Addr, Ipv6Addr),
        lab: &Lab,
    ) -> Result<Self> {
        let nginx = start_nginx(&name, &namespace, lab)?;
        let decap = start_decap(&name, &namespace, lab)?;
        Ok(Self { name, namespace, address4, address6, nginx, decap })
    }

    /// Waits until nginx answers and the decapsulation program is attached.
    pub(super) fn wait_ready(&mut self) -> Result<()> {
        let limit = Duration::from_secs(20);
        wait_until(&format!("nginx on {}", self.name), limit, || {
            self.nginx.check_running()?;
            self.namespace.inside(|| {
                http_get((Ipv4Addr::LOCALHOST, HTTP_PORTS[0]).into(), Duration::from_secs(1)).map(drop)
            })
        })?;
        wait_until(&format!("ferrolev decap on {}", self.name), limit, || {
            self.decap.check_running()?;
            let link = run(self.namespace.command("ip")?.args(["-json", "link", "show", "dev", "eth0"]))?;
            if !link.contains("\"xdp\"") {
                bail!("no XDP program on eth0 yet\n{}", self.decap.log_tail());
            }
            Ok(())
        })
    }

    /// Ends nginx as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill_nginx(&mut self) -> Result<()> {
        self.nginx.end(Signal::SIGKILL)
    }

    /// Starts nginx again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive_nginx(&mut self, lab: &Lab) -> Result<()> {
        self.nginx = start_nginx(&self.name, &self.namespace, lab)?;
        self.wait_ready()
    }

    /// Ends the decapsulation agent, and its program with it.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill_decap(&mut self) -> Result<()> {
        self.decap.end(Signal::SIGKILL)
    }

    /// Starts the decapsulation agent again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive_decap(&mut self, lab: &Lab) -> Result<()> {
        self.decap = start_decap(&self.name, &self.namespace, lab)?;
        self.wait_ready()
    }

    /// Sends nginx a signal, such as one that makes it stop answering.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal_nginx(&self, signal: Signal) -> Result<()> {
        self.nginx.signal(signal)
    }

    /// Whether it says on `/role` that it is the active one of a mirror pair: 200 `SUCCESS`, and 503 `FAILED` otherwise.
    ///
    /// # Errors
    /// When the file that says so cannot be written.
    pub fn set_active(&self, lab: &Lab, active: bool) -> Result<()> {
        let file = lab.dir().join(&self.name).join("active");
        if active {
            return fs::write(file, "").context("cannot make it the active one");
        }
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What nginx and the decapsulation agent said last, for messages of failures.
    #[must_use]
    pub fn logs(&self) -> String {
        format!(
            "{} nginx:\n{}\n{} decap:\n{}",
            self.name,
            self.nginx.log_tail(),
            self.name,
            self.decap.log_tail()
        )
    }

    /// Leaves its programs running.
    pub fn keep(&mut self) {
        self.nginx.keep();
        self.decap.keep();
    }

    /// Serves UDP on an address of this backend, answering every datagram with the backend's name.
    ///
    /// # Errors
    /// When the address is in use or not the backend's.
    pub fn serve_udp(&self, address: IpAddr, port: u16) -> Result<Service> {
        Service::start(&self.namespace, SocketAddr::new(address, port), self.name.clone(), Answer::Name)
    }

    /// As [`Self::serve_udp`]; behind the name comes the datagram itself.
    ///
    /// # Errors
    /// As [`Self::serve_udp`].
    pub fn echo_udp(&self, address: IpAddr, port: u16) -> Result<Service> {
        Service::start(
            &self.namespace,
            SocketAddr::new(address, port),
            self.name.clone(),
            Answer::NameAndEcho,
        )
    }
}

fn start_nginx(name: &str, namespace: &Namespace, lab: &Lab) -> Result<Process> {
    let dir = lab.dir().join(name);
    fs::create_dir_all(&dir)?;
    let listen: String = HTTP_PORTS
        .iter()
        .map(|port| format!("    listen {port} backlog=4096;\n    listen [::]:{port} backlog=4096;\n"))
        .collect();
    let dir_text = dir.display();
    // One process, so that it is gone when it is killed. Connections that tests hold may have to wait for long on a busy machine.
    let config = format!(
        "daemon off;\n\
         master_process off;\n\
         user root;\n\
         pid {dir_text}/nginx.pid;\n\
         error_log {dir_text}/nginx.log warn;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
         \x20 access_log off;\n\
         \x20 keepalive_timeout 1h;\n\
         \x20 client_body_temp_path {dir_text}/body;\n\
         \x20 default_type text/plain;\n\
         \x20 server {{\n{listen}\
         \x20   location / {{ return 200 \"{name}\\n\"; }}\n\
         \x20   location = /role {{ if (-f {dir_text}/active) {{ return 200 SUCCESS; }} return 503 FAILED; }}\n  }}\n\
         }}\n"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-e").arg(dir.join("nginx.log")).arg("-p").arg(&dir);
    Process::start(&format!("nginx of {name}"), namespace, command, dir.join("nginx.log"))
}

fn start_decap(name: &str, namespace: &Namespace, lab: &Lab) -> Result<Process> {
    let mut command = Command::new(ferrolev()?);
    command.args(["decap", "--dev", "eth0"]);
    let log = lab.dir().join(name).join("decap.log");
    Process::start(&format!("ferrolev decap of {name}"), namespace, command, log)
}

/// A UDP service on a thread; it ends when dropped.
#[derive(Debug)]
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Name,
    NameAndEcho,
}

/// No datagram is longer.
const LONGEST: usize = 65_535;

impl Service {
    fn start(namespace: &Namespace, address: SocketAddr, name: String, answer: Answer) -> Result<Self> {
        let socket = namespace.inside(move || {
            UdpSocket::bind(address).with_context(|| format!("cannot serve UDP on {address}"))
        })?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut datagram = vec![0; LONGEST];
            while !stopped.load(Ordering::Relaxed) {
                match socket.recv_from(&mut datagram) {
                    // A client that does not get its answer reports it; there is nobody to tell here.
                    Ok((len, client)) => {
                        let echo = if answer == Answer::NameAndEcho { &datagram[..len] } else { &[] };
                        let _ = socket.send_to(&[name.as_bytes(), echo].concat(), client);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => break,
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
