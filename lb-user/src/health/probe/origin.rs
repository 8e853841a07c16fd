//! Sockets to a backend, from the address and through the interface that the check names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::Failure;

/// Where probes come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// One for each family at most; without one the kernel chooses.
    pub source: Vec<IpAddr>,
    /// All packets leave through it, whatever the routes say.
    pub interface: Option<String>,
}

/// The backend that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Port 0 for probes that need none.
    pub at: SocketAddr,
    pub origin: &'a Origin,
}

impl Peer<'_> {
    /// A connection that leaves nothing behind when it is dropped.
    pub(super) async fn connect(&self) -> Result<TcpStream, Failure> {
        let socket = match self.at {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(|error| Failure::host(&error))?;
        if let Some(interface) = &self.origin.interface {
            let bound = socket.bind_device(Some(interface.as_bytes()));
            bound.map_err(|error| no_interface(interface, &error))?;
        }
        if let Some(source) = self.source() {
            socket.bind(SocketAddr::new(source, 0)).map_err(|error| no_source(source, &error))?;
        }
        // A reset in place of FIN: thousands of checks would fill the table of connections in TIME_WAIT.
        let _ = socket.set_zero_linger();
        let _ = socket.set_nodelay(true);
        socket.connect(self.at).await.map_err(|error| Failure::socket(&error, "connecting"))
    }

    /// A socket that hears of this backend only.
    pub(super) async fn datagrams(&self) -> Result<UdpSocket, Failure> {
        let source = self.source_or_any();
        let socket = UdpSocket::bind(SocketAddr::new(source, 0)).await;
        let socket = socket.map_err(|error| no_source(source, &error))?;
        if let Some(interface) = &self.origin.interface {
            let bound = socket.bind_device(Some(interface.as_bytes()));
            bound.map_err(|error| no_interface(interface, &error))?;
        }
        socket.connect(self.at).await.map_err(|error| Failure::socket(&error, "sending"))?;
        Ok(socket)
    }

    /// The source address that the check names for the backend's family.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.origin.source.iter().copied().find(|source| source.is_ipv4() == self.at.is_ipv4())
    }

    pub(super) fn source_or_any(&self) -> IpAddr {
        self.source().unwrap_or(match self.at {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })
    }
}

pub(super) fn no_interface(interface: &str, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENODEV) => Failure::Setup(format!("there is no interface {interface}")),
        _ => Failure::Setup(format!("cannot use interface {interface}: {error}")),
    }
}

pub(super) fn no_source(source: IpAddr, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) if !source.is_unspecified() => {
            Failure::Setup(format!("source {source} is not an address of this host"))
        }
        _ => Failure::host(error),
    }
}
