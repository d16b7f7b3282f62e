//! What programs are told of the processor where `cpuid` can be caught: without the instructions whose results a trace cannot have, and
//! no more than a level of the architecture when the trace is to be replayed on other machines.
//!
//! Leaves and bits are those of the Intel SDM, volume 2, CPUID; the levels those of the x86-64 psABI, "Micro-architecture levels".

use rustc_hash::FxHashMap;

use crate::sys;

/// What the processor may seem to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// What it is.
    #[default]
    Host,
    V2,
    V3,
}

impl Level {
    /// The level of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Level> {
        match name {
            "host" => Some(Level::Host),
            "x86-64-v2" => Some(Level::V2),
            "x86-64-v3" => Some(Level::V3),
            _ => None,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Host => "host",
            Level::V2 => "x86-64-v2",
            Level::V3 => "x86-64-v3",
        }
    }
}

/// The four registers that `cpuid` writes: eax, ebx, ecx, edx.
pub type Answer = [u32; 4];
const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// A word of feature bits: leaf, subleaf, register.
type Word = (u32, u32, usize);
const BASIC: Word = (1, 0, ECX);
const BASIC_OLD: Word = (1, 0, EDX);
const EXTENDED_B: Word = (7, 0, EBX);
const EXTENDED_C: Word = (7, 0, ECX);
const EXTENDED_D: Word = (7, 0, EDX);
const SAVING: Word = (0xd, 1, EAX);
const AMD_C: Word = (0x8000_0001, 0, ECX);
const AMD_D: Word = (0x8000_0001, 0, EDX);

/// All of them, in the order in which a trace has them.
const WORDS: [Word; 8] = [BASIC, BASIC_OLD, EXTENDED_B, EXTENDED_C, EXTENDED_D, SAVING, AMD_C, AMD_D];

/// Instructions whose results are in no trace: random numbers, transactions that abort when they like, waits that end when they
/// like, the number of the processor, interrupts to a program.
const HIDDEN: [(Word, u32); 9] = [
    (BASIC, 1 << 30),      // RDRAND
    (EXTENDED_B, 1 << 18), // RDSEED
    (EXTENDED_B, 1 << 4),  // HLE
    (EXTENDED_B, 1 << 11), // RTM
    (EXTENDED_D, 1 << 11), // RTM_ALWAYS_ABORT
    (EXTENDED_D, 1 << 16), // TSXLDTRK
    (EXTENDED_C, 1 << 5),  // WAITPKG
    (EXTENDED_C, 1 << 22), // RDPID
    (EXTENDED_D, 1 << 5),  // UINTR
];

const fn bits(numbers: &[u32]) -> u32 {
    let (mut all, mut index) = (0, 0);
    while index < numbers.len() {
        all |= 1 << numbers[index];
        index += 1;
    }
    all
}

/// What a level leaves of a word.
fn kept(level: Level, word: Word) -> u32 {
    // SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT; that there is a hypervisor.
    const V2: u32 = bits(&[0, 9, 13, 19, 20, 23, 31]);
    // FMA, MOVBE, XSAVE, OSXSAVE, AVX, F16C.
    const V3: u32 = V2 | bits(&[12, 22, 26, 27, 28, 29]);
    match (level, word) {
        (Level::Host, _) | (_, BASIC_OLD | AMD_D) => u32::MAX,
        (Level::V2, BASIC) => V2,
        (Level::V3, BASIC) => V3,
        // BMI1, AVX2, BMI2.
        (Level::V3, EXTENDED_B) => bits(&[3, 5, 8]),
        // XSAVEC: the dynamic loader saves registers by it, in a form that depends on no other machine's registers.
        (Level::V3, SAVING) => bits(&[1]),
        // LAHF; in the third level LZCNT.
        (Level::V2, AMD_C) => bits(&[0]),
        (Level::V3, AMD_C) => bits(&[0, 5]),
        _ => 0,
    }
}

/// Leaves that belong to what no level has: tracing, keys, AMX, AVX10.
const BEYOND: [u32; 5] = [0x14, 0x19, 0x1d, 0x1e, 0x24];

/// What a program is told instead of what the processor says.
#[must_use]
pub fn shown(level: Level, leaf: u32, subleaf: u32, said: Answer) -> Answer {
    let mut shown = said;
    for word in WORDS {
        let (of_leaf, of_subleaf, register) = word;
        // The first leaves have no subleaves: whatever is asked for is answered.
        let is_it = leaf == of_leaf && (subleaf == of_subleaf || !matches!(leaf, 7 | 0xd));
        if is_it {
            shown[register] &= kept(level, word);
            let hidden = HIDDEN.iter().filter(|(hidden, _)| *hidden == word);
            shown[register] &= !hidden.fold(0, |all, (_, bit)| all | bit);
        }
    }
    if level == Level::Host {
        return shown;
    }
    // The seventh leaf has no subleaves with more features.
    match (leaf, subleaf) {
        (7, 0) => shown[EAX] = 0,
        (7, _) => shown = [0; 4],
        // How much memory the registers take is true, since the processor writes that much; without XSAVE nobody asks.
        (0xd, _) if level == Level::V2 => shown = [0; 4],
        (leaf, _) if BEYOND.contains(&leaf) => shown = [0; 4],
        _ => {}
    }
    shown
}

/// What a program is told instead of what the processor says.
#[must_use]
pub fn answer(level: Level, leaf: u32, subleaf: u32) -> Answer {
    shown(level, leaf, subleaf, said(leaf, subleaf))
}

fn said(leaf: u32, subleaf: u32) -> Answer {
    let said = sys::cpuid(leaf, subleaf);
    [said.eax, said.ebx, said.ecx, said.edx]
}

/// Whether what a leaf says depends on the subleaf that is asked for; not of those that are known to have none.
#[must_use]
pub fn has_subleaves(leaf: u32) -> bool {
    !matches!(leaf, 0..=3 | 5 | 6 | 9 | 0xa | 0x15 | 0x16 | 0x8000_0000..=0x8000_0008)
}

/// What glibc's loader asks for, with how many subleaves (its cpu_features.c and dl-cacheinfo.h), as far as this processor has the leaves,
/// and what it says.
#[must_use]
pub fn asked_by_loaders() -> Vec<((u32, u32), Answer)> {
    const ASKED: [(u32, u32); 17] = [
        (0, 1),
        (1, 1),
        (2, 1),
        (4, 6),
        (7, 2),
        (0xb, 3),
        (0xd, 10),
        (0x14, 1),
        (0x19, 1),
        (0x24, 1),
        (0x8000_0000, 1),
        (0x8000_0001, 1),
        (0x8000_0005, 1),
        (0x8000_0006, 1),
        (0x8000_0007, 1),
        (0x8000_0008, 1),
        (0x8000_001d, 5),
    ];
    let highest = [said(0, 0)[EAX], said(0x8000_0000, 0)[EAX]];
    let has = |leaf: u32| leaf <= highest[usize::from(leaf >= 0x8000_0000)];
    let questions = ASKED.iter().filter(|(leaf, _)| has(*leaf));
    let questions = questions.flat_map(|(leaf, subleaves)| (0..*subleaves).map(|subleaf| (*leaf, subleaf)));
    questions.map(|(leaf, subleaf)| ((leaf, subleaf), said(leaf, subleaf))).collect()
}

/// What has been answered, since a virtual machine can take longer to say it than the kernel takes for many stops.
pub struct Answers {
    level: Option<Level>,
    known: FxHashMap<(u32, u32), Answer>,
}

impl Answers {
    /// As shown at a level; without one as the processor says it.
    #[must_use]
    pub fn new(level: Option<Level>) -> Answers {
        Answers { level, known: FxHashMap::default() }
    }

    /// What a program is told. The same whenever it is asked, whichever processor of the machine that is.
    pub fn answer(&mut self, leaf: u32, subleaf: u32) -> Answer {
        /// More than there are leaves and subleaves.
        const MOST: usize = 1 << 10;
        let subleaf = if has_subleaves(leaf) { subleaf } else { 0 };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let level = self.level;
        *self.known.entry((leaf, subleaf)).or_insert_with(|| match level {
            Some(level) => answer(level, leaf, subleaf),
            None => said(leaf, subleaf),
        })
    }
}

/// Feature bits as a trace has them, shown at a level: a hexadecimal word for each, with spaces between.
#[must_use]
pub fn text(level: Level) -> String {
    let words: Vec<String> = WORDS
        .iter()
        .map(|(leaf, subleaf, register)| format!("{:x}", answer(level, *leaf, *subleaf)[*register]))
        .collect();
    words.join(" ")
}

/// Names of what a recording was told that its processor has, and this one has not.
#[must_use]
pub fn missing(recorded: &str) -> Vec<String> {
    let own = text(Level::Host);
    let word = |text: &str| u32::from_str_radix(text, 16).unwrap_or(0);
    let pairs = recorded.split(' ').map(word).zip(own.split(' ').map(word));
    pairs.zip(WORDS).flat_map(|((recorded, own), place)| names(place, recorded & !own)).collect()
}

fn names(word: Word, bits: u32) -> Vec<String> {
    (0..32)
        .filter(|bit| bits & 1 << bit != 0 && !is_none((word, *bit)))
        .map(|bit| {
            let known = NAMES.iter().find(|(of, number, _)| *of == word && *number == bit);
            known.map_or_else(
                || format!("cpuid {:x}.{} {} bit {bit}", word.0, word.1, ["eax", "ebx", "ecx", "edx"][word.2]),
                |(.., name)| (*name).to_owned(),
            )
        })
        .collect()
}

/// What says nothing of instructions: that there is a hypervisor, that a bit is set by the kernel.
fn is_none((word, bit): (Word, u32)) -> bool {
    (word == BASIC && bit == 31) || (word == BASIC_OLD && bit == 28)
}

/// Names as /proc/cpuinfo has them.
const NAMES: [(Word, u32, &str); 44] = [
    (BASIC, 0, "sse3"),
    (BASIC, 1, "pclmulqdq"),
    (BASIC, 9, "ssse3"),
    (BASIC, 12, "fma"),
    (BASIC, 13, "cx16"),
    (BASIC, 19, "sse4_1"),
    (BASIC, 20, "sse4_2"),
    (BASIC, 22, "movbe"),
    (BASIC, 23, "popcnt"),
    (BASIC, 25, "aes"),
    (BASIC, 26, "xsave"),
    (BASIC, 27, "osxsave"),
    (BASIC, 28, "avx"),
    (BASIC, 29, "f16c"),
    (EXTENDED_B, 0, "fsgsbase"),
    (EXTENDED_B, 3, "bmi1"),
    (EXTENDED_B, 5, "avx2"),
    (EXTENDED_B, 8, "bmi2"),
    (EXTENDED_B, 9, "erms"),
    (EXTENDED_B, 16, "avx512f"),
    (EXTENDED_B, 17, "avx512dq"),
    (EXTENDED_B, 19, "adx"),
    (EXTENDED_B, 21, "avx512ifma"),
    (EXTENDED_B, 23, "clflushopt"),
    (EXTENDED_B, 24, "clwb"),
    (EXTENDED_B, 28, "avx512cd"),
    (EXTENDED_B, 29, "sha_ni"),
    (EXTENDED_B, 30, "avx512bw"),
    (EXTENDED_B, 31, "avx512vl"),
    (EXTENDED_C, 1, "avx512vbmi"),
    (EXTENDED_C, 3, "pku"),
    (EXTENDED_C, 6, "avx512_vbmi2"),
    (EXTENDED_C, 8, "gfni"),
    (EXTENDED_C, 9, "vaes"),
    (EXTENDED_C, 10, "vpclmulqdq"),
    (EXTENDED_C, 11, "avx512_vnni"),
    (EXTENDED_C, 14, "avx512_vpopcntdq"),
    (EXTENDED_D, 4, "fsrm"),
    (EXTENDED_D, 24, "amx_tile"),
    (SAVING, 0, "xsaveopt"),
    (SAVING, 1, "xsavec"),
    (SAVING, 2, "xgetbv1"),
    (AMD_C, 0, "lahf_lm"),
    (AMD_C, 5, "lzcnt"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Answer = [u32::MAX; 4];

    #[test]
    fn what_a_trace_cannot_have_is_hidden_at_every_level() {
        for level in [Level::Host, Level::V2, Level::V3] {
            assert_eq!(shown(level, 1, 7, ALL)[ECX] & 1 << 30, 0, "rdrand");
            let [_, ebx, ecx, edx] = shown(level, 7, 0, ALL);
            assert_eq!(ebx & (1 << 18 | 1 << 11 | 1 << 4), 0, "rdseed, rtm, hle");
            assert_eq!((ecx & (1 << 22 | 1 << 5), edx & (1 << 11 | 1 << 16 | 1 << 5)), (0, 0));
        }
    }

    #[test]
    fn the_host_is_else_as_it_is() {
        assert_eq!(shown(Level::Host, 0, 0, ALL), ALL);
        assert_eq!(shown(Level::Host, 7, 1, ALL), ALL);
        assert_eq!(shown(Level::Host, 0xd, 0, ALL), ALL);
        assert_eq!(shown(Level::Host, 1, 0, ALL), [u32::MAX, u32::MAX, !(1 << 30), u32::MAX]);
    }

    #[test]
    fn a_level_has_its_own_features_and_no_others() {
        let basic = |level| shown(level, 1, 0, ALL)[ECX];
        let has = |word: u32, bit: u32| word & 1 << bit != 0;
        // POPCNT, SSE4.2; AVX, FMA, OSXSAVE; AES is in no level.
        assert!(has(basic(Level::V2), 23) && has(basic(Level::V2), 20) && !has(basic(Level::V2), 28));
        assert!(has(basic(Level::V3), 28) && has(basic(Level::V3), 12) && has(basic(Level::V3), 27));
        assert!(!has(basic(Level::V3), 25));
        let seventh = |level| shown(level, 7, 0, ALL);
        assert_eq!(seventh(Level::V2), [0; 4]);
        // AVX2, BMI1 and 2, and nothing of AVX-512.
        assert_eq!(seventh(Level::V3), [0, 1 << 3 | 1 << 5 | 1 << 8, 0, 0]);
        assert_eq!(shown(Level::V3, 7, 1, ALL), [0; 4]);
        assert_eq!(shown(Level::V2, 0xd, 0, ALL), [0; 4]);
        assert_eq!(shown(Level::V3, 0xd, 0, ALL), ALL);
        assert_eq!(shown(Level::V3, 0xd, 1, ALL)[EAX], 2);
        assert_eq!((shown(Level::V2, 0x8000_0001, 0, ALL)[ECX], shown(Level::V3, 0x8000_0001, 0, ALL)[ECX]), (1, 0x21));
        assert_eq!(shown(Level::V3, 0x1d, 1, ALL), [0; 4]);
        assert_eq!(shown(Level::V3, 2, 0, ALL), ALL);
    }

    #[test]
    fn levels_have_names() {
        for level in [Level::Host, Level::V2, Level::V3] {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
        assert_eq!(Level::from_name("x86-64-v9"), None);
    }

    #[test]
    fn this_machine_lacks_nothing_of_itself_and_what_it_lacks_is_named() {
        for level in [Level::Host, Level::V2, Level::V3] {
            assert_eq!(missing(&text(level)), Vec::<String>::new());
        }
        assert_eq!(names(EXTENDED_B, 1 << 16 | 1 << 5), ["avx2", "avx512f"]);
        assert_eq!(names(EXTENDED_D, 1 << 1), ["cpuid 7.0 edx bit 1"]);
        assert_eq!(names(BASIC, 1 << 31), Vec::<String>::new());
        assert_eq!(missing("nonsense"), Vec::<String>::new());
    }
}
