//! What calls did with each path, for JavaScript: plans in as bytes, sums out as arrays.

use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Either, Env, Float64Array, Null, Result, Task, Uint8Array, Uint32Array};
use napi_derive::napi;
use trace_engine::reader::Trace;
use trace_engine::usage::{self, Plan, Plans, Sums, Usage};

use crate::reader::{Failure, NativeTrace};

/// Bytes of one plan: two paths, their bases, whether it opens, from, to. 255 is no argument.
const PLAN_BYTES: usize = 7;

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
    /// Adds up what calls did with paths. `plans` are those of x86-64 by number, then as many of i386.
    #[napi]
    pub fn file_usage(&self, plans: &[u8]) -> Result<AsyncTask<CountFiles>> {
        Ok(AsyncTask::new(CountFiles { trace: self.opened()?, plans: plans_of(plans) }))
    }
}

fn plans_of(bytes: &[u8]) -> Plans {
    let all: Vec<Plan> = bytes.chunks_exact(PLAN_BYTES).map(plan_of).collect();
    let (x86_64, i386) = all.split_at(all.len() / 2);
    [x86_64.to_vec(), i386.to_vec()]
}

fn plan_of(bytes: &[u8]) -> Plan {
    let argument = |at: usize| Some(bytes[at]).filter(|argument| *argument < 6);
    Plan {
        paths: [argument(0), argument(1)],
        bases: [argument(2), argument(3)],
        opens: bytes[4] == 1,
        from: argument(5),
        to: argument(6),
    }
}

pub struct CountFiles {
    trace: Arc<Trace>,
    plans: Plans,
}

impl Task for CountFiles {
    type Output = Usage;
    type JsValue = FileUsage;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(usage::usage(&self.trace, &self.plans))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let sums = output.sums.iter().flat_map(numbers).collect();
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

fn numbers(sums: &Sums) -> [f64; WIDTH] {
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
        sums.total,
        sums.first,
        sums.last,
    ]
}
