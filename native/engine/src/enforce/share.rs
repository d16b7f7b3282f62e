//! What all roles have of the supervisor together: calls that wait, descriptors. One that takes all there is leaves the others their
//! part.

use crate::sys;

/// So much of something, for so many roles.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub limit: usize,
    pub roles: usize,
}

/// The part of all descriptors that processes may be held by, and as much by calls that wait.
const PART_OF_DESCRIPTORS: u64 = 4;

impl Share {
    /// Of the descriptors that this process may have.
    #[must_use]
    pub fn of_descriptors(roles: usize) -> Share {
        let part = sys::soft_limit(0, sys::OPEN_FILES) / PART_OF_DESCRIPTORS;
        Share { limit: usize::try_from(part).unwrap_or(usize::MAX), roles }
    }

    /// Whether a role that has `own` of `total` may have more. What is promised to those that have little comes on top: there is at
    /// most twice the limit.
    #[must_use]
    pub fn allows(self, total: usize, own: usize) -> bool {
        total < self.limit || own < self.limit / self.roles.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_part_of_another() {
        let share = Share { limit: 12, roles: 3 };
        assert!(share.allows(11, 11) && !share.allows(12, 12) && !share.allows(12, 4));
        assert!(share.allows(12, 0) && share.allows(15, 3) && !share.allows(16, 4));
        assert!(!Share { limit: 12, roles: 1 }.allows(12, 12) && Share { limit: 12, roles: 0 }.allows(0, 0));
    }
}
