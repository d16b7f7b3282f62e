//! keyctl(2): which arguments of an operation are strings, data and structs.

use trace_format::event::Side;

use super::{Site, When};

/// Most of a key's payload that is taken; the kernel allows no more.
const MOST: u64 = 1 << 20;

pub fn keyctl(site: &mut Site<'_, '_>) {
    match (site.call.int(0), site.slot) {
        // JOIN_SESSION_KEYRING; SEARCH, RESTRICT_KEYRING
        (1, 1) | (10 | 29, 2 | 3) => site.reads_string(),
        // UPDATE, INSTANTIATE
        (2 | 12, 2) => {
            let (payload, length) = (site.addr(), site.arg(3).min(MOST));
            site.also_sends(payload, length);
        }
        // DESCRIBE, GET_SECURITY; READ, DH_COMPUTE
        (6 | 17, 2) => {
            if let When::Exit(result) = site.when {
                site.writes(site.arg(3).min(result.max(0) as u64).min(MOST));
            }
        }
        (11 | 23, 2) => {
            if let When::Exit(result) = site.when {
                let (buffer, length) = (site.addr(), site.arg(3).min(result.max(0) as u64));
                site.also_receives(buffer, length.min(MOST));
            }
        }
        // INSTANTIATE_IOV
        (20, 2) if site.when == When::Entry => {
            let (vector, count) = (site.addr(), site.arg(3));
            crate::capture::iovec(site.capturer, site.slot, Side::In, vector, count, MOST);
        }
        (23, 1) => site.reads(12),
        (23, 4) => derivation(site),
        (24..=28, _) => public_key(site),
        // CAPABILITIES
        (31, 1) => {
            if let When::Exit(result) = site.when {
                site.writes(site.arg(2).min(result.max(0) as u64).min(64));
            }
        }
        _ => {}
    }
}

/// `struct keyctl_kdf_params`: a hash's name, and other data with its length.
fn derivation(site: &mut Site<'_, '_>) {
    let word = site.capturer.word as u64;
    site.reads(word * 2 + 40);
    let (name, data, length) = (site.word_at(0), site.word_at(word), u64::from(site.u32_at(word * 2)));
    site.also_reads_string(name);
    site.also_reads(data, length.min(4096));
}

/// The operations of public keys. `struct keyctl_pkey_params` has the lengths of input and output at 4 and 8.
fn public_key(site: &mut Site<'_, '_>) {
    const QUERY: i32 = 24;
    const VERIFY: i32 = 28;
    let operation = site.call.int(0);
    let length = |offset: u64| {
        let params = site.arg(1).wrapping_add(offset);
        u64::from(site.capturer.peek_u32(params).unwrap_or(0)).min(MOST)
    };
    let (input, output) = (length(4), length(8));
    let addr = site.addr();
    match (operation, site.slot) {
        (QUERY, 3) => site.reads_string(),
        (QUERY, 4) => site.writes(56),
        (QUERY, _) => {}
        (_, 1) => site.reads(40),
        (_, 2) => site.reads_string(),
        (_, 3) => site.also_sends(addr, input),
        (VERIFY, 4) => site.also_sends(addr, output),
        (_, 4) => site.also_receives(addr, output),
        _ => {}
    }
}
