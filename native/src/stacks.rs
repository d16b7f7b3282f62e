//! Stacks of events for JavaScript: columns, and one list of strings.
#![allow(clippy::cast_precision_loss, reason = "JavaScript numbers; offsets in files and event numbers are below 2^53")]

use std::path::PathBuf;
use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Env, Float64Array, Result, Task, Uint8Array, Uint32Array};
use napi_derive::napi;
use trace_engine::binary::Binaries;
use trace_engine::error::EngineError;
use trace_engine::reader::Trace;
use trace_engine::replay::Outcome;
use trace_engine::replay::stacks::Wanted;
use trace_engine::stacks::Stacks;
use trace_engine::stacks::offline::{self, Offline};
use trace_engine::stacks::stream::{self, Added};
use trace_engine::store::{Hash, Store};
use trace_engine::symbolize::{self, Source, Sources};

use crate::elf::parse_hash;
use crate::reader::{self, NativeTrace, hex, outcome};

/// Of which events stacks are wanted: those from `from` to `to`, of these only the ones in `only` (in ascending order).
#[napi(object)]
pub struct StackRequest {
    pub from: f64,
    pub to: f64,
    pub only: Option<Float64Array>,
    /// Write them into the trace, or into a copy at `output`, instead of handing them over.
    pub write: bool,
    pub output: Option<String>,
    pub force: bool,
}

impl From<&StackRequest> for Wanted {
    fn from(request: &StackRequest) -> Wanted {
        let only = request.only.as_ref().map(|only| only.iter().map(|seq| *seq as u64).collect());
        Wanted { from: request.from as u64, to: request.to as u64, only }
    }
}

/// As [`Stacks`]. Words of 64 bits are numbers where they are offsets in files, pairs of words where they are addresses.
#[napi(object, object_from_js = false)]
pub struct NativeStacks {
    pub seqs: Float64Array,
    pub frame_end: Uint32Array,
    pub ends: Uint8Array,
    pub frames: Uint32Array,
    /// One entry per place.
    pub place_file: Uint32Array,
    pub place_offset: Float64Array,
    pub place_address: Uint32Array,
    pub place_bits: Uint8Array,
    pub place_behind: Float64Array,
    pub source_end: Uint32Array,
    /// One entry per function of a place.
    pub source_function: Uint32Array,
    pub source_file: Uint32Array,
    pub source_line: Uint32Array,
    pub source_column: Uint32Array,
    /// Hashes and paths of the files.
    pub file_hashes: Vec<String>,
    pub file_paths: Vec<String>,
    pub strings: Vec<String>,
}

impl From<Stacks> for NativeStacks {
    fn from(stacks: Stacks) -> NativeStacks {
        let Stacks { seqs, frame_end, ends, frames, places, files, source_end, sources, behind, strings, told: _ } =
            stacks;
        let word =
            |get: fn(&trace_engine::stacks::SourceRow) -> u32| Uint32Array::new(sources.iter().map(get).collect());
        NativeStacks {
            seqs: Float64Array::new(seqs.iter().map(|seq| *seq as f64).collect()),
            frame_end: frame_end.into(),
            ends: ends.into(),
            frames: frames.into(),
            place_file: Uint32Array::new(places.iter().map(|place| place.file).collect()),
            place_offset: Float64Array::new(places.iter().map(|place| place.offset as f64).collect()),
            place_address: Uint32Array::new(
                places.iter().flat_map(|place| [place.address as u32, (place.address >> 32) as u32]).collect(),
            ),
            place_bits: Uint8Array::new(places.iter().map(|place| place.bits).collect()),
            place_behind: Float64Array::new(behind.iter().map(|behind| *behind as f64).collect()),
            source_end: source_end.into(),
            source_function: word(|row| row.function),
            source_file: word(|row| row.file),
            source_line: word(|row| row.line),
            source_column: word(|row| row.column),
            file_hashes: files.iter().map(|file| hex(&file.hash)).collect(),
            file_paths: files.iter().map(|file| String::from_utf8_lossy(&file.path).into_owned()).collect(),
            strings,
        }
    }
}

/// What was written into a trace.
#[napi(object, object_from_js = false)]
pub struct AddedStacks {
    pub stacks: f64,
    pub places: f64,
    pub bytes_total: f64,
}

impl From<Added> for AddedStacks {
    fn from(added: Added) -> AddedStacks {
        AddedStacks { stacks: added.stacks as f64, places: added.places as f64, bytes_total: added.bytes_total as f64 }
    }
}

/// Where the stacks of a replay are to be written.
pub(crate) struct Target {
    pub output: Option<PathBuf>,
    pub force: bool,
}

impl Target {
    pub(crate) fn of(request: Option<&StackRequest>) -> Option<Target> {
        let request = request.filter(|request| request.write)?;
        Some(Target { output: request.output.as_ref().map(PathBuf::from), force: request.force })
    }
}

/// Finds names for the stacks of a replay, and writes them where that is wanted; they are handed over otherwise.
pub(crate) fn finish(trace: &Trace, outcome: &mut Outcome, target: Option<&Target>) -> EngineResult<Option<Added>> {
    let Some(stacks) = &mut outcome.stacks else { return Ok(None) };
    stacks.symbolize(&Binaries::new(trace, Store::of_user()));
    let Some(target) = target else { return Ok(None) };
    let added = stream::add(trace, stacks, target.output.as_deref(), target.force)?;
    outcome.stacks = None;
    Ok(Some(added))
}

type EngineResult<T> = std::result::Result<T, EngineError>;

/// A function at a place, and the line there.
#[napi(object, object_from_js = false)]
pub struct SourceLine {
    pub function: Option<String>,
    pub file: Option<String>,
    /// 0 when it is not known.
    pub line: u32,
    pub column: u32,
}

impl From<Source> for SourceLine {
    fn from(Source { function, file, line, column }: Source) -> SourceLine {
        SourceLine { function, file, line, column }
    }
}

/// What is known of a place in a file: functions, innermost first, and how far behind the start of the last one it is.
#[napi(object, object_from_js = false)]
pub struct PlaceSources {
    pub frames: Vec<SourceLine>,
    pub behind: Option<f64>,
}

#[napi]
impl NativeTrace {
    /// The stacks that are in the trace, of the events from `from` to `to`; nothing when it has none.
    #[napi]
    pub fn stacks(&self, from: f64, to: f64) -> Result<AsyncTask<ReadStacks>> {
        Ok(AsyncTask::new(ReadStacks { trace: self.opened()?, from: from as u64, to: to as u64 }))
    }

    /// Whether threads were copied while the trace was recorded.
    #[napi]
    pub fn has_copied_stacks(&self) -> Result<bool> {
        Ok(self.opened()?.has_samples())
    }

    /// The stacks of threads that were copied while they were recorded; nothing when none were.
    #[napi]
    #[allow(clippy::needless_pass_by_value, reason = "values from JavaScript are owned")]
    pub fn copied_stacks(&self, request: StackRequest) -> Result<AsyncTask<CopiedStacks>> {
        let target = Target::of(Some(&request));
        Ok(AsyncTask::new(CopiedStacks { trace: self.opened()?, wanted: Wanted::from(&request), target }))
    }

    /// The functions and lines at an offset of a mapped file, which is named by its hash in hexadecimal; `path` is where it was.
    #[napi]
    #[allow(clippy::needless_pass_by_value, reason = "values from JavaScript are owned")]
    pub fn sources_at(&self, hash: String, path: String, offset: f64) -> Result<AsyncTask<SourcesAt>> {
        Ok(AsyncTask::new(SourcesAt { trace: self.opened()?, hash: parse_hash(&hash), path, offset: offset as u64 }))
    }
}

pub struct SourcesAt {
    trace: Arc<Trace>,
    hash: Option<Hash>,
    path: String,
    offset: u64,
}

impl Task for SourcesAt {
    type Output = Sources;
    type JsValue = PlaceSources;

    fn compute(&mut self) -> Result<Self::Output> {
        let binary = self.hash.and_then(|hash| Binaries::new(&self.trace, Store::of_user()).get(&hash));
        Ok(binary.map(|binary| symbolize::at_offset(&binary, self.path.as_bytes(), self.offset)).unwrap_or_default())
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let frames = output.frames.into_iter().map(SourceLine::from);
        Ok(PlaceSources { frames: frames.collect(), behind: output.offset.map(|offset| offset as f64) })
    }
}

/// Stacks of copied threads, or what was written of them.
#[napi(object, object_from_js = false)]
pub struct Copied {
    pub stacks: Option<NativeStacks>,
    pub added: Option<AddedStacks>,
    /// Files of code that are not at hand any more.
    pub gone: Vec<String>,
}

pub struct CopiedStacks {
    trace: Arc<Trace>,
    wanted: Wanted,
    target: Option<Target>,
}

impl Task for CopiedStacks {
    type Output = EngineResult<Option<(Offline, Option<Added>)>>;
    type JsValue = reader::Outcome<Option<Copied>>;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(self.made())
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |made| {
            made.map(|(offline, added)| Copied {
                stacks: added.is_none().then(|| NativeStacks::from(offline.stacks)),
                added: added.map(AddedStacks::from),
                gone: offline.gone,
            })
        }))
    }
}

impl CopiedStacks {
    fn made(&self) -> EngineResult<Option<(Offline, Option<Added>)>> {
        let Some(offline) = offline::stacks(&self.trace, &self.wanted)? else { return Ok(None) };
        let added = match &self.target {
            Some(target) => Some(stream::add(&self.trace, &offline.stacks, target.output.as_deref(), target.force)?),
            None => None,
        };
        Ok(Some((offline, added)))
    }
}

pub struct ReadStacks {
    trace: Arc<Trace>,
    from: u64,
    to: u64,
}

impl Task for ReadStacks {
    type Output = EngineResult<Option<Stacks>>;
    type JsValue = reader::Outcome<Option<NativeStacks>>;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(self.trace.stacks(self.from..=self.to))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |stacks| stacks.map(NativeStacks::from)))
    }
}
