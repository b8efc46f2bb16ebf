//! Room `netif`: facts about network interfaces.
//!
//! In: a name. Out: an [`Interface`] as it is at this moment: index, addresses, MTU, queues, carrier, driver, speed.
//! Asked by rtnetlink, which always answers for the network namespace of the calling thread; sysfs is asked only for
//! what rtnetlink doesn't tell, and only after it was seen to speak of the same interface.
//! Not done here: changing anything, and following changes.

mod rtnetlink;

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

/// An interface, as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Ethernet address, zero where there is none (loopback).
    pub mac: [u8; 6],
    /// Largest IP packet it takes, in bytes.
    pub mtu: u32,
    /// Whether it is switched on (`ip link set … up`).
    pub up: bool,
    /// Whether there is a link.
    pub carrier: bool,
    /// IPv4 addresses, the first one first.
    pub ipv4: Vec<Ipv4Addr>,
    /// IPv6 addresses that can be sent from: neither link-local nor still being checked for doubles.
    pub ipv6: Vec<Ipv6Addr>,
    /// Its link-local IPv6 address, where it has one: what MLD queries come from.
    pub link_local: Option<Ipv6Addr>,
    /// Receive queues in use.
    pub rx_queues: u32,
    /// Transmit queues in use.
    pub tx_queues: u32,
    /// The driver's name (`igb`), or the kind of a virtual interface (`veth`).
    pub driver: Option<String>,
    /// Speed of the link in bits per second, where the driver tells.
    pub speed: Option<u64>,
}

/// Why nothing is known of an interface.
#[derive(Debug, thiserror::Error)]
pub enum NetifError {
    /// There is none of this name.
    #[error("there is no interface {name:?}; there are {}", present.join(", "))]
    Missing {
        /// What was looked for.
        name: String,
        /// What there is.
        present: Vec<String>,
    },
    /// The kernel couldn't be asked.
    #[error("asking the kernel for its interfaces (rtnetlink) failed: {0}")]
    Netlink(#[source] io::Error),
}

impl Interface {
    /// Asks for an interface by its name.
    ///
    /// # Errors
    /// There is no such interface in this network namespace, or the kernel can't be asked.
    pub fn read(name: &str) -> Result<Interface, NetifError> {
        let links = rtnetlink::links().map_err(NetifError::Netlink)?;
        let Some(mut interface) = links.iter().find(|link| link.name == name).cloned() else {
            let present = links.into_iter().map(|link| link.name).collect();
            return Err(NetifError::Missing { name: name.to_owned(), present });
        };
        for address in rtnetlink::addresses(interface.index).map_err(NetifError::Netlink)? {
            match address {
                IpAddr::V4(v4) => interface.ipv4.push(v4),
                IpAddr::V6(v6) if !v6.is_unicast_link_local() => interface.ipv6.push(v6),
                IpAddr::V6(v6) => interface.link_local = Some(v6),
            }
        }
        if let Some(folder) = sysfs(&interface) {
            interface.complete(&folder);
        }
        Ok(interface)
    }

    /// Queues that an AF_XDP socket can be bound to: 0 up to this, without it (`xp_assign_dev`, net/xdp/xsk_buff_pool.c).
    #[must_use]
    pub fn queues(&self) -> u32 {
        self.rx_queues.max(self.tx_queues)
    }

    /// Adds what sysfs tells: the queues really in use, the driver, the speed.
    fn complete(&mut self, folder: &Path) {
        if let Ok(queues) = fs::read_dir(folder.join("queues")) {
            let names: Vec<_> = queues.flatten().map(|entry| entry.file_name()).collect();
            let count =
                |kind: &str| names.iter().filter(|name| name.to_string_lossy().starts_with(kind)).count() as u32;
            (self.rx_queues, self.tx_queues) = (count("rx-"), count("tx-"));
        }
        if let Ok(driver) = fs::read_link(folder.join("device/driver")) {
            self.driver = driver.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        // -1 or an error where the driver doesn't know, else Mb/s.
        let speed = fs::read_to_string(folder.join("speed")).ok().and_then(|text| text.trim().parse::<i64>().ok());
        self.speed = speed.filter(|speed| *speed > 0).map(|speed| speed as u64 * 1_000_000);
    }
}

/// The interface's folder in sysfs. `None` if the sysfs that is mounted belongs to another network namespace.
fn sysfs(interface: &Interface) -> Option<PathBuf> {
    let folder = Path::new("/sys/class/net").join(&interface.name);
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let mac = interface.mac.map(|byte| format!("{byte:02x}")).join(":");
    let same = read("ifindex")?.trim() == interface.index.to_string() && read("address")?.trim() == mac;
    same.then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_with_its_address_and_mtu() {
        let lo = Interface::read("lo").unwrap();
        assert_eq!((lo.name.as_str(), lo.index, lo.mac), ("lo", 1, [0; 6]));
        assert!(lo.mtu >= 1500, "{lo:?}");
        assert!(lo.queues() >= 1, "{lo:?}");
        if lo.up {
            assert!(lo.ipv4.contains(&Ipv4Addr::LOCALHOST), "{lo:?}");
        }
    }

    #[test]
    fn a_missing_interface_is_said_with_those_that_exist() {
        let error = Interface::read("nonesuch0").unwrap_err().to_string();
        assert!(error.contains("there is no interface \"nonesuch0\""), "{error}");
        assert!(error.contains("lo"), "{error}");
    }
}
