//! Connections that stay open: whoever answered first has to answer every later request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(5);

/// Open HTTP connections of one client.
#[derive(Debug)]
pub struct Connections(Vec<Connection>);

#[derive(Debug)]
struct Connection {
    stream: BufReader<TcpStream>,
    /// Who answered first.
    backend: String,
}

impl Connections {
    /// Opens so many, each with a first request.
    ///
    /// # Errors
    /// When one cannot be opened, or gets no answer.
    pub fn open(namespace: &Namespace, server: SocketAddr, count: usize) -> Result<Self> {
        let opened = namespace.inside(move || (0..count).map(|_| Connection::open(server)).collect())?;
        Ok(Self(opened))
    }

    /// Asks on every connection again.
    ///
    /// # Errors
    /// When one is broken, or is another backend's now.
    pub fn ask(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(|connection| {
            let from = connection.stream.get_ref().local_addr()?;
            let backend =
                connection.request().with_context(|| format!("from {from} to {}", connection.backend))?;
            ensure!(backend == connection.backend, "from {from}: {} became {backend}", connection.backend);
            Ok(())
        })
    }

    /// Asks on every connection again, and says how many are broken, or are another backend's now.
    pub fn broken(&mut self) -> usize {
        let goes_on = |connection: &mut Connection| {
            connection.request().is_ok_and(|backend| backend == connection.backend)
        };
        self.0.iter_mut().map(goes_on).filter(|goes_on| !goes_on).count()
    }

    /// Connections to a backend.
    #[must_use]
    pub fn to(&self, backend: &str) -> usize {
        self.0.iter().filter(|connection| connection.backend == backend).count()
    }

    /// Closes those to a backend.
    pub fn close(&mut self, backend: &str) {
        self.0.retain(|connection| connection.backend != backend);
    }
}

impl Connection {
    fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).context("connect")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut opened = Self { stream: BufReader::new(stream), backend: String::new() };
        opened.backend = opened.request()?;
        Ok(opened)
    }

    /// Who answers a request.
    fn request(&mut self) -> Result<String> {
        self.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n").context("send")?;
        let mut length = None;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).context("receive")? == 0 {
                bail!("closed");
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body).context("receive")?;
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    }
}
