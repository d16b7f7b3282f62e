//! What calls did with each path, for JavaScript: sums as arrays.

use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Either, Env, Float64Array, Null, Result, Task, Uint8Array, Uint32Array};
use napi_derive::napi;
use trace_engine::reader::Trace;
use trace_engine::usage::{self, Sums, Usage};

use crate::reader::{Failure, NativeTrace};

/// Key k is the bytes before `key_end[k]`, from the end of the one before.
/// `sums` has [`WIDTH`] numbers per key. `left_out` says how often there was no room for a path.
#[napi(object, object_from_js = false)]
pub struct FileUsage {
    pub keys: Uint8Array,
    pub key_end: Uint32Array,
    pub sums: Float64Array,
    pub left_out: f64,
    pub failure: Either<Failure, Null>,
}

#[napi]
impl NativeTrace {
    /// Sums of what calls did with paths.
    #[napi]
    pub fn file_usage(&self) -> Result<AsyncTask<CountFiles>> {
        Ok(AsyncTask::new(CountFiles { trace: self.opened()? }))
    }
}

pub struct CountFiles {
    trace: Arc<Trace>,
}

impl Task for CountFiles {
    type Output = Usage;
    type JsValue = FileUsage;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(usage::usage(&self.trace))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let sums = output.sums.iter().flat_map(|sums| numbers(sums, &self.trace)).collect();
        Ok(FileUsage {
            keys: output.text.into(),
            key_end: output.ends.into(),
            sums: Float64Array::new(sums),
            left_out: output.left_out as f64,
            failure: output.failure.as_ref().map_or(Either::B(Null), |error| Either::A(error.into())),
        })
    }
}

/// Numbers per key, in the order in which `src/tables/file.ts` names them.
const WIDTH: usize = 13;

fn numbers(sums: &Sums, trace: &Trace) -> [f64; WIDTH] {
    let time = |ticks| trace.nanoseconds(ticks) as f64;
    [
        sums.calls as f64,
        sums.errors as f64,
        sums.opens as f64,
        sums.open_errors as f64,
        sums.reads as f64,
        sums.writes as f64,
        sums.bytes_read as f64,
        sums.bytes_written as f64,
        sums.execs as f64,
        sums.maps as f64,
        time(sums.total),
        time(sums.first),
        time(sums.last),
    ]
}
