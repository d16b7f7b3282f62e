//! Requests of ioctl(2) to network interfaces whose struct points on: linux/ethtool.h, linux/wireless.h, linux/net_tstamp.h.

use super::Site;

const SIOCETHTOOL: u32 = 0x8946;
const SIOCSHWTSTAMP: u32 = 0x89b0;
const SIOCGHWTSTAMP: u32 = 0x89b1;

/// `ifr_data` behind the name in struct ifreq, and the pointer of struct iw_point in struct iwreq.
const DATA: u64 = 16;
/// Requests with a struct iwreq, linux/wireless.h.
#[must_use]
pub fn is_wireless(request: u32) -> bool {
    (0x8b00..=0x8bff).contains(&request)
}

/// Takes what the struct behind the pointer points to.
pub fn pointed_to(site: &mut Site<'_, '_>, request: u32) {
    match request {
        SIOCETHTOOL => ethtool(site),
        SIOCSHWTSTAMP | SIOCGHWTSTAMP => {
            /// struct hwtstamp_config.
            const CONFIG: u64 = 12;
            let data = site.word_at(DATA);
            site.also_reads(data, CONFIG);
            site.also_writes(data, CONFIG);
        }
        _ if is_wireless(request) => wireless(site, request),
        _ => {}
    }
}

/// What a command of SIOCETHTOOL works on, which its first word names.
#[derive(Clone, Copy)]
struct Command {
    code: u32,
    /// Bytes of its struct.
    bytes: u64,
    /// Where the struct says how many elements follow, and the bytes of each.
    follow: Option<(u64, u64)>,
    /// Whether the kernel reads more than the command, and perhaps the number of elements.
    sets: bool,
}

const fn get(code: u32, bytes: u64) -> Command {
    Command { code, bytes, follow: None, sets: false }
}

const fn set(code: u32, bytes: u64) -> Command {
    Command { sets: true, ..get(code, bytes) }
}

const fn list(code: u32, bytes: u64, count_at: u64, element: u64) -> Command {
    Command { follow: Some((count_at, element)), ..get(code, bytes) }
}

const fn set_list(code: u32, bytes: u64, count_at: u64, element: u64) -> Command {
    Command { sets: true, ..list(code, bytes, count_at, element) }
}

/// linux/ethtool.h: commands and their structs. All others take a struct ethtool_value.
#[rustfmt::skip]
const COMMANDS: &[Command] = &[
    get(0x01, 44), set(0x02, 44), get(0x03, 196), list(0x04, 12, 8, 1), get(0x05, 20), set(0x06, 20),
    list(0x0b, 16, 12, 1), set_list(0x0c, 16, 12, 1), get(0x0e, 92), set(0x0f, 92), get(0x10, 36), set(0x11, 36),
    get(0x12, 16), set(0x13, 16), list(0x1a, 16, 12, 8), list(0x1b, 12, 8, 32), list(0x1d, 8, 4, 8),
    list(0x20, 8, 4, 1), get(0x29, 192), set(0x2a, 192), get(0x2d, 192), get(0x2e, 192), set(0x2f, 192),
    // The number of rules is behind the rule itself.
    set_list(RULES, 192, 184, 4), set(0x31, 192), set(0x32, 192), set(0x33, 136), set(0x35, 184),
    set(STRING_SETS, 16), list(0x38, 8, 4, 4), set_list(0x39, 8, 4, 4), list(0x3a, 8, 4, 16), set_list(0x3b, 8, 4, 8), get(0x3c, 36),
    set(0x3d, 36), set(0x3e, 16), get(0x3f, 16), list(0x40, 16, 12, 1), get(0x41, 44), get(0x42, 44),
    list(0x43, 16, 12, 1), get(0x44, 40), set(0x45, 40), get(HASH, 24), set(SET_HASH, 24),
    list(0x48, 16, 12, 1), set_list(0x49, 16, 12, 1), list(0x4a, 8, 4, 8), set(PER_QUEUE, 520),
    get(LINK_SETTINGS, 48), set(SET_LINK_SETTINGS, 48), list(0x4e, 16, 12, 1), set_list(0x4f, 16, 12, 1),
    get(0x50, 16), set(0x51, 16),
];

/// ETHTOOL_GRXCLSRLALL, of the commands with a struct ethtool_rxnfc. For 32-bit programs that has no padding in front of its 64-bit
/// member, nor behind its last.
const RULES: u32 = 0x30;
const RULES_OF_I386: Command = set_list(RULES, 180, 176, 4);
const BYTES_OF_RULE: u64 = 192;

/// ETHTOOL_GSSET_INFO, ETHTOOL_GRSSH, ETHTOOL_SRSSH, ETHTOOL_GLINKSETTINGS, ETHTOOL_SLINKSETTINGS and ETHTOOL_PERQUEUE, behind whose
/// struct there is more than a list.
const STRING_SETS: u32 = 0x37;
const HASH: u32 = 0x46;
const SET_HASH: u32 = 0x47;
const LINK_SETTINGS: u32 = 0x4c;
const SET_LINK_SETTINGS: u32 = 0x4d;
const PER_QUEUE: u32 = 0x4b;

fn ethtool(site: &mut Site<'_, '_>) {
    let data = site.word_at(DATA);
    let Some(code) = site.capturer.peek_u32(data) else { return };
    let Some(command) = COMMANDS.iter().find(|known| known.code == code) else {
        // struct ethtool_value; those that only ask read its first word.
        site.also_reads(data, 8);
        site.also_writes(data, 8);
        return;
    };
    let command = &match (command.bytes, code) {
        (BYTES_OF_RULE, RULES) if site.capturer.word == 4 => RULES_OF_I386,
        (BYTES_OF_RULE, _) if site.capturer.word == 4 => Command { bytes: RULES_OF_I386.bytes, ..*command },
        _ => *command,
    };
    let more = command.follow.map_or(0, |(at, element)| {
        let count = site.capturer.peek_u32(data.wrapping_add(at)).unwrap_or(0);
        u64::from(count).saturating_mul(element)
    });
    let more = match code {
        STRING_SETS => string_sets(site, data),
        HASH | SET_HASH => hash_tables(site, data),
        LINK_SETTINGS | SET_LINK_SETTINGS => link_masks(site, data),
        PER_QUEUE => queue_settings(site, data),
        _ => more,
    };
    let whole = command.bytes.saturating_add(more);
    let read = match (command.sets, command.follow) {
        // Settings are read only to be put in place.
        (true, _) if code == PER_QUEUE && site.capturer.peek_u32(data.wrapping_add(4)) == Some(COALESCE) => {
            command.bytes
        }
        (true, _) => whole,
        // How much there is room for.
        (false, None) if matches!(code, STRING_SETS | HASH | LINK_SETTINGS) => command.bytes,
        // How much is asked for stands in front of it.
        (false, Some((at, _))) => at + 4,
        (false, None) => 4,
    };
    site.also_reads(data, read);
    site.also_writes(data, whole);
}

/// The sizes behind struct ethtool_sset_info: one for each bit of its mask.
fn string_sets(site: &Site<'_, '_>, data: u64) -> u64 {
    let half = |at| site.capturer.peek_u32(data.wrapping_add(at)).unwrap_or(0);
    4 * u64::from(half(8).count_ones() + half(12).count_ones())
}

/// The table and the key behind struct ethtool_rxfh.
fn hash_tables(site: &Site<'_, '_>, data: u64) -> u64 {
    /// ETH_RXFH_INDIR_NO_CHANGE
    const NO_TABLE: u32 = u32::MAX;
    let size = |at| site.capturer.peek_u32(data.wrapping_add(at)).unwrap_or(0);
    let table = Some(size(8)).filter(|words| *words != NO_TABLE).unwrap_or(0);
    4 * u64::from(table) + u64::from(size(12))
}

/// ETHTOOL_GCOALESCE
const COALESCE: u32 = 0x0e;

/// The settings behind struct ethtool_per_queue_op: a struct ethtool_coalesce for each queue of its mask.
fn queue_settings(site: &Site<'_, '_>, data: u64) -> u64 {
    const BYTES: u64 = 92;
    let words = (8..520).step_by(4).map(|at| site.capturer.peek_u32(data.wrapping_add(at)).unwrap_or(0));
    BYTES * words.map(|word| u64::from(word.count_ones())).sum::<u64>()
}

/// The three masks behind struct ethtool_link_settings: their words, negated when the kernel only tells how many there are.
fn link_masks(site: &Site<'_, '_>, data: u64) -> u64 {
    /// `link_mode_masks_nwords`, an `__s8`, is the last byte of this word.
    const WORDS: u64 = 12;
    let word = site.capturer.peek_u32(data.wrapping_add(WORDS)).unwrap_or(0);
    3 * 4 * u64::try_from((word >> 24) as u8 as i8).unwrap_or(0)
}

/// Requests whose struct iwreq has a struct iw_point, and the bytes of what that counts.
fn wireless(site: &mut Site<'_, '_>, request: u32) {
    let element = match request {
        // SIOCSIWSPY: addresses; SIOCGIWSPY and APLIST: a quality with each; THRSPY: three of them; PRIV: struct iw_priv_args.
        0x8b10 => 16,
        0x8b11 | 0x8b17 => 20,
        0x8b12 | 0x8b13 => 28,
        0x8b0d => 24,
        // SIOC[GS]IW of RANGE, STATS, SCAN, ESSID, NICKN, ENCODE, GENIE, MLME, ENCODEEXT, PMKSA.
        0x8b0a..=0x8b0f | 0x8b16 | 0x8b18..=0x8b1d | 0x8b2a | 0x8b2b | 0x8b30 | 0x8b31 | 0x8b34..=0x8b36 => 1,
        _ => return,
    };
    let length_at = DATA + site.capturer.word as u64;
    let length = u64::from(site.u32_at(length_at) & 0xffff) * element;
    let data = site.word_at(DATA);
    if data != 0 {
        // A request with an even number sets.
        if request & 1 == 0 {
            site.also_reads(data, length);
        } else {
            site.also_writes(data, length);
        }
    }
}
