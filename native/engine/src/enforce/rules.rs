//! What the roles of a policy may do, in the form in which it is asked.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::choices;
use super::pattern::{Pattern, Rest};
use super::policy::{ChoiceRule, Policy, Role, Script, SocketRule, UserRule};
use crate::resolve::join;

/// Verbs of paths, as bits.
pub mod verb {
    pub const READ: u16 = 1;
    pub const WRITE: u16 = 2;
    pub const CREATE: u16 = 4;
    pub const DELETE: u16 = 8;
    pub const RENAME: u16 = 16;
    pub const EXEC: u16 = 32;
    pub const LIST: u16 = 64;
    pub const STAT: u16 = 128;
    pub const CHMETA: u16 = 256;

    pub const NAMES: [(&str, u16); 9] = [
        ("read", READ),
        ("write", WRITE),
        ("create", CREATE),
        ("delete", DELETE),
        ("rename", RENAME),
        ("exec", EXEC),
        ("list", LIST),
        ("stat", STAT),
        ("chmeta", CHMETA),
    ];

    /// Those that are about an object, whatever its name. The others are about a name.
    pub const OF_OBJECTS: [u16; 6] = [READ, WRITE, EXEC, LIST, STAT, CHMETA];

    /// The first name among the bits.
    #[must_use]
    pub fn name(bits: u16) -> &'static str {
        NAMES.iter().find(|(_, bit)| bits & bit != 0).map_or("access", |(name, _)| name)
    }
}

/// What comes with a verb: whoever may do anything with an object may look at it, whoever may run it may read it.
fn with_implied(bits: u16) -> u16 {
    use verb::{EXEC, READ, STAT};
    let mut all = bits | STAT;
    if bits & EXEC != 0 {
        all |= READ;
    }
    all
}

/// Bits before the first accepted connection, and after.
#[derive(Clone, Copy, Debug, Default)]
struct Masks([u16; 2]);

/// An address of a grant.
#[derive(Clone, Debug)]
enum Address {
    /// Host (none: any) and port (none: any).
    Internet {
        protocol: String,
        host: Option<IpAddr>,
        port: Option<u16>,
    },
    UnixPath(Pattern),
    UnixAbstract(Vec<u8>),
}

/// An address that a program names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Internet { protocol: &'static str, host: IpAddr, port: u16 },
    UnixPath(Vec<u8>),
    UnixAbstract(Vec<u8>),
}

impl Peer {
    /// As an object of a grant.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Peer::Internet { protocol, host: IpAddr::V4(host), port } => format!("{protocol}:{host}:{port}"),
            Peer::Internet { protocol, host: IpAddr::V6(host), port } => format!("{protocol}:[{host}]:{port}"),
            Peer::UnixPath(path) => format!("unix:{}", String::from_utf8_lossy(path)),
            Peer::UnixAbstract(name) => format!("unix:@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// One role, ready to be asked.
pub struct RoleRules {
    pub name: String,
    exe: Vec<Pattern>,
    script: Option<Script>,
    calls: HashSet<i64>,
    sockets: Vec<SocketRule>,
    users: Vec<UserRule>,
    choices: Vec<ChoiceRule>,
    plain: HashMap<Vec<u8>, Masks>,
    patterns: Vec<(Pattern, Masks)>,
    /// Verb, address, phases.
    addresses: Vec<(String, Address, [bool; 2])>,
    /// Verb and process word.
    processes: HashSet<(String, String)>,
}

impl RoleRules {
    pub fn new(role: &Role) -> RoleRules {
        let mut rules = RoleRules {
            name: role.name.clone(),
            exe: role.exe.iter().map(|exe| Pattern::new(exe)).collect(),
            script: role.script.clone(),
            calls: role.calls.iter().copied().collect(),
            sockets: role.sockets.clone(),
            users: role.users.clone(),
            choices: role.choices.clone(),
            plain: HashMap::new(),
            patterns: Vec::new(),
            addresses: Vec::new(),
            processes: HashSet::new(),
        };
        for grant in &role.grants {
            let phases = [grant.phase.as_deref() != Some("serve"), grant.phase.as_deref() != Some("init")];
            rules.add(&grant.verb, &grant.object, phases);
        }
        rules
    }

    fn add(&mut self, verb: &str, object: &str, phases: [bool; 2]) {
        if let Some((_, bit)) = verb::NAMES.iter().find(|(name, _)| *name == verb) {
            let bits = with_implied(*bit);
            let masks = Masks(phases.map(|on| if on { bits } else { 0 }));
            match Pattern::new(object) {
                Pattern::Plain(path) => {
                    let known = self.plain.entry(path).or_default();
                    for (own, more) in known.0.iter_mut().zip(masks.0) {
                        *own |= more;
                    }
                }
                pattern @ Pattern::Names { .. } => self.patterns.push((pattern, masks)),
            }
        } else if matches!(verb, "signal" | "ptrace") {
            self.processes.insert((verb.to_owned(), object.to_owned()));
        } else if let Some(address) = parse_address(object) {
            self.addresses.push((verb.to_owned(), address, phases));
        }
    }

    #[must_use]
    pub fn may_call(&self, number: i64) -> bool {
        self.calls.contains(&number)
    }

    #[must_use]
    pub fn may_open_socket(&self, family: i32, kind: i32, protocol: i32) -> bool {
        let fits = |own: i32, asked: i32| own == -1 || own == asked;
        self.sockets.iter().any(|(f, t, p)| fits(*f, family) && fits(*t, kind) && fits(*p, protocol))
    }

    /// Whether a call that changes as whom a program acts was granted with these ids.
    #[must_use]
    pub fn may_become(&self, number: i64, ids: &[i32]) -> bool {
        self.users.iter().any(|(own, granted)| *own == number && granted == ids)
    }

    /// Whether a call that chooses was granted with these values.
    #[must_use]
    pub fn may_choose(&self, number: i64, values: &[u32]) -> bool {
        self.choices.iter().any(|(own, granted)| *own == number && choices::covers(granted, values))
    }

    /// Whether all verbs of `bits` are granted on a canonical path.
    #[must_use]
    pub fn may(&self, bits: u16, path: &[u8], serving: bool) -> bool {
        let phase = usize::from(serving);
        let mut have = self.plain.get(path).map_or(0, |masks| masks.0[phase]);
        if have & bits == bits {
            return true;
        }
        for (pattern, masks) in &self.patterns {
            if masks.0[phase] & bits & !have != 0 && pattern.matches(path) {
                have |= masks.0[phase];
                if have & bits == bits {
                    return true;
                }
            }
        }
        false
    }

    /// What is granted on `to` and not on `from`: an object that is moved there would gain it.
    #[must_use]
    pub fn gained(&self, from: &[u8], to: &[u8], serving: bool) -> u16 {
        let missing = |bit: &&u16| self.may(**bit, to, serving) && !self.may(**bit, from, serving);
        verb::OF_OBJECTS.iter().filter(missing).fold(0, |all, bit| all | bit)
    }

    /// As [`RoleRules::gained`], of all that a directory holds or will hold.
    #[must_use]
    pub fn gained_below(&self, from: &[u8], to: &[u8], serving: bool) -> u16 {
        let phase = usize::from(serving);
        let objects = verb::OF_OBJECTS.iter().fold(0, |all, bit| all | bit);
        let plain = self.plain.iter().map(|(path, masks)| (Pattern::Plain(path.clone()), masks.0[phase]));
        let patterns = self.patterns.iter().map(|(pattern, masks)| (pattern.clone(), masks.0[phase]));
        let all: Vec<(Pattern, u16)> = plain.chain(patterns).filter(|(_, bits)| bits & objects != 0).collect();
        let below = |directory: &[u8]| -> Vec<(Rest, u16)> {
            all.iter().filter_map(|(pattern, bits)| Some((pattern.below(directory)?, *bits))).collect()
        };
        let (have, want) = (below(from), below(to));
        want.iter().fold(0, |gained, (rest, bits)| {
            // One path is asked for by itself: whatever grants it says so.
            let own = match rest.under(from) {
                Some(path) => verb::OF_OBJECTS.iter().filter(|bit| self.may(**bit, &path, serving)).sum(),
                None => have.iter().filter(|(own, _)| own.covers(rest)).fold(0, |all, (_, bits)| all | bits),
            };
            gained | (bits & objects & !own)
        })
    }

    #[must_use]
    pub fn may_reach(&self, verb: &str, peer: &Peer, serving: bool) -> bool {
        self.addresses
            .iter()
            .any(|(own, address, phases)| own == verb && phases[usize::from(serving)] && covers(address, peer))
    }

    /// `target` is `self`, `group`, `outside` or `role:NAME`.
    #[must_use]
    pub fn may_touch(&self, verb: &str, target: &str) -> bool {
        let has = |word: &str| self.processes.contains(&(verb.to_owned(), word.to_owned()));
        has(target) || has("any") || (target == "self" && has("group"))
    }

    /// Whether it names that executable.
    fn is(&self, exe: &[u8]) -> bool {
        self.exe.iter().any(|own| matches!(own, Pattern::Plain(path) if path == exe))
    }

    /// Whether it is a role of that executable, by name or pattern.
    fn covers(&self, exe: &[u8]) -> bool {
        self.exe.iter().any(|own| own.matches(exe))
    }
}

/// All roles.
pub struct Rules {
    pub roles: Vec<RoleRules>,
}

impl Rules {
    #[must_use]
    pub fn new(policy: &Policy) -> Rules {
        Rules { roles: policy.roles.iter().map(RoleRules::new).collect() }
    }

    /// The role of an executable and its command line, read from `cwd`: the one whose script it runs first.
    #[must_use]
    pub fn role_of(&self, exe: &[u8], words: &[&[u8]], cwd: &[u8]) -> Option<usize> {
        let same = self.candidates(exe);
        let script = |index: &usize| self.roles[*index].script.as_ref();
        let runs = |index: &usize| script(index).is_some_and(|script| script.is_run_by(words, cwd));
        let named = same.iter().copied().find(runs);
        named.or_else(|| same.iter().copied().find(|index| script(index).is_none()))
    }

    /// All roles of an executable: those that name it, or else those that have a pattern for it.
    #[must_use]
    pub fn candidates(&self, exe: &[u8]) -> Vec<usize> {
        let those = |fits: &dyn Fn(&RoleRules) -> bool| -> Vec<usize> {
            self.roles.iter().enumerate().filter(|(_, role)| fits(role)).map(|(index, _)| index).collect()
        };
        let named = those(&|role| role.is(exe));
        if named.is_empty() { those(&|role| role.covers(exe)) } else { named }
    }
}

impl Script {
    /// Whether it is what an interpreter is told to run: the first word that is neither an option nor the value of one.
    fn is_run_by(&self, words: &[&[u8]], cwd: &[u8]) -> bool {
        let path = self.path.as_bytes();
        self.given_in(words).is_some_and(|word| word == path || without_dots(&join(cwd, word)) == path)
    }

    /// As `scriptOf` of src/spec/roles.ts, which says what interpreters there are.
    fn given_in<'a>(&self, words: &[&'a [u8]]) -> Option<&'a [u8]> {
        let has = |options: &[String], word: &[u8]| options.iter().any(|option| option.as_bytes() == word);
        let mut words = words.iter().copied().skip(1);
        while let Some(word) = words.next() {
            let is_command = matches!(word, [b'-', letters @ .., b'c'] if letters.iter().all(u8::is_ascii_lowercase));
            if has(&self.inline, word) || is_command {
                return None;
            }
            if word == b"-m" || word == b"-jar" || (word == b"--" && !has(&self.takes, word)) {
                return words.next();
            }
            if has(&self.takes, word) {
                words.next();
            } else if !matches!(word, [b'-' | b'+', _, ..] | b"-") {
                return Some(word);
            }
        }
        None
    }
}

/// Without `.` between slashes.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| *name != b".").collect();
    names.join(&b'/')
}

fn parse_address(object: &str) -> Option<Address> {
    let (protocol, rest) = object.split_once(':')?;
    if protocol == "unix" {
        return Some(match rest.strip_prefix('@') {
            Some(name) => Address::UnixAbstract(name.as_bytes().to_vec()),
            None => Address::UnixPath(Pattern::new(rest)),
        });
    }
    let (host, port) = rest.rsplit_once(':')?;
    let host = match host {
        "*" => None,
        text => Some(text.trim_start_matches('[').trim_end_matches(']').parse().ok()?),
    };
    let port = if port == "*" { None } else { Some(port.parse().ok()?) };
    Some(Address::Internet { protocol: protocol.to_owned(), host, port })
}

fn covers(address: &Address, peer: &Peer) -> bool {
    match (address, peer) {
        (Address::Internet { protocol, host, port }, Peer::Internet { protocol: own, host: named, port: number }) => {
            protocol == own && host.is_none_or(|host| host == *named) && port.is_none_or(|port| port == *number)
        }
        (Address::UnixPath(pattern), Peer::UnixPath(path)) => pattern.matches(path),
        (Address::UnixAbstract(name), Peer::UnixAbstract(named)) => name == named || name == b"*",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::policy::Grant;

    fn grant(verb: &str, object: &str) -> Grant {
        Grant { verb: verb.into(), object: object.into(), phase: None }
    }

    /// A role with grants and nothing else.
    fn role_of(grants: Vec<Grant>) -> Role {
        Role {
            name: "role".into(),
            exe: Vec::new(),
            script: None,
            calls: Vec::new(),
            sockets: Vec::new(),
            users: Vec::new(),
            choices: Vec::new(),
            grants,
        }
    }

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn a_script_is_what_the_interpreter_runs() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let script = Script { path: "/srv/app.py".into(), inline: list(&["-c"]), takes: list(&["-W", "-X"]) };
        let runs = |line: &str| script.is_run_by(&words(line), b"/srv");
        assert!(
            runs("python3 /srv/app.py") && runs("python3 -u /srv/app.py x") && runs("python3 -W error /srv/app.py")
        );
        assert!(runs("python3 app.py") && runs("python3 ./app.py") && runs("python3 -- /srv/app.py"));
        assert!(!runs("python3 other.py /srv/app.py") && !runs("python3 -W /srv/app.py other.py"));
        assert!(!runs("python3 -c pass /srv/app.py") && !runs("python3 -Ic pass /srv/app.py") && !runs("python3"));
        assert!(!script.is_run_by(&words("python3 app.py"), b"/elsewhere"));
    }

    #[test]
    fn a_program_has_the_role_that_names_it_before_one_with_a_pattern_for_it() {
        let role = |exe: &str| RoleRules::new(&Role { exe: vec![exe.into()], ..role_of(Vec::new()) });
        let rules = Rules { roles: vec![role("/t/build*/app"), role("/t/build1/app"), role("/t/a\\*b")] };
        let of = |exe: &str| rules.role_of(exe.as_bytes(), &[], b"/");
        assert_eq!((of("/t/build1/app"), of("/t/build2/app")), (Some(1), Some(0)));
        assert_eq!((of("/t/build2/other"), of("/t/build2/x/app")), (None, None));
        assert_eq!((of("/t/a*b"), of("/t/axb")), (Some(2), None));
        assert_eq!((rules.candidates(b"/t/build1/app"), rules.candidates(b"/t/build2/app")), (vec![1], vec![0]));
    }

    #[test]
    fn what_a_name_would_add_to_an_object_is_told() {
        let grants = vec![grant("rename", "/d/*"), grant("write", "/d/new"), grant("read", "/d/new")];
        let rules = RoleRules::new(&Role { users: vec![(libc::SYS_setuid, vec![65534])], ..role_of(grants) });
        assert_eq!(rules.gained(b"/d/old", b"/d/new", false), verb::READ | verb::WRITE);
        assert_eq!(rules.gained(b"/d/new", b"/d/old", false), 0);
        assert!(rules.may_become(libc::SYS_setuid, &[65534]) && !rules.may_become(libc::SYS_setgid, &[65534]));
    }

    #[test]
    fn what_a_name_would_add_to_a_directory_is_told() {
        let rules = RoleRules::new(&role_of(vec![
            grant("read", "/d/**"),
            grant("write", "/d/a/log"),
            grant("write", "/d/b/log"),
            grant("exec", "/d/bin/*"),
        ]));
        assert_eq!(rules.gained_below(b"/d/a", b"/d/b", false), 0);
        assert_eq!(rules.gained_below(b"/d/c", b"/d/b", false), verb::WRITE);
        assert_eq!(rules.gained_below(b"/d/c", b"/d/bin", false), verb::EXEC);
        assert_eq!(rules.gained_below(b"/d/bin", b"/d/c", false), 0);
        // What stood outside would be read inside.
        assert_eq!(rules.gained_below(b"/e", b"/d/c", false), verb::READ | verb::STAT);
        assert_eq!(rules.gained_below(b"/e/a", b"/e/b", false), 0);
    }

    #[test]
    fn one_path_in_a_directory_is_granted_by_any_pattern() {
        let rules = RoleRules::new(&role_of(vec![
            grant("read", "/a/*"),
            grant("read", "/b/key"),
            grant("read", "/c/deep/key"),
            grant("exec", "/d/key"),
        ]));
        assert_eq!(rules.gained_below(b"/a", b"/b", false), 0);
        assert_eq!(rules.gained_below(b"/b", b"/a", false), verb::READ | verb::STAT);
        // `*` is one name.
        assert_eq!(rules.gained_below(b"/a", b"/c", false), verb::READ | verb::STAT);
        assert_eq!(rules.gained_below(b"/a", b"/d", false), verb::EXEC);
        assert_eq!(rules.gained_below(b"/", b"/e", false), 0);
    }

    #[test]
    fn a_pattern_in_a_directory_is_granted_by_a_wider_one() {
        let rules = RoleRules::new(&role_of(vec![grant("read", "/a/l*"), grant("read", "/*/log*")]));
        assert_eq!(rules.gained_below(b"/a", b"/b", false), 0);
        assert_eq!(rules.gained_below(b"/b", b"/a", false), verb::READ | verb::STAT);
    }
}
