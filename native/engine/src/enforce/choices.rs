//! Calls that are many in one, told apart by values in registers: options of sockets, requests of ioctl(2), commands of keyctl(2). What
//! comes with the call itself, and what has to be granted, the policy says; filter and supervisor decide by the same tests.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::policy::{Choice, Policy, Role};

/// How an argument compares with a value: by its lower half, at which the kernel looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Is {
    Eq,
    Ne,
    Le,
    Ge,
    /// All bits of the value are set.
    Has,
}

/// A test of an argument, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Test(pub u8, pub Is, pub u32);

impl Test {
    #[must_use]
    pub fn holds(self, args: &[u64; 6]) -> bool {
        let Test(arg, is, value) = self;
        args.get(usize::from(arg)).is_some_and(|own| is.holds(*own as u32, value))
    }
}

impl Is {
    fn holds(self, own: u32, value: u32) -> bool {
        match self {
            Is::Eq => own == value,
            Is::Ne => own != value,
            Is::Le => own <= value,
            Is::Ge => own >= value,
            Is::Has => own & value == value,
        }
    }
}

/// Any of these lists of tests holds.
pub type Alternatives = Vec<Vec<Test>>;

/// What a granted value stands for, when it stands for any.
const ANY: i64 = -1;

/// Values by which a call of that number chooses; `None`: it does one thing, or what comes with the call.
#[must_use]
pub fn chosen(policy: &Policy, number: i64, args: &[u64; 6]) -> Option<Vec<u32>> {
    let choice = policy.choices.iter().find(|choice| choice.call == number)?;
    let is_free = choice.free.iter().any(|tests| tests.iter().all(|test| test.holds(args)));
    (!is_free).then(|| choice.args.iter().map(|arg| args.get(usize::from(*arg)).map_or(0, |own| *own as u32)).collect())
}

/// Whether a granted choice is of these values.
#[must_use]
pub fn covers(granted: &[i64], values: &[u32]) -> bool {
    granted.len() == values.len()
        && granted.iter().zip(values).all(|(own, value)| *own == ANY || *own == i64::from(*value))
}

/// What a call may choose without anybody being asked: what comes with it, and what every role was granted, or, where nobody tells
/// roles apart, any. `None` when the call does not choose.
#[must_use]
pub fn alternatives(policy: &Policy, number: i64) -> Option<Alternatives> {
    let choice = policy.choices.iter().find(|choice| choice.call == number)?;
    let of = |role: &Role| -> BTreeSet<Vec<i64>> {
        role.choices.iter().filter(|(call, _)| *call == number).map(|(_, values)| values.clone()).collect()
    };
    let roles: Vec<BTreeSet<Vec<i64>>> = policy.roles.iter().map(of).collect();
    let granted: BTreeSet<&Vec<i64>> = roles.iter().flatten().collect();
    let is_common = |values: &Vec<i64>| roles.iter().all(|own| own.contains(values));
    let passing = granted.into_iter().filter(|values| !policy.supervised || is_common(values));
    Some(choice.free.iter().cloned().chain(passing.map(|values| tests_of(choice, values))).collect())
}

fn tests_of(choice: &Choice, values: &[i64]) -> Vec<Test> {
    let pairs = choice.args.iter().zip(values).filter(|(_, value)| **value != ANY);
    pairs.map(|(arg, value)| Test(*arg, Is::Eq, *value as u32)).collect()
}

/// Most that are compared with each other. A filter has no room for more, which whoever makes it will say.
const MOST_COMPARED: usize = 1024;

/// Where both hold, without tests that the others decide already.
#[must_use]
pub fn both(one: &Alternatives, other: &Alternatives) -> Alternatives {
    let joined = one.iter().flat_map(|tests| other.iter().map(move |more| [tests.as_slice(), more].concat()));
    let mut simple: Alternatives = joined.filter_map(|tests| simplified(&tests)).collect();
    // What holds wherever one with more tests does, stands for both.
    simple.sort_by_key(Vec::len);
    if simple.len() > MOST_COMPARED {
        return simple;
    }
    let mut kept: Alternatives = Vec::new();
    for tests in simple {
        if !kept.iter().any(|fewer| fewer.iter().all(|test| tests.contains(test))) {
            kept.push(tests);
        }
    }
    kept
}

/// Tests that hold when all of these do, without those that the others imply; `None`: they never all hold.
fn simplified(tests: &[Test]) -> Option<Vec<Test>> {
    let mut kept: Vec<Test> = Vec::new();
    for (k, test) in tests.iter().enumerate() {
        let Test(arg, is, value) = *test;
        let others = || tests.iter().enumerate().filter(move |(j, Test(own, ..))| *j != k && *own == arg);
        // One value is known: whatever else is asked of it is decided.
        let known =
            others().find(|(j, Test(_, own, other))| *own == Is::Eq && (is != Is::Eq || *other != value || *j < k));
        if let Some((_, Test(_, _, own))) = known {
            if !is.holds(*own, value) {
                return None;
            }
            continue;
        }
        let is_outside = |(_, other): (usize, &Test)| match other {
            Test(_, Is::Le, most) => value > *most,
            Test(_, Is::Ge, least) => value < *least,
            _ => false,
        };
        if is == Is::Ne && (others().any(is_outside) || kept.contains(test)) {
            continue;
        }
        kept.push(*test);
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_others_decide_are_left_out() {
        let both = |one: &[Test], other: &[Test]| super::both(&vec![one.to_vec()], &vec![other.to_vec()]);
        let (not_5, not_9) = (Test(1, Is::Ne, 5), Test(1, Is::Ne, 9));
        assert_eq!(both(&[Test(1, Is::Eq, 7)], &[not_5, not_9]), [[Test(1, Is::Eq, 7)]]);
        assert!(both(&[Test(1, Is::Eq, 5)], &[not_5]).is_empty());
        assert_eq!(both(&[Test(1, Is::Le, 6)], &[not_5, not_9]), [[Test(1, Is::Le, 6), not_5]]);
        assert_eq!(both(&[Test(1, Is::Ge, 6)], &[not_5, not_9]), [[Test(1, Is::Ge, 6), not_9]]);
        assert_eq!(both(&[Test(2, Is::Eq, 5)], &[not_5]), [[Test(2, Is::Eq, 5), not_5]]);
        assert!(both(&[Test(1, Is::Eq, 5)], &[Test(1, Is::Eq, 6)]).is_empty());
        assert_eq!(both(&[Test(1, Is::Eq, 5)], &[Test(1, Is::Eq, 5)]), [[Test(1, Is::Eq, 5)]]);
    }

    #[test]
    fn simpler_tests_hold_for_the_same_values() {
        let kinds = [Is::Eq, Is::Ne, Is::Le, Is::Ge, Is::Has];
        let all: Vec<Test> = kinds.iter().flat_map(|is| (0..4).map(|value| Test(0, *is, value))).collect();
        for (one, other, third) in all.iter().flat_map(|a| all.iter().flat_map(|b| all.iter().map(|c| (*a, *b, *c)))) {
            let simple = super::both(&vec![vec![one]], &vec![vec![other, third]]);
            for value in 0..6 {
                let holds = |tests: &[Test]| tests.iter().all(|test| test.holds(&[value, 0, 0, 0, 0, 0]));
                assert_eq!(
                    simple.iter().any(|tests| holds(tests)),
                    holds(&[one, other, third]),
                    "{one:?} {other:?} {third:?} of {value}"
                );
            }
        }
    }

    #[test]
    fn a_granted_choice_is_of_its_values() {
        assert!(covers(&[1, 36], &[1, 36]) && covers(&[1, ANY], &[1, 36]) && covers(&[0xffff_ffff], &[u32::MAX]));
        assert!(!covers(&[1, 36], &[1, 25]) && !covers(&[1], &[1, 36]));
    }
}
