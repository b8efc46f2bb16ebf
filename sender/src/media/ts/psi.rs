//! PAT and PMT, as far as needed to find the first programme's clock.

use super::packet::TsPacket;

/// The section that begins in this packet, as far as it is in it.
fn section(packet: TsPacket<'_>, table_id: u8) -> Option<&[u8]> {
    if !packet.unit_start() {
        return None;
    }
    let payload = packet.payload();
    let pointer = usize::from(*payload.first()?);
    let section = payload.get(1 + pointer..)?;
    let applies_now = section.get(5)? & 1 == 1;
    (section[0] == table_id && applies_now).then_some(section)
}

/// PID of the first programme's map, if this packet begins a PAT.
pub(super) fn first_pmt_pid(packet: TsPacket<'_>) -> Option<u16> {
    let section = section(packet, 0x00)?;
    let len = usize::from(u16::from_be_bytes([section[1] & 0x0f, section[2]])) + 3;
    let programmes = section.get(8..section.len().min(len.checked_sub(4)?))?;
    let (programmes, _) = programmes.as_chunks::<4>();
    // Programme 0 is the network information table.
    let [_, _, high, low] = programmes.iter().find(|entry| entry[..2] != [0, 0])?;
    Some(u16::from_be_bytes([high & 0x1f, *low]))
}

/// PID of the programme's PCR, if this packet begins a PMT. 0x1fff says that there is none.
pub(super) fn pcr_pid(packet: TsPacket<'_>) -> Option<u16> {
    let section = section(packet, 0x02)?;
    Some(u16::from_be_bytes([section.get(8)? & 0x1f, *section.get(9)?]))
}
