//! Memory whose content somebody would have to be asked for: pages of files that a recorded process serves (fuse(4)), which nobody has
//! touched yet. That process may be stopped for whoever reads them, who would wait for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::pid_t;

use super::{Pagemap, query_ranges};
use crate::image;
use crate::layout::PAGE;

/// Whether there are any: nothing is looked up else.
static ARE_ANY: AtomicBool = AtomicBool::new(false);
/// Their devices.
static DEVICES: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Files of these devices are not looked at from now on, and nothing of them is read that is not in memory.
pub fn ask_nobody(devices: impl IntoIterator<Item = u64>) {
    let mut known = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices {
        if !known.contains(&device) {
            known.push(device);
        }
    }
    ARE_ANY.store(!known.is_empty(), Ordering::Relaxed);
}

/// Whether files of a device are not to be looked at.
#[must_use]
pub fn is_served(device: u64) -> bool {
    !is_all_there() && DEVICES.lock().unwrap_or_else(PoisonError::into_inner).contains(&device)
}

/// Whether all memory can be read without asking anybody.
pub(super) fn is_all_there() -> bool {
    !ARE_ANY.load(Ordering::Relaxed)
}

/// How many bytes of memory of a process, from `addr` on, can be read without asking anybody.
pub(super) fn without_asking(tid: pid_t, addr: u64, length: usize) -> usize {
    if is_all_there() || length == 0 {
        return length;
    }
    let end = addr.saturating_add(length as u64);
    let pages = addr / PAGE * PAGE..end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX / PAGE * PAGE);
    // Whose pages the kernel does not tell, of that it reads nothing either.
    let Ok(touched) = Pagemap::open(tid).and_then(|pagemap| pagemap.touched(pages.clone())) else { return length };
    let mut from = pages.start;
    for part in touched.into_iter().chain(std::iter::once(pages.end..pages.end)) {
        if from < part.start
            && let Some(served) = first_served(tid, from, part.start)
        {
            return usize::try_from(served.saturating_sub(addr)).map_or(length, |left| left.min(length));
        }
        from = part.end;
    }
    length
}

/// Where the first of those files is mapped between two addresses.
fn first_served(tid: pid_t, from: u64, to: u64) -> Option<u64> {
    let mappings = query_ranges(tid, &[(from, to)]).unwrap_or_else(|_| image::mappings(tid));
    let overlaps = |start: u64, length: u64| start < to && start.saturating_add(length) > from;
    let served = mappings.iter().find(|mapping| overlaps(mapping.start, mapping.length) && is_served(mapping.dev));
    served.map(|mapping| mapping.start.max(from))
}
