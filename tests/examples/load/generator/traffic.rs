//! The packets: templates, and what makes each client's its own.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use sender::xdp::{Reason, TitleEntry, TitleId};
use sender_common::{
    Address, Change, Hops, Meaning, Report, Sink,
    craft::{Craft, Record, membership_report, receiver_report},
    flood::{Plan, own},
    inspect,
    membership::Query,
};

use super::{
    hostile,
    options::{KINDS, Options, Range},
    target::{Counts, Target},
};

const IP: usize = 14;
const SOURCE: usize = IP + 12;
const IP_CHECKSUM: usize = IP + 10;
const PORT: usize = IP + 20;
const TCP_CHECKSUM: usize = PORT + 16;
/// Of a report, behind the headers; of its source description, behind the report block.
const SSRCS: [usize; 2] = [PORT + 8 + 4, PORT + 8 + 32 + 4];
/// Clients that share an address have ports from here on.
const FIRST_PORT: u64 = 20_000;

/// What of a template is each client's own, beside its address.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Own {
    /// Nothing, not even the address.
    Nothing = own::NOTHING,
    Address = own::ADDRESS,
    /// The port and the SSRC of an RTCP compound.
    Report = own::REPORT,
    /// The port of a TCP segment.
    Segment = own::SEGMENT,
}

/// A packet of address 0.0.0.0 and port 0, to be filled in.
pub(super) struct Template {
    frame: Vec<u8>,
    own: Own,
    /// What the parser says of it.
    means: Counts,
    sent: u64,
}

/// All templates, and whose turn it is.
pub(super) struct Traffic {
    /// Each kind goes through the clients by itself, so that all of them send all of it.
    clients: [Clients; KINDS.len()],
    templates: Vec<Template>,
    /// For each kind, its templates.
    kinds: [std::ops::Range<usize>; KINDS.len()],
    /// The kinds in the order they are sent, over and over.
    turns: Vec<usize>,
    turn: usize,
    enemies: usize,
    sent: u64,
}

impl Traffic {
    pub(super) fn new(options: &Options, target: &Target, mac: [u8; 6]) -> Result<Self> {
        let model = Model { feedback: &options.feedback, groups: &options.group, front_door: options.front_door };
        let clients = Clients::new(options);
        let to = |address: Ipv4Addr| Craft::new(Ipv4Addr::UNSPECIFIED.into(), address.into()).ttl(61);
        let record = |kind: u8, group: &Ipv4Addr| {
            let record = Record { kind, group: (*group).into(), sources: vec![], auxiliary: 0 };
            to(Ipv4Addr::new(224, 0, 0, 22)).igmp(&membership_report(true, &[record]))
        };
        let door = if options.front_door == 0 { 554 } else { options.front_door };
        let report = |port: &u16| to(target.address).udp(0, *port, &receiver_report(0, 1, 2, 5));
        let packets: [Vec<(Own, Vec<u8>)>; KINDS.len()] = [
            options.feedback.iter().map(|port| (Own::Report, report(port))).collect(),
            options.group.iter().map(|group| (Own::Address, record(4, group))).collect(),
            options.group.iter().map(|group| (Own::Address, record(3, group))).collect(),
            vec![(Own::Segment, to(target.address).tcp(0, door, 2))],
            hostile::packets(target.address, options.feedback[0], options.group[0]),
        ];
        let (mut templates, mut kinds) = (vec![], std::array::from_fn(|_| 0..0));
        for (kind, packets) in packets.into_iter().enumerate() {
            let first = templates.len();
            for (own, frame) in packets {
                templates.push(Template::new(frame, own, target, mac, &clients, &model)?);
            }
            kinds[kind] = first..templates.len();
        }
        let turns = turns(&options.mix.0);
        let clients = std::array::from_fn(|_| clients.clone());
        Ok(Self { clients, templates, kinds, turns, turn: 0, enemies: 0, sent: 0 })
    }

    /// Writes the next packet, and says how long it is.
    pub(super) fn write(&mut self, out: &mut [u8]) -> usize {
        let kind = self.turns[self.turn];
        self.turn = if self.turn + 1 == self.turns.len() { 0 } else { self.turn + 1 };
        let mine = self.kinds[kind].clone();
        let client = self.clients[kind].next();
        let choice = match KINDS[kind] {
            "hostile" => {
                self.enemies += 1;
                self.enemies
            }
            // A client watches one title.
            _ => client.number as usize,
        };
        let template = &mut self.templates[mine.start + choice % mine.len()];
        template.sent += 1;
        self.sent += 1;
        template.write(&client, out)
    }

    /// The template whose turn it is, to be sent `count` times by the BPF program.
    pub(super) fn run_of(&mut self, count: u64) -> (&[u8], Plan) {
        let kind = self.turns[self.turn];
        self.turn = (self.turn + 1) % self.turns.len();
        self.enemies += 1;
        let mine = self.kinds[kind].clone();
        let template = &mut self.templates[mine.start + self.enemies % mine.len()];
        template.sent += count;
        self.sent += count;
        let clients = &self.clients[kind];
        let first = clients.from[0].address(0);
        let plan = Plan { state: 0, mask: clients.mask, first, port: FIRST_PORT as u16, own: template.own as u16 };
        (&template.frame, plan)
    }

    /// How many packets were written.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// What they mean, by reason.
    pub(super) fn means(&self) -> Counts {
        let mut sum = [0; Reason::COUNT];
        for template in &self.templates {
            for (reason, count) in &template.means {
                sum[*reason as usize] += count * template.sent;
            }
        }
        Reason::ALL.iter().copied().zip(sum).collect()
    }
}

/// Spreads the kinds evenly: each time, the one that is most behind its share.
fn turns(parts: &[u32; KINDS.len()]) -> Vec<usize> {
    let all: i64 = parts.iter().map(|parts| i64::from(*parts)).sum();
    let mut credit = [0i64; KINDS.len()];
    (0..all)
        .map(|_| {
            for (credit, parts) in credit.iter_mut().zip(parts) {
                *credit += i64::from(*parts);
            }
            let most = (0..KINDS.len()).max_by_key(|kind| credit[*kind]).unwrap_or(0);
            credit[most] -= all;
            most
        })
        .collect()
}

impl Template {
    fn new(
        mut frame: Vec<u8>,
        own: Own,
        target: &Target,
        mac: [u8; 6],
        clients: &Clients,
        model: &Model<'_>,
    ) -> Result<Self> {
        let group: [u8; 4] = frame[IP + 16..IP + 20].try_into().unwrap_or_default();
        let to = if group[0] >> 4 == 14 { [1, 0, 0x5e, group[1] & 0x7f, group[2], group[3]] } else { target.mac };
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&mac);
        match own {
            // No checksum (RFC 768): it needn't follow the SSRC.
            Own::Report => frame[PORT + 6..PORT + 8].fill(0),
            Own::Segment => {
                let pseudo = [&frame[SOURCE..SOURCE + 8], &[0, 6, 0, 20]].concat();
                let sum = [&pseudo, &frame[PORT..]].concat().chunks(2).map(|w| u32::from(be16(w))).sum();
                frame[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&(!fold(sum)).to_be_bytes());
            }
            Own::Nothing | Own::Address => {}
        }
        let mut template = Self { frame, own, means: vec![], sent: 0 };
        let mut out = vec![0; 2048];
        for (number, client) in [clients.client(0), clients.client(clients.count - 1)].iter().enumerate() {
            let length = template.write(client, &mut out);
            let means = model.means(&out[..length]);
            ensure!(number == 0 || means == template.means, "a packet means something else from another client");
            template.means = means;
        }
        Ok(template)
    }

    #[inline]
    fn write(&self, client: &Client, out: &mut [u8]) -> usize {
        let length = self.frame.len();
        out[..length].copy_from_slice(&self.frame);
        if self.own == Own::Nothing {
            return length;
        }
        out[SOURCE..SOURCE + 4].copy_from_slice(&client.address.to_be_bytes());
        let halves = (client.address >> 16) + (client.address & 0xffff);
        add_to_checksum(out, IP_CHECKSUM, halves);
        match self.own {
            Own::Report => {
                out[PORT..PORT + 2].copy_from_slice(&client.port.to_be_bytes());
                for at in SSRCS {
                    out[at..at + 4].copy_from_slice(&client.ssrc.to_be_bytes());
                }
            }
            Own::Segment => {
                out[PORT..PORT + 2].copy_from_slice(&client.port.to_be_bytes());
                add_to_checksum(out, TCP_CHECKSUM, halves + u32::from(client.port));
            }
            Own::Nothing | Own::Address => {}
        }
        length
    }
}

/// What was zero has become `words` (RFC 1624). A checksum that was wrong stays wrong.
fn add_to_checksum(out: &mut [u8], at: usize, words: u32) {
    let before = u32::from(!be16(&out[at..at + 2]));
    out[at..at + 2].copy_from_slice(&(!fold(before + words)).to_be_bytes());
}

fn be16(octets: &[u8]) -> u16 {
    u16::from_be_bytes([octets[0], octets[1]])
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

struct Client {
    number: u64,
    address: u32,
    port: u16,
    ssrc: u32,
}

/// All clients, in an order without a pattern; each comes once before any comes again.
#[derive(Clone)]
struct Clients {
    from: Vec<Range>,
    addresses: u64,
    count: u64,
    mask: u64,
    state: u64,
}

impl Clients {
    fn new(options: &Options) -> Self {
        let addresses = options.from.iter().map(|range| range.size()).sum();
        let mask = options.clients.next_power_of_two() - 1;
        Self { from: options.from.clone(), addresses, count: options.clients, mask, state: 0 }
    }

    #[inline]
    fn next(&mut self) -> Client {
        loop {
            self.state = Plan::after(self.state) & self.mask;
            if self.state < self.count {
                return self.client(self.state);
            }
        }
    }

    #[inline]
    fn client(&self, number: u64) -> Client {
        let mut index = number % self.addresses;
        let port = (FIRST_PORT + number / self.addresses) as u16;
        let ssrc = (number as u32).wrapping_mul(0x9e37_79b1) ^ 0x5eed;
        for range in &self.from {
            if index < range.size() {
                return Client { number, address: range.address(index), port, ssrc };
            }
            index -= range.size();
        }
        unreachable!("the index is less than the number of all addresses")
    }
}

/// The program's maps as the options describe them, and what it counts.
struct Model<'o> {
    feedback: &'o [u16],
    groups: &'o [Ipv4Addr],
    front_door: u16,
}

impl Model<'_> {
    fn means(&self, packet: &[u8]) -> Counts {
        let mut heard = Heard { model: self, details: vec![] };
        let outcome = inspect(packet, &mut heard);
        heard.details.push((outcome, 1));
        heard.details
    }
}

struct Heard<'m> {
    model: &'m Model<'m>,
    details: Counts,
}

impl Sink for Heard<'_> {
    fn wants_port(&mut self, port: u16) -> bool {
        port == 5005 || self.model.feedback.contains(&port)
    }

    fn feedback(&mut self, port: u16) -> TitleEntry {
        let known = self.model.feedback.contains(&port);
        if known { TitleEntry::new(TitleId(0), false, true) } else { TitleEntry::default() }
    }

    fn group(&mut self, group: &Address, port: u16) -> TitleEntry {
        let known = port == 5005 && self.model.groups.iter().any(|ours| group.ip() == *ours);
        if known { TitleEntry::new(TitleId(0), false, true) } else { TitleEntry::default() }
    }

    fn is_front_door(&mut self, port: u16) -> bool {
        port == self.model.front_door
    }

    fn report(&mut self, report: &Report) -> Reason {
        if report.compound.bye {
            self.details.push((Reason::Bye, 1));
        }
        Reason::Report
    }

    fn change(&mut self, change: &Change) {
        let ours = self.model.groups.iter().any(|ours| change.group.ip() == *ours);
        let reason = match change.meaning {
            _ if !ours => Reason::GroupForeign,
            Meaning::Join => Reason::GroupJoin,
            Meaning::Leave => Reason::GroupLeave,
            Meaning::Present => Reason::GroupPresent,
        };
        self.details.push((reason, 1));
    }

    fn query(&mut self, _: &Query) {}

    fn distance(&mut self, _: &Address, _: Hops) {}

    fn detail(&mut self, reason: Reason, count: u64) {
        self.details.push((reason, count));
    }
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn kinds_take_turns_by_their_parts() {
        let turns = turns(&[8, 1, 1, 0, 2]);
        let count = |kind| turns.iter().filter(|turn| **turn == kind).count();
        assert_eq!([0, 1, 2, 3, 4].map(count), [8, 1, 1, 0, 2]);
    }
}
