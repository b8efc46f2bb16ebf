//! Where media goes.

use super::cli::argument;
use super::error::ReceiveError;
use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;

/// Where media is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: only the figures are wanted.
    Nowhere,
    /// Into a file, which begins empty.
    File(PathBuf),
    /// To standard output.
    Stdout,
    /// One datagram for each packet, as received: seven TS packets.
    Udp(SocketAddr),
}

impl Target {
    /// From the command line.
    pub fn parse(text: Option<&str>) -> Result<Target, ReceiveError> {
        Ok(match text {
            None => Target::Nowhere,
            Some("-") => Target::Stdout,
            Some(text) => match text.strip_prefix("udp://") {
                None => Target::File(text.into()),
                Some(address) => Target::Udp(address.parse().map_err(|_| {
                    let remedy = "Give it as udp://127.0.0.1:1234 or udp://[::1]:1234.";
                    argument("--output", &text, "is not an address with a port", remedy)
                })?),
            },
        })
    }
}

/// An open target.
#[derive(Debug)]
pub(super) enum Output {
    Nowhere,
    File(PathBuf, BufWriter<File>),
    Stdout(BufWriter<Stdout>),
    Udp(UdpSocket),
}

/// Whether there is still somebody who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// The reader of the pipe has gone.
    Closed,
}

const BUFFER: usize = 256 << 10;

impl Output {
    pub(super) fn open(target: &Target) -> Result<Output, ReceiveError> {
        Ok(match target {
            Target::Nowhere => Output::Nowhere,
            Target::Stdout => Output::Stdout(BufWriter::with_capacity(BUFFER, io::stdout())),
            Target::File(path) => {
                let file = File::create(path).map_err(|error| {
                    argument("--output", &path.display(), error.to_string(), "Give a writable file.")
                })?;
                Output::File(path.clone(), BufWriter::with_capacity(BUFFER, file))
            }
            Target::Udp(address) => {
                let own: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(own)
                    .and_then(|socket| socket.connect(address).map(|()| socket))
                    .map_err(|source| ReceiveError::Socket { address: *address, source })?;
                Output::Udp(socket)
            }
        })
    }

    pub(super) fn write(&mut self, payload: &[u8]) -> Result<Taken, ReceiveError> {
        let result = match self {
            Output::Nowhere => Ok(()),
            Output::File(_, file) => file.write_all(payload),
            Output::Stdout(stdout) => stdout.write_all(payload),
            // Nobody listening (yet) is no reason to end.
            Output::Udp(socket) => {
                let _ = socket.send(payload);
                Ok(())
            }
        };
        self.outcome(result)
    }

    pub(super) fn flush(&mut self) -> Result<Taken, ReceiveError> {
        let result = match self {
            Output::Nowhere | Output::Udp(_) => Ok(()),
            Output::File(_, file) => file.flush(),
            Output::Stdout(stdout) => stdout.flush(),
        };
        self.outcome(result)
    }

    /// Whether somebody waits for what is written, so that it must not stay in a buffer.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Output::Stdout(_))
    }

    fn outcome(&self, result: io::Result<()>) -> Result<Taken, ReceiveError> {
        match result {
            Ok(()) => Ok(Taken::Yes),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Taken::Closed),
            Err(source) => {
                let path = match self {
                    Output::File(path, _) => path.clone(),
                    _ => PathBuf::from("-"),
                };
                Err(ReceiveError::Write { path, source })
            }
        }
    }
}
