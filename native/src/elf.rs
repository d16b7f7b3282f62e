//! What mapped ELF files say about themselves, for JavaScript.
#![allow(clippy::cast_precision_loss, reason = "JavaScript numbers; offsets beyond 2^53 are in no real file")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, BigInt, Env, Result, Task};
use napi_derive::napi;
use trace_engine::binary::Binaries;
use trace_engine::elf::{self, ElfFile, Kind, Relro};
use trace_engine::reader::Trace;
use trace_engine::store::{Hash, Store};
use trace_engine::symbolize::debug_files;

use crate::reader::{NativeTrace, hex};

/// As [`elf::Segment`].
#[napi(object, object_from_js = false)]
pub struct ElfSegment {
    pub kind: String,
    pub address: BigInt,
    pub size: BigInt,
    pub offset: f64,
    pub file_size: f64,
    pub prot: u32,
}

/// As [`elf::Versions`].
#[napi(object, object_from_js = false)]
pub struct ElfVersions {
    pub file: String,
    pub versions: Vec<String>,
}

/// As [`elf::Hardening`].
#[napi(object, object_from_js = false)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and JavaScript names them")]
pub struct ElfHardening {
    /// `none`, `partial` or `full`.
    pub relro: String,
    pub bind_now: bool,
    pub executable_stack: bool,
    pub ibt: bool,
    pub shadow_stack: bool,
    pub stack_protector: bool,
    pub fortified: bool,
}

/// As [`elf::Debug`].
#[napi(object, object_from_js = false)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and JavaScript names them")]
pub struct ElfDebug {
    pub info: bool,
    pub lines: bool,
    pub split: bool,
    pub symbols: bool,
    pub mini: bool,
    pub link: Option<String>,
    pub supplement: Option<String>,
}

/// As [`ElfFile`].
#[napi(object, object_from_js = false)]
pub struct ElfFacts {
    pub bits: u32,
    pub machine: u32,
    /// `executable`, `pie`, `shared` or `other`.
    pub kind: String,
    pub entry: BigInt,
    pub interpreter: Option<String>,
    pub soname: Option<String>,
    pub needed: Vec<String>,
    pub rpath: Option<String>,
    pub runpath: Option<String>,
    /// In hexadecimal; empty when there is none.
    pub build_id: String,
    pub segments: Vec<ElfSegment>,
    pub versions: Vec<ElfVersions>,
    pub hardening: ElfHardening,
    pub debug: ElfDebug,
    /// A separate file with its debug information, on this machine.
    pub debug_file: Option<String>,
}

impl From<ElfFile> for ElfFacts {
    fn from(file: ElfFile) -> ElfFacts {
        let kind = match file.kind {
            Kind::Executable => "executable",
            Kind::Pie => "pie",
            Kind::Shared => "shared",
            Kind::Other => "other",
        };
        let relro = match file.hardening.relro {
            Relro::None => "none",
            Relro::Partial => "partial",
            Relro::Full => "full",
        };
        let segments = file.segments.into_iter().map(|segment| ElfSegment {
            kind: segment.kind,
            address: segment.address.into(),
            size: segment.size.into(),
            offset: segment.offset as f64,
            file_size: segment.file_size as f64,
            prot: segment.prot.into(),
        });
        let versions = file.versions.into_iter().map(|need| ElfVersions { file: need.file, versions: need.versions });
        ElfFacts {
            bits: file.bits.into(),
            machine: file.machine.into(),
            kind: kind.to_owned(),
            entry: file.entry.into(),
            interpreter: file.interpreter,
            soname: file.soname,
            needed: file.needed,
            rpath: file.rpath,
            runpath: file.runpath,
            build_id: hex(&file.build_id),
            segments: segments.collect(),
            versions: versions.collect(),
            hardening: ElfHardening {
                relro: relro.to_owned(),
                bind_now: file.hardening.bind_now,
                executable_stack: file.hardening.executable_stack,
                ibt: file.hardening.ibt,
                shadow_stack: file.hardening.shadow_stack,
                stack_protector: file.hardening.stack_protector,
                fortified: file.hardening.fortified,
            },
            debug: ElfDebug {
                info: file.debug.info,
                lines: file.debug.lines,
                split: file.debug.split,
                symbols: file.debug.symbols,
                mini: file.debug.mini,
                link: file.debug.link,
                supplement: file.debug.supplement,
            },
            debug_file: None,
        }
    }
}

/// The bytes of a hash that is written in hexadecimal.
pub(crate) fn parse_hash(hex: &str) -> Option<Hash> {
    let digits = hex.as_bytes().chunks_exact(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    });
    digits.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[napi]
impl NativeTrace {
    /// What the mapped files with these hashes (in hexadecimal) say about themselves, by hash. `paths` are where they were, one
    /// for each. Those whose content is neither in the store nor in the trace, and those that are no ELF files, are left out.
    #[napi]
    pub fn elf_facts(&self, hashes: Vec<String>, paths: Vec<String>) -> Result<AsyncTask<ReadElfFacts>> {
        Ok(AsyncTask::new(ReadElfFacts { trace: self.opened()?, files: hashes.into_iter().zip(paths).collect() }))
    }
}

/// Facts, and the file with the debug information.
type Found = (String, ElfFile, Option<PathBuf>);

pub struct ReadElfFacts {
    trace: Arc<Trace>,
    files: Vec<(String, String)>,
}

impl Task for ReadElfFacts {
    type Output = Vec<Found>;
    type JsValue = HashMap<String, ElfFacts>;

    fn compute(&mut self) -> Result<Self::Output> {
        let binaries = Binaries::new(&self.trace, Store::of_user());
        let facts = std::mem::take(&mut self.files).into_iter().filter_map(|(hash, path)| {
            let binary = binaries.get(&parse_hash(&hash)?)?;
            let debug = debug_files::find(&binary, path.as_bytes()).map(|found| found.path);
            Some((hash, elf::parse(&binary)?, debug))
        });
        Ok(facts.collect())
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let converted = output.into_iter().map(|(hash, file, debug)| {
            let debug_file = debug.map(|path| path.to_string_lossy().into_owned());
            (hash, ElfFacts { debug_file, ..file.into() })
        });
        Ok(converted.collect())
    }
}
