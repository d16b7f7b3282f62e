//! Socket addresses as `src/query/facts.ts` writes them.

use std::fmt::Write as _;

use super::path::up_to_nul;
use super::without_mark;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `127.0.0.1:443`, `[::1]:443`, `/run/socket`, `@abstract`.
pub(super) fn address_text(data: &[u8]) -> Option<Vec<u8>> {
    let byte = |at: usize| u16::from(data.get(at).copied().unwrap_or(0));
    let (family, port) = (byte(0) | byte(1) << 8, byte(2) << 8 | byte(3));
    match family {
        AF_INET if data.len() >= 8 => {
            Some(format!("{}.{}.{}.{}:{port}", data[4], data[5], data[6], data[7]).into_bytes())
        }
        AF_INET6 if data.len() >= 24 => Some(format!("[{}]:{port}", ipv6_text(&data[8..24])).into_bytes()),
        AF_UNIX if data.len() > 2 => {
            let name = &data[2..];
            Some(match name.strip_prefix(&[0]) {
                Some(name) => [&b"@"[..], &without_mark(name)].concat(),
                None => without_mark(up_to_nul(name)).into_owned(),
            })
        }
        _ => None,
    }
}

/// 16 bytes in the short form: the first of the longest rows of zeros is left out.
fn ipv6_text(data: &[u8]) -> String {
    let groups: Vec<u16> = data.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    if groups[..5].iter().all(|&group| group == 0) && groups[5] == 0xffff {
        return format!("::ffff:{}.{}.{}.{}", data[12], data[13], data[14], data[15]);
    }
    let zeros = |start: usize| groups[start..].iter().take_while(|&&group| group == 0).count();
    let mut best = (0, 1);
    for start in 0..8 {
        if zeros(start) > best.1 {
            best = (start, zeros(start));
        }
    }
    let text = |part: &[u16]| {
        part.iter().enumerate().fold(String::new(), |mut text, (k, group)| {
            let _ = write!(text, "{}{group:x}", if k == 0 { "" } else { ":" });
            text
        })
    };
    match best {
        (_, 1) => text(&groups),
        (start, length) => format!("{}::{}", text(&groups[..start]), text(&groups[start + length..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_short() {
        let v6 = |groups: [u16; 8]| ipv6_text(&groups.iter().flat_map(|group| group.to_be_bytes()).collect::<Vec<_>>());
        assert_eq!(v6([0, 0, 0, 0, 0, 0, 0, 1]), "::1");
        assert_eq!(v6([0xfe80, 0, 0, 0, 1, 0, 0, 0]), "fe80::1:0:0:0");
        assert_eq!(v6([0x2001, 0xdb8, 0, 1, 1, 1, 1, 1]), "2001:db8:0:1:1:1:1:1");
        assert_eq!(v6([0; 8]), "::");
        assert_eq!(v6([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]), "::ffff:127.0.0.1");
        assert_eq!(address_text(&[2, 0, 1, 187, 10, 0, 0, 1]), Some(b"10.0.0.1:443".to_vec()));
        assert_eq!(address_text(b"\x01\0/run/x\0junk"), Some(b"/run/x".to_vec()));
        assert_eq!(address_text(b"\x01\0\0name"), Some(b"@name".to_vec()));
        assert_eq!(address_text(&[2, 0, 1]), None);
    }
}
