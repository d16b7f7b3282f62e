//! Where the debug information of a stripped file may be on this machine: by build id (gdb's manual, "Separate Debug Files"),
//! by .gnu_debuglink, in the cache of debuginfod(8). Nothing is fetched.

use std::path::{Path, PathBuf};

use crate::binary::Binary;
use crate::{elf, sections};

/// Folder of the distribution's debug information.
const SYSTEM: &str = "/usr/lib/debug";
/// Shortest and longest build id in bytes.
const BUILD_ID: std::ops::RangeInclusive<usize> = 2..=64;

/// A separate file with the debug information of another.
#[derive(Debug)]
pub struct DebugFile {
    pub path: PathBuf,
    pub binary: Binary,
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Looks for the debug information of a file. `path` is where the file was, which is a hint and no more: what is found has to
/// have the same build id, or the checksum that the file's debug link tells.
#[must_use]
pub fn find(binary: &Binary, path: &[u8]) -> Option<DebugFile> {
    let id = elf::build_id(binary);
    let link = link_of(binary);
    let by_id = by_build_id(&id);
    let by_link = link.iter().flat_map(|(name, _)| by_debug_link(name, path));
    for candidate in by_id.into_iter().chain(by_link) {
        let Some(found) = Binary::map(&candidate) else { continue };
        let theirs = elf::build_id(&found);
        let same_id = !id.is_empty() && theirs == id;
        let same_sum = || theirs.is_empty() && link.as_ref().is_some_and(|(_, sum)| crc32fast::hash(&found) == *sum);
        if (same_id || same_sum()) && has_information(&found) {
            return Some(DebugFile { path: candidate, binary: found });
        }
    }
    None
}

fn has_information(binary: &Binary) -> bool {
    sections::open(binary).is_some_and(|file| [".debug_info", ".symtab"].iter().any(|name| sections::has(&file, name)))
}

/// The file that several files with debug information share (.gnu_debugaltlink), which `path` speaks of.
#[must_use]
pub fn find_shared(debug: &Binary, path: &Path) -> Option<Binary> {
    let file = sections::open(debug)?;
    let (name, id) = object::Object::gnu_debugaltlink(&file).ok()??;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0'))?;
    let beside = path.parent().unwrap_or(Path::new("/")).join(name);
    by_build_id(id).into_iter().chain([beside]).find_map(|candidate| {
        let found = Binary::map(&candidate)?;
        (elf::build_id(&found) == id).then_some(found)
    })
}

fn link_of(binary: &Binary) -> Option<(PathBuf, u32)> {
    let file = sections::open(binary)?;
    let (name, sum) = object::Object::gnu_debuglink(&file).ok()??;
    let name = PathBuf::from(std::str::from_utf8(name).ok()?);
    // A name, and no path to anywhere.
    (name.file_name() == Some(name.as_os_str())).then_some((name, sum))
}

fn by_build_id(id: &[u8]) -> Vec<PathBuf> {
    if !BUILD_ID.contains(&id.len()) {
        return Vec::new();
    }
    let text = hex(id);
    let system = Path::new(SYSTEM).join(".build-id").join(&text[..2]).join(format!("{}.debug", &text[2..]));
    let cached = debuginfod_cache().map(|cache| cache.join(&text).join("debuginfo"));
    [Some(system), cached].into_iter().flatten().collect()
}

/// As debuginfod_find_debuginfo(3) has it.
fn debuginfod_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("DEBUGINFOD_CACHE_PATH")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join("debuginfod_client")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/debuginfod_client")))
}

fn by_debug_link(name: &Path, path: &[u8]) -> Vec<PathBuf> {
    let Some(path) = std::str::from_utf8(path).ok().map(Path::new).filter(|path| path.is_absolute()) else {
        return Vec::new();
    };
    let Some(folder) = path.parent() else { return Vec::new() };
    let below = folder.strip_prefix("/").unwrap_or(folder);
    vec![folder.join(name), folder.join(".debug").join(name), Path::new(SYSTEM).join(below).join(name)]
}
